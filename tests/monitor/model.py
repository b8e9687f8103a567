"""What the device should do, written down a second time: slots, generations, undo, rollback. No heap, no wire."""

from __future__ import annotations

from dataclasses import dataclass, field

from .client import New
from .image import App


@dataclass
class Version:
    """A slot that was granted."""

    new: New
    address: int
    handle: int
    deps: tuple[Version, ...]
    pins: int = 0


@dataclass
class Model:
    """The live state, and the one that a rollback brings back."""

    app: App
    trap: int
    generation: int = 0
    hooks: dict[int, Version] = field(default_factory=dict)
    skips: dict[int, int] = field(default_factory=dict)
    undo: tuple[dict[int, Version], dict[int, int]] | None = None
    touched: set[int] = field(default_factory=set)
    """Hooks that the undo record names."""
    known: list[Version] = field(default_factory=list)
    """All slots that may still exist."""

    def commit(self, bound: dict[int, Version | None], skips: dict[int, int], made: list[Version]) -> None:
        """A transaction goes live."""
        before = dict(self.hooks), dict(self.skips)
        for hook, version in bound.items():
            self.hooks.pop(hook, None)
            self.skips.pop(hook, None)
            if version is not None:
                self.hooks[hook] = version
                self.skips[hook] = skips[hook]
        self.undo = before
        self.touched = set(bound)
        self.known += made
        self.generation += 1

    def rollback(self, *, base: bool) -> bool:
        """False: there is nothing to go back to."""
        before = dict(self.hooks), dict(self.skips)
        if base:
            self.touched = set(self.hooks)
            self.hooks, self.skips = {}, {}
        else:
            if self.undo is None:
                return False
            self.hooks, self.skips = dict(self.undo[0]), dict(self.undo[1])
        self.undo = before
        self.generation += 1
        return True

    def table(self) -> tuple[int, ...]:
        """The hook table."""
        values = []
        for hook in range(self.app.capacity):
            if hook in self.hooks:
                values.append(self.hooks[hook].address + self.skips[hook] | 1)
            else:
                values.append(self.app.initial[hook] if hook < len(self.app.initial) else self.trap)
        return tuple(values)

    def needed(self) -> list[Version]:
        """Slots that must exist: bound, in the undo record, pinned, and what those use."""
        roots = list(self.hooks.values()) + [version for version in self.known if version.pins]
        if self.undo is not None:
            roots += [version for hook, version in self.undo[0].items() if hook in self.touched]
        found: list[Version] = []
        while roots:
            version = roots.pop()
            if not any(version is other for other in found):
                found.append(version)
                roots += version.deps
        return found
