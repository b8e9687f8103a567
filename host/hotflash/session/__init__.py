"""A project's session with its board: what every command does, as typed Python."""

from __future__ import annotations

from hotflash.session.core import Session

__all__ = ["Session"]
