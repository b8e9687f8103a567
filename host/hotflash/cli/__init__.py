"""The command line: a thin layer over :class:`hotflash.Session`."""
