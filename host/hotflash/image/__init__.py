"""The application image: its header, the jumps at patch points, the builder, and exports."""
