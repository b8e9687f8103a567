"""Unwinding against what really happened: every call of a run is noted, and the stack walked at its instructions."""

from __future__ import annotations

import random
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from hotflash.debug import Code, State, unwind
from hotflash.debug.cfi import FrameTable
from hotflash.elf.firmware import Firmware
from hotflash.errors import AccessError
from tests.link.toolchain import HOT, Workshop

SEED = 20240
MARK = 0xF00
STACK_TOP = 0x20080000 + 0x40000

SOURCE = """
typedef int (*op)(int, int);
volatile int sink;
static __attribute__((noinline)) int leaf(int a, int b) { sink += a; return a * 3 ^ b; }
static __attribute__((noinline)) int many(int a, int b, int c, int d, int e, int f)
{
    int w[20];
    for (int i = 0; i < 20; i++) { w[i] = leaf(a + i, b) + c; }
    return w[a & 15] + w[b & 15] + leaf(c, d) + e + f;
}
__attribute__((noinline)) int tail(int a) { return leaf(a, 7); }
__attribute__((noinline)) int depth(int n) { return n == 0 ? tail(3) : depth(n - 1) + many(n, 1, 2, 3, n, 5); }
__attribute__((noinline)) int varying(int n)
{
    char room[n * 8 + 8];
    for (int i = 0; i < n * 8; i++) { room[i] = (char)leaf(i, n); }
    return room[n];
}
__attribute__((noinline)) long long wide(long long a, long long b) { return a / (b | 1); }
static const op table[] = { leaf, leaf };
int start(void);
int start(void)
{
    int sum = 0;
    for (int i = 0; i < 3; i++) { sum += depth(i) + varying(i + 1) + table[i & 1](i, 2); sum += (int)wide(sum, i); }
    return sum;
}
"""


@lru_cache
def built(optimise: str, dwarf: str) -> tuple[Firmware, Code]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        flags = [*(flag for flag in HOT if flag not in ("-Os", "-g")), optimise, dwarf]
        firmware = shop.firmware(shop.compile(SOURCE, flags=flags))
        return firmware, Code(firmware.container)


class Run:
    """Executes the program and keeps the return addresses that are on its stack."""

    def __init__(self, firmware: Firmware) -> None:
        import unicorn
        from unicorn import arm_const as arm

        self.engine: Any = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.engine.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        self.registers = [*(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)), arm.UC_ARM_REG_SP,
                          arm.UC_ARM_REG_LR, arm.UC_ARM_REG_PC]  # fmt: skip
        self.engine.mem_map(0, 1 << 20)
        self.engine.mem_map(0x20000000, 1 << 20)
        for segment in firmware.segments:
            self.engine.mem_write(segment.physical, segment.data)
            self.engine.mem_write(segment.virtual, segment.data)
        self.calls: list[tuple[int, int]] = []
        """Return address and stack pointer behind it of each call under way, the newest last."""
        self._last: tuple[int, bytes] = (0, b"")

    def state(self) -> State:
        return State(tuple(self.engine.reg_read(number) for number in self.registers))

    def read(self, address: int, length: int) -> bytes:
        import unicorn

        try:
            return bytes(self.engine.mem_read(address, length))
        except unicorn.UcError:
            raise AccessError(f"nothing at {address:#010x}") from None

    def follow(self, address: int, size: int) -> None:
        """Notes calls and returns: before the instruction at ``address`` runs."""
        at, code = self._last
        half = int.from_bytes(code[:2], "little")
        is_call = len(code) == 4 and half >> 11 == 0x1E and code[3] & 0xD0 == 0xD0
        is_call = is_call or (len(code) == 2 and half & 0xFF87 == 0x4780)
        sp = self.engine.reg_read(self.registers[13])
        if is_call and address != at + len(code):
            self.calls.append((at + len(code), sp))
        elif self.calls and address == self.calls[-1][0] and sp == self.calls[-1][1]:
            self.calls.pop()
        self._last = address, bytes(self.engine.mem_read(address, size))


