"""The linker: relocatable objects against what the device really runs.

``plan`` decides what has to go and asks for room; ``Plan.link`` fills in the bytes once the device has granted it.
"""

from hotflash.link.plan import Change, Linked, Plan, locate, plan

__all__ = ["Change", "Linked", "Plan", "locate", "plan"]
