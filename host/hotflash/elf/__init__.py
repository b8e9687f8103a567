"""Reading ELF files: relocatable objects, linked firmware, and the hook numbers that follow from it."""
