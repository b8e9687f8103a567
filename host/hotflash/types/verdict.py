"""What a transaction changes about types, and what is in its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.errors import TypesError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.elf.layout import Layout
    from hotflash.elf.object import ObjectFile
    from hotflash.types.pairing import Migration
    from hotflash.types.users import User

_LISTED = 12
"""Users that a message names."""
UNCHECKED = (
    "types were not checked: callers may pass other arguments than the new code takes, and live variables may have "
    "another layout than it expects"
)


@dataclass(frozen=True)
class SignatureChange:
    """A function is called differently."""

    function: str
    unit: str
    old: str
    new: str
    left: tuple[User, ...] = ()
    """Callers that do not come along."""


@dataclass(frozen=True)
class LayoutChange:
    """A struct, union or enumeration is laid out differently."""

    name: str
    old: Layout
    new: Layout
    left: tuple[User, ...] = ()
    """Users of the old layout that do not come along."""
    unseen: str = ""
    """Why not all live instances are known; empty when they are."""


@dataclass(frozen=True)
class Verdict:
    """What a transaction changes about types, and what is in its way."""

    signatures: tuple[SignatureChange, ...] = ()
    layouts: tuple[LayoutChange, ...] = ()
    migrations: tuple[Migration, ...] = ()
    """Live variables whose values would have to be converted."""
    problems: tuple[str, ...] = ()
    """What else is refused."""
    missing: tuple[str, ...] = ()
    """Source files without debugging information."""
    frames: tuple[tuple[ObjectFile, frozenset[str]], ...] = ()
    """Functions that stay as they are and may have an old layout on their stack: none of them may be running."""
    hint: str = ""
    """The command that would push what is left out."""

    @property
    def safe(self) -> bool:
        """Old and new code must not run side by side."""
        return bool(self.signatures or self.layouts or self.migrations)

    @property
    def summary(self) -> str:
        """What changes, in a few words."""
        parts = [f"{s.function} is called differently" for s in self.signatures]
        parts += [f"{c.name} is laid out differently" for c in self.layouts]
        parts += [f"{m.variable} is {m.new.text}" for m in self.migrations]
        return ", ".join(parts[:_LISTED]) + (", ..." if len(parts) > _LISTED else "")

    @property
    def refusal(self) -> TypesError | None:
        """Why the transaction is refused; None: it is not."""
        if self.missing:
            return TypesError(
                f"{' and '.join(self.missing)}: no debug information, so whether types still fit is not known",
                hint="compile with -g, or --no-type-check: calls and layouts are then on your word",
            )
        lines = list(self.problems)
        lines += [
            f"{s.function} ({s.unit}) is called differently, {s.new} instead of {s.old}, and not all callers come "
            f"along: {listed(s.left)}"
            for s in self.signatures
            if s.left
        ]
        lines += [
            f"{c.name} is laid out differently, and not all that use it come along: {listed(c.left)}"
            for c in self.layouts
            if c.left
        ]
        if lines:
            return TypesError("; ".join(lines), hint=self.hint or "flash the new build")
        unseen = [f"{c.name} is laid out differently, and {c.unseen}" for c in self.layouts if c.unseen]
        if unseen:
            return TypesError("; ".join(unseen), hint="flash the new build")
        if self.migrations:
            return self._needs_migration()
        return None

    def _needs_migration(self) -> TypesError:
        unstated = [f"{m.variable} ({step.text})" for m in self.migrations for step in m.unstated]
        names = ", ".join(f"{m.variable} ({m.old.text} -> {m.new.text})" if m.old.text != m.new.text else
                          f"{m.variable} ({m.new.text})" for m in self.migrations[:_LISTED])  # fmt: skip
        lost = f"; values would be lost or mean something else: {'; '.join(unstated[:_LISTED])}" if unstated else ""
        return TypesError(
            f"the live values of {names} need a migration, which is not there yet{lost}",
            hint="flash the new build, or give the variable a new name; `hotflash diff` shows what would move",
            migrations=self.migrations,
        )


def listed(users: Sequence[User]) -> str:
    """Names of users, each once."""
    # One with a line says more than one without.
    best = {(user.name, user.unit): user for user in sorted(users, key=lambda user: user.line)}
    texts = list(dict.fromkeys(user.text for user in users if not user.name or user in best.values() or user.line))
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more
