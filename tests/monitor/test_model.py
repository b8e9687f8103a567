"""Random conversations against an independent model."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from hotflash.wire import messages as m
from hotflash.wire.codec import Reader

from . import image, invariants
from .board import Board
from .client import Client, New
from .model import Model, Version


class Walk:
    """One random conversation, checked after each step."""

    def __init__(self, client: Client, rng: random.Random) -> None:
        assert client.app is not None
        self.client = client
        self.rng = rng
        self.model = Model(client.app, invariants.SPARE_TRAP)
        self.refused = 0

    def push(self) -> None:
        """A transaction of some functions, constants and private pieces; sometimes given up before its end."""
        rng, model, client = self.rng, self.model, self.client
        hooks = rng.sample(range(len(model.app.initial)), rng.randrange(0, 5))
        news: list[New] = []
        uses: list[list[Version | int]] = []
        existing = model.needed()
        for hook in [*hooks, *([None] * rng.randrange(3))]:
            kind = m.SlotKind.CODE if hook is not None or rng.random() < 0.3 else m.SlotKind.CONST
            deps: list[int] = []
            used: list[Version | int] = []
            if kind == m.SlotKind.CODE:
                for version in rng.sample(existing, min(len(existing), rng.randrange(3))):
                    deps.append(version.handle * 2 + 1)
                    used.append(version)
                for ordinal in rng.sample(range(len(news)), min(len(news), rng.randrange(3))):
                    deps.append(ordinal * 2)
                    used.append(ordinal)
            data = rng.randbytes(rng.randrange(16, 300))
            news.append(New(data, kind, hook, rng.choice((0, 8, 12)), tuple(deps), ident=rng.randrange(1 << 32)))
            uses.append(used)
        unbound = [hook for hook in model.hooks if hook not in hooks and rng.random() < 0.2]
        pairs = [m.Pair(hook, 0, 0) for hook in unbound]
        flags = rng.choice((0, 0, 1, 2, 3))
        transaction = client.transaction(
            news,
            generation=model.generation,
            pairs=pairs,
            mode=rng.choice(list(m.CommitMode)),
            flags=flags,
        )
        reply = client.ask(transaction.begin)
        if transaction.begin.flags & 1:
            self.forget_undo()
        if reply.status is m.Status.E_NOMEM:
            self.refused += 1
            return
        if reply.status is m.Status.E_RANGE and transaction.begin.flags & 1:
            # Only the undo record held what the push wanted to use, and it was given up first.
            assert self.model.undo is None
            return
        assert reply.status is m.Status.OK, reply
        grants = m.BeginReply.unpack(Reader(reply.body)).grants
        if rng.random() < 0.15:
            client.do(m.AbortRequest())
            return
        if rng.random() < 0.15 and transaction.image:
            damaged = bytearray(transaction.image)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            for write in client.writes(bytes(damaged), 200, rng):
                client.do(write)
            assert client.ask(transaction.commit).status is m.Status.E_SEAL
        reply = client.finish(transaction, chunk=200, rng=rng)
        assert reply.status is m.Status.OK, reply
        made: list[Version] = []
        for new, grant, used in zip(news, grants, uses, strict=True):
            deps_made = tuple(made[item] if isinstance(item, int) else item for item in used)
            made.append(Version(new, grant.address, grant.handle, deps_made))
        bound: dict[int, Version | None] = dict.fromkeys(unbound)
        skips = {}
        for new, version in zip(news, made, strict=True):
            if new.hook is not None:
                bound[new.hook] = version
                skips[new.hook] = new.skip
        model.commit(bound, skips, made)

    def forget_undo(self) -> None:
        """The undo record may have been given up: the device says."""
        if not self.client.hello().flags & m.HelloFlag.UNDO:
            self.model.undo = None

    def rollback(self) -> None:
        """To the generation before, or to the base."""
        base = self.rng.random() < 0.2
        generation = self.model.generation
        reply = self.client.ask(m.RollbackRequest(generation, int(base)))
        if reply.status is m.Status.E_NOMEM and base:
            return
        if not base and self.model.undo is None:
            assert reply.status is m.Status.E_NOUNDO
            return
        if base and not self.model.hooks and reply.status is m.Status.E_NOUNDO:
            return
        assert reply.status is m.Status.OK, reply
        self.model.rollback(base=base)

    def pin(self) -> None:
        """Holds a slot, or lets it go."""
        pinned = [version for version in self.model.known if version.pins]
        if pinned and self.rng.random() < 0.5:
            version = self.rng.choice(pinned)
            self.client.do(m.PinRequest(version.handle, 0))
            version.pins = 0
        elif needed := [version for version in self.model.needed() if not version.pins]:
            version = self.rng.choice(needed)
            self.client.do(m.PinRequest(version.handle, 1))
            version.pins = 1

    def check(self) -> None:
        """The device against the model, its memory included."""
        model = self.model
        assert self.client.table() == model.table()
        slots = invariants.check(self.client)
        assert self.client.hello().generation == model.generation
        for version in model.needed():
            block = slots.get(version.handle)
            assert block is not None, f"slot {version.handle} was freed while it is needed"
            assert block.data == version.new.data
            assert block.deps == tuple(dep.handle for dep in version.deps)
        needed = {version.handle for version in model.needed()}
        model.known = [v for v in model.known if v.handle in slots and slots[v.handle].data == v.new.data]
        kept = Counter(slots[handle].kind for handle in slots.keys() - needed)
        # Code without a reference is gone at the latest when slots are listed; constants may wait for Gc, and hold
        # nothing themselves.
        assert kept[m.SlotKind.CODE] == 0
        assert kept[m.SlotKind.LIST] <= 1

    def collect(self) -> None:
        """The masked collection leaves exactly what is needed."""
        self.client.do(m.GcRequest())
        slots = invariants.check(self.client)
        needed = {version.handle for version in self.model.needed()}
        rest = [slots[handle].kind for handle in slots.keys() - needed]
        assert rest in ([], [m.SlotKind.LIST])

    def run(self, steps: int) -> None:
        """So many random steps."""
        for _ in range(steps):
            action = self.rng.choices((self.push, self.rollback, self.pin, self.collect), (60, 20, 8, 8))[0]
            action()
            self.check()


@pytest.mark.parametrize("seed", range(12))
def test_random_conversations(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    heap = rng.choice((0x1000, 0x2000, 0x8000))
    with Board(heap_size=heap) as board:
        client = Client(board)
        client.install(image.make(board.map))
        walk = Walk(client, rng)
        walk.run(120)
        if heap == 0x1000:
            assert walk.refused
