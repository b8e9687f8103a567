"""Long-run fuzzing of the monitor: ``python -m tests.monitor.fuzz --seed 1 --seconds 600``.

Mixes well-formed requests with wild fields, damaged frames, noise, resets, bus errors, log writes, injected
interrupts and power cuts. The sanitizers and the device model's rules watch; after each round the board must
answer a Hello, and a running one must pass the invariants. A finding prints the seed of its round, which alone
brings it back: ``--seed N --rounds 1``.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from hotflash.wire import messages as m

from . import image, invariants
from .board import UNLIMITED, Board, Context, Field, HarnessError, Step
from .client import Client, New, Request, frame, packed

WILD = (0, 1, 2, 3, 31, 32, 33, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Round:
    """One board's life, from power-on, decided by a seed."""

    def __init__(self, board: Board, seed: int) -> None:
        self.rng = random.Random(seed)
        self.board = board
        self.client = Client(board)
        self.stuffed = False
        where = board.map
        self.places = (
            where.flash_base,
            where.hook_base,
            where.data_base,
            where.heap_base,
            where.ram_base,
            where.monitor_base,
            0x40004000,
            0x40010000,
        )
        board.set(Field.TX_BUDGET, UNLIMITED)
        board.set(Field.PRIORITY_FLAGS, 0)
        board.set(Field.FLASH_FAIL_AT, 0)
        board.context(Context())
        board.cut(0)
        self.app = image.make(where, hooks=self.rng.randrange(1, 30), spare=self.rng.randrange(6))
        board.reset(power=True)
        self.client.install(self.app)

    def number(self) -> int:
        """Small, large, or an address."""
        rng = self.rng
        pick = rng.random()
        if pick < 0.4:
            return rng.choice(WILD)
        if pick < 0.7:
            return (rng.choice(self.places) + rng.randrange(-64, 4096)) & 0xFFFFFFFF
        return rng.randrange(40)

    def data(self) -> bytes:
        """Payload."""
        return self.rng.randbytes(self.rng.choice((1, 2, 8, 30, 100, 255, 256)))

    def slot(self) -> m.SlotRequest:
        """An allocation that may make sense."""
        rng = self.rng
        sane = rng.random() < 0.8
        return m.SlotRequest(
            kind=rng.choice((1, 1, 1, 2, 3, 4, 0x84)) if sane else rng.randrange(256),
            length=rng.randrange(1, 300) if sane else self.number(),
            align=rng.randrange(6) if sane else rng.randrange(256),
            ident=rng.randrange(1 << 32),
            hash=rng.randrange(1 << 64),
            deps=tuple(m.Dep(rng.randrange(8) if sane else self.number()) for _ in range(rng.randrange(3))),
        )

    def request(self) -> Request:
        """Any message with any fields."""
        rng = self.rng
        generation = rng.randrange(3)
        makers = (
            lambda: m.HelloRequest(rng.randrange(3), rng.randrange(3), self.number()),
            m.StatusRequest,
            lambda: m.SlotsRequest(self.number()),
            lambda: m.HooksRequest(self.number()),
            lambda: m.BeginRequest(
                generation if rng.random() < 0.8 else self.number(),
                self.app.build_tag if rng.random() < 0.9 else self.number(),
                rng.randrange(4),
                rng.randrange(5) if rng.random() < 0.8 else self.number(),
                tuple(self.slot() for _ in range(rng.randrange(4))),
            ),
            lambda: m.WriteRequest(self.number(), self.data()),
            lambda: m.CommitRequest(
                rng.randrange(3),
                self.number(),
                rng.choice((0, 0, 0, 1, self.number())),
                tuple(m.Pair(self.number(), self.number(), rng.randrange(256)) for _ in range(rng.randrange(3))),
                tuple(m.Word(self.number(), self.number()) for _ in range(rng.randrange(3))),
                tuple(m.Range(self.number(), self.number()) for _ in range(rng.randrange(3))),
            ),
            m.AbortRequest,
            m.RecordRequest,
            m.ParkRequest,
            m.ContinueRequest,
            lambda: m.RestartRequest(self.number()),
            lambda: m.ConfirmRequest(rng.randrange(4)),
            lambda: m.RollbackRequest(rng.randrange(4), rng.randrange(3)),
            m.GcRequest,
            lambda: m.PinRequest(self.number(), rng.randrange(3)),
            lambda: m.ReadRequest(self.number(), self.number(), rng.choice((0, 1, 2, 4, 3)), rng.randrange(4)),
            lambda: m.PokeRequest(self.number(), rng.choice((0, 1, 2, 4, 3)), rng.randrange(4), self.data()),
            lambda: m.FlashBeginRequest(self.number(), self.number()),
            lambda: m.FlashEraseRequest(self.number(), self.number()),
            lambda: m.FlashWriteRequest(self.number(), self.data()),
            lambda: m.FlashEndRequest(self.number(), self.number()),
            lambda: m.ResetRequest(rng.randrange(3)),
        )
        weights = [3, 2, 3, 2, 12, 8, 8, 3, 2, 2, 4, 2, 3, 5, 4, 4, 6, 6, 2, 2, 2, 2, 1]
        return rng.choices(makers, weights)[0]()

    def push(self) -> None:
        """A good transaction, if the board is in the mood for one."""
        rng = self.rng
        hello = self.client.hello()
        if not hello.flags & m.HelloFlag.APP_RUNS or hello.flags & m.HelloFlag.STATE_LOST:
            return
        self.client.ask(m.AbortRequest())
        news = [New(self.data() + bytes(16), hook=rng.randrange(len(self.app.initial)))]
        transaction = self.client.transaction(news, generation=hello.generation, mode=rng.randrange(2))
        if self.client.ask(transaction.begin).status is m.Status.OK:
            self.client.finish(transaction)

    def act(self) -> None:
        """One thing happens."""
        rng, board, client = self.rng, self.board, self.client
        pick = rng.random()
        if pick < 0.5:
            message = self.request()
            quiet = 0x80 if rng.random() < 0.05 else 0
            data = frame(m.Channel.CONTROL, rng.randrange(256), bytes([message.OP | quiet]) + packed(message))
            if rng.random() < 0.1:
                damaged = bytearray(data)
                damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                data = bytes(damaged)
            client.raw(data * (2 if rng.random() < 0.1 else 1) + b"\0")
        elif pick < 0.68:
            self.push()
        elif pick < 0.74:
            body = rng.randbytes(rng.randrange(1, 60))
            client.raw(frame(m.Channel.CONTROL, rng.randrange(256), bytes([rng.choice(list(m.Op))]) + body))
        elif pick < 0.78:
            client.raw(rng.randbytes(rng.randrange(600)) + b"\0")
        elif pick < 0.84:
            board.log(rng.randbytes(rng.randrange(200)) + rng.choice((b"\n", b"")))
        elif pick < 0.88:
            where = board.map
            regs = {name: self.number() for name in ("r0", "r4", "lr", "pc", "sp")}
            low = where.ram_base + 4 * rng.randrange(where.ram_size // 4)
            board.context(Context(regs, (low, where.ram_base + where.ram_size)))
        elif pick < 0.91:
            budget = rng.choice((0, 5, 100, UNLIMITED))
            self.stuffed = self.stuffed or budget != UNLIMITED  # replies may still be on their way
            board.set(Field.TX_BUDGET, budget)
        elif pick < 0.93:
            board.inject(rng.randbytes(rng.randrange(1, 60)) + b"\n", rng.randrange(1, 30), rng.randrange(9), 20)
        elif pick < 0.95:
            board.advance(rng.choice((10, 100_000, 6_000_000)))
        elif pick < 0.97:
            board.cut(rng.randrange(1, 40), *rng.sample(list(Step), 3))
        elif pick < 0.98:
            board.set(Field.FLASH_FAIL_AT, rng.randrange(1, 20))
        else:
            board.reset(power=rng.random() < 0.5)

    def run(self, steps: int) -> None:
        """So many things happen; then the board must still be one."""
        for _ in range(steps):
            resets = self.board.resets
            try:
                self.act()
            except AssertionError:
                # An answer may only be missing when the line is stuffed or power failed.
                if self.board.resets == resets and not self.stuffed:
                    raise
                self.client.bad = 0
            self.client.batch = self.rng.choice((1, 1, 3, 0))
        self.settle()

    def settle(self) -> None:
        """The accidents end; the next Hello is answered, and what runs is consistent."""
        self.board.set(Field.TX_BUDGET, UNLIMITED)
        self.board.set(Field.FLASH_FAIL_AT, 0)
        self.board.inject(b"\n", 0)
        self.board.cut(0)
        self.client.batch = 1
        self.client.raw(b"\0")
        self.client.drain()
        self.client.bad = 0
        hello = self.client.hello()
        runs = hello.flags & (m.HelloFlag.APP_RUNS | m.HelloFlag.STATE_LOST) == m.HelloFlag.APP_RUNS
        if runs and hello.build_id == self.app.build_id and hello.hook_count == len(self.app.initial):
            invariants.check(self.client)


def run(seed: int, *, rounds: int | None = None, seconds: float | None = None, steps: int = 150) -> int:
    """Runs rounds until their number or the time is reached; returns the number of rounds.

    :raises AssertionError: a finding, with the seed of its round
    """
    end = None if seconds is None else time.monotonic() + seconds
    done = 0
    board = Board(heap_size=0x2000)
    try:
        while (rounds is None or done < rounds) and (end is None or time.monotonic() < end):
            try:
                Round(board, seed + done).run(steps)
            except (AssertionError, HarnessError) as error:
                raise AssertionError(f"fuzz finding: --seed {seed + done} --rounds 1\n{error}") from error
            done += 1
    finally:
        board.close()
    return done


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="fuzz the monitor on the host")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    if options.seconds is None and options.rounds is None:
        options.seconds = 60.0
    print(f"seed {options.seed}", flush=True)
    done = run(options.seed, rounds=options.rounds, seconds=options.seconds, steps=options.steps)
    print(f"{done} rounds, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