@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
@pytest.mark.parametrize("optimise", ["-O0", "-Og", "-O2", "-Os"])
def test_walk_finds_every_call(optimise: str, dwarf: str) -> None:
    """At random instructions of a run, in prologues, epilogues, patch points and between, nothing else is found."""
    firmware, code = built(optimise, dwarf)
    draw = random.Random(SEED)
    print(f"seed {SEED}")
    run = Run(firmware)
    bodies = [(f.address, f.address + f.size) for f in firmware.functions if f.unit == "a.c" or f.name == "start"
              or f.name in ("tail", "depth", "varying", "wide")]  # fmt: skip
    hot = {site.address: site.nops for site in firmware.sites}
    checked = 0

    def at_entry(address: int) -> bool:
        return any(site <= address < site + 2 * nops for site, nops in hot.items())

    def hook(engine: Any, address: int, size: int, user: Any) -> None:
        nonlocal checked
        del engine, user
        run.follow(address, size)
        # Library code has no unwinding information: callers of it are seen from within ours alone.
        if any(low <= address < high for low, high in bodies) and draw.random() < 0.1:
            trace = unwind(run.state(), code.row, at_entry, run.read)
            found = [frame.address for frame in trace.frames[1:]]
            assert found == [*(call for call, _ in reversed(run.calls)), MARK], f"at {address:#010x}: {trace.end}"
            checked += 1

    from unicorn import UC_HOOK_CODE

    failures: list[BaseException] = []

    def guarded(engine: Any, address: int, size: int, user: Any) -> None:
        try:
            hook(engine, address, size, user)
        except BaseException as error:  # noqa: BLE001 - unicorn would swallow it
            failures.append(error)
            engine.emu_stop()

    run.engine.hook_add(UC_HOOK_CODE, guarded)
    run.engine.reg_write(run.registers[13], STACK_TOP)
    run.engine.reg_write(run.registers[14], MARK | 1)
    entry = firmware.globals["start"].address
    run.engine.emu_start(entry | 1, MARK, count=2_000_000)
    if failures:
        raise failures[0]
    assert checked > 100


@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
@pytest.mark.parametrize("optimise", ["-O0", "-Og", "-O2", "-Os"])
def test_lines_are_those_of_addr2line(optimise: str, dwarf: str, tmp_path: Path) -> None:
    firmware, code = built(optimise, dwarf)
    elf = tmp_path / "f.elf"
    elf.write_bytes(firmware.data)
    addresses = [a for f in firmware.functions if f.size for a in range(f.address, f.address + f.size, 2)]
    done = subprocess.run(
        ["arm-none-eabi-addr2line", "-e", elf, *(hex(a) for a in addresses)], capture_output=True, text=True, check=True
    )
    known = 0
    for address, line in zip(addresses, done.stdout.splitlines(), strict=True):
        wanted = line.split(" (discriminator")[0]
        found = code.place(address)
        if found is None:
            assert wanted.startswith("??") or wanted.endswith((":?", ":0")), hex(address)
        else:
            assert f"{found.file}:{found.line}" == wanted, hex(address)
            known += 1
    assert known > 100


def test_garbage_is_no_code() -> None:
    """Damaged tables say nothing, and nothing worse."""
    firmware, _ = built("-O2", "-gdwarf-4")
    section = next(s for s in firmware.container.sections if s.name == ".debug_frame").data
    draw = random.Random(SEED)
    table = FrameTable(section)
    address = next(f.address for f in firmware.functions if f.name == "depth") + 12
    assert table.row(address) is not None
    for _ in range(500):
        data = bytearray(section)
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        FrameTable(bytes(data[: draw.randrange(len(data) + 1)])).row(address)
        row = FrameTable(bytes(data)).row(address)
        assert row is None or isinstance(row.offset, int)
