"""Hot reloading for Cortex-M firmware: push changed C functions into a running board."""

__version__ = "0.1.0"
