"""Measurements of hotflash; ``python -m bench`` prints them with their targets."""
