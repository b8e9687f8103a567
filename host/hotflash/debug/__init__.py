"""Where code stands and how it got there: call frames and source lines, from the debug information of ELF files."""

from hotflash.debug.code import Code, Place
from hotflash.debug.unwind import Frame, State, Trace, unwind

__all__ = ["Code", "Frame", "Place", "State", "Trace", "unwind"]
