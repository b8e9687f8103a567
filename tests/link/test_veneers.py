"""Branches that do not reach, and functions that call themselves: by disassembly and by running them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
from unicorn import arm_const as arm

from hotflash.elf import attributes
from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.link import thumb
from tests.link.device import Device
from tests.link.toolchain import CPU, HOT, PLAIN, SECTIONS, Workshop, run

NARROW = ["-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"]
BASELINE = ["-mcpu=cortex-m23", "-mthumb", "-mfloat-abi=soft"]
CORES = {"v6-m": NARROW, "v7e-m": CPU, "v8-m.base": BASELINE}
LEVELS = ("-O0", "-O1", "-O2", "-O3", "-Os", "-Og")

APP = """
extern int input(int), output(int, int);
int f(int n) { return input(n) + output(n, 1); }
static __attribute__((noinline)) int hidden(int n) { return n < 2 ? input(n) : hidden(n - 1) * 3 + hidden(n - 2); }
int open(int n) { return n < 2 ? input(n) : open(n - 1) * 3 + open(n - 2); }
int tail(int n, int a) { input(n); return n ? tail(n - 1, a * n) : a; }
void list(int *p) { if (*p == 0) return; *p = input(*p); list(p + 1); }
int deep(int n)
{
    switch (input(n)) {
    case 1: return deep(n + 1);
    case 2: return output(n, deep(n - 3));
    case 3: input(1); input(2); return deep(n * 2);
    case 4: if (input(9)) return deep(1); input(4); return deep(2);
    }
    return n;
}
int start(void) { return f(1) + hidden(2) + open(3) + tail(4, 5) + deep(6) + (list(0), 0); }
"""
REST = "int input(int n) { return n + 1; } int output(int a, int b) { return a * b; }"
RECURSIVE = ("hidden", "open", "tail", "list", "deep")
CHANGES = (("n < 2", "n < 3"), ("a * n", "a + n"), ("p + 1", "p + 2"), ("n + 1", "n + 7"), ("+ output", "- output"))


HEAD = '\t.section .text.f,"ax"\n\t.global f\n\t.type f, %function\n\t.thumb_func\nf:\n\t.rept 4\n\tnop\n\t.endr\n'


def options(core: str, level: str = "-Os") -> list[str]:
    return [*HOT, *CORES[core], level]


@pytest.fixture(scope="module", params=list(CORES))
def core(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def firmware(shop: Workshop, core: str) -> Firmware:
    objects = [shop.compile(source, unit, options(core)) for source, unit in ((APP, "a.c"), (REST, "b.c"))]
    return shop.firmware(*objects, cpu=CORES[core])


def changed() -> str:
    source = APP
    for old, new in CHANGES:
        source = source.replace(old, new)
    return source


def disassemble(shop: Workshop, code: bytes, core: str) -> list[tuple[int, str, str]]:
    """Offset, mnemonic and operands of each instruction, by GNU objdump."""
    path = shop.path(".bin")
    path.write_bytes(code)
    force = {"v6-m": "force-thumb,reg-names-std"}.get(core, "force-thumb")
    text = run("arm-none-eabi-objdump", "-D", "-b", "binary", "-m", "arm", "-M", force, path)
    found = re.findall(r"^\s*([0-9a-f]+):\t[0-9a-f ]+\t(\S+)\t?(.*)$", text, re.MULTILINE)
    return [(int(at, 16), name, rest.split("@")[0].strip()) for at, name, rest in found]


def is_wide(core: str) -> bool:
    return core == "v7e-m"


def test_calls_out_of_reach_share_a_veneer_for_each_target(shop: Workshop, firmware: Firmware, core: str) -> None:
    body = APP.replace("return input(n) + output(n, 1);", "return input(input(n)) + output(input(n), input(1));")
    device = Device(firmware)
    device.push(shop.compile(body, flags=options(core)))
    code = device.body("f")
    names = {name: firmware.symbol(name) for name in ("input", "output")}
    for symbol in names.values():
        assert symbol is not None
        assert code.count(thumb.veneer(symbol.address | 1, wide=is_wide(core))) == 1
    targets = {int(rest, 16) for _, name, rest in disassemble(shop, code, core) if name == "bl"}
    assert len(targets) == 2
    assert {thumb.veneer_target(code[at : at + 16], at) for at in targets} == {s.value for s in names.values() if s}


def test_conditional_and_short_branches_go_through_veneers(shop: Workshop, firmware: Firmware, core: str) -> None:
    forms = ["b.n input", "b.w input", "beq.w input", "bne.n input"] if is_wide(core) else ["b.n input", "bl input"]
    forms += ["b.w input"] if core == "v8-m.base" else []
    relocated = {"b.n input": ".reloc ., R_ARM_THM_JUMP11, input\n.inst.n 0xe7fe",
                 "bne.n input": ".reloc ., R_ARM_THM_JUMP8, input\n.inst.n 0xd1fe"}  # fmt: skip
    body = "\n".join(relocated.get(form, form) for form in forms)
    obj = shop.assemble(
        HEAD + f"{body}\n\tbx lr\n\t.size f, .-f\n",
        flags=CORES[core],
    )
    device = Device(firmware)
    device.push(obj)
    code = device.body("f")
    lines = [line for line in disassemble(shop, code, core) if line[1][0] == "b" and line[1] not in ("bx", "bkpt")]
    lines = [line for line in lines if 8 <= line[0] < 8 + 4 * len(forms)][: len(forms)]
    input_ = firmware.symbol("input")
    assert input_ is not None
    for _, name, rest in lines:
        at = int(rest, 16)
        assert thumb.veneer_target(code[at : at + 16], at) == input_.value, name


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("kind", ["veneer", "stub"])
def test_veneers_and_stubs_keep_registers_flags_and_stack(kind: str, *, wide: bool) -> None:
    engine: Any = Uc
    uc = engine(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4 if wide else arm.UC_CPU_ARM_CORTEX_M0)
    uc.mem_map(0x20000000, 0x10000)
    uc.mem_map(0x08000000, 0x1000)
    hook = 0x20008000
    uc.mem_write(hook, (0x08000101).to_bytes(4, "little"))
    code = thumb.veneer(0x08000101, wide=wide) if kind == "veneer" else thumb.stub(hook, wide=wide)
    uc.mem_write(0x20000100, code)
    uc.mem_write(0x08000100, b"\x00\xbf\x00\xbf")
    general = [arm.UC_ARM_REG_R0 + n for n in range(12)]
    for number, register in enumerate(general):
        uc.reg_write(register, 0xABCD0000 + number)
    uc.reg_write(arm.UC_ARM_REG_R12, 0x1234)
    uc.reg_write(arm.UC_ARM_REG_LR, 0x5679)
    uc.reg_write(arm.UC_ARM_REG_SP, 0x20004000)
    uc.reg_write(arm.UC_ARM_REG_XPSR, 0xA1000000)  # N and C, and the T bit
    stack = bytes(range(64))
    uc.mem_write(0x20004000, stack)
    uc.emu_start(0x20000101, 0x08000100, count=20)
    assert uc.reg_read(arm.UC_ARM_REG_PC) == 0x08000100
    assert [uc.reg_read(register) for register in general] == [0xABCD0000 + n for n in range(12)]
    assert uc.reg_read(arm.UC_ARM_REG_LR) == 0x5679
    assert uc.reg_read(arm.UC_ARM_REG_SP) == 0x20004000
    assert uc.reg_read(arm.UC_ARM_REG_XPSR) & 0xF0000000 == 0xA0000000
    assert uc.mem_read(0x20004000, 64) == stack
    if kind == "veneer" or not wide:  # the stub of wide cores may use ip: it is only reached by calls
        assert uc.reg_read(arm.UC_ARM_REG_R12) == 0x1234


def entry(firmware: Firmware, name: str) -> int:
    symbol = firmware.symbol(name)
    assert symbol is not None
    return symbol.address


def static_entries(shop: Workshop, device: Device, name: str, core: str) -> tuple[int, int]:
    """Self-calls of a pushed function that go to its static entry, and those that stay in the slot."""
    code = device.body(name)
    target = entry(device.firmware, name) | 1
    through = inside = 0
    for _, mnemonic, rest in disassemble(shop, code, core):
        if mnemonic not in ("bl", "b.w") or not re.fullmatch(r"0x[0-9a-f]+", rest):
            continue
        at = int(rest, 16)
        if at >= len(code):
            continue
        leads = thumb.veneer_target(code[at : at + 16], at)
        through += leads == target
        inside += at < 8 and leads != target
    return through, inside


@pytest.mark.parametrize("level", LEVELS)
def test_self_calls_of_gcc_go_through_the_static_entry(
    shop: Workshop, firmware: Firmware, core: str, level: str
) -> None:
    device = Device(firmware)
    device.push(shop.compile(changed(), flags=options(core, level)))
    total = 0
    for name in RECURSIVE:
        through, inside = static_entries(shop, device, name, core)
        assert inside == 0, f"{name} calls its own slot"
        total += through
    assert total >= 2, "some of them call themselves at any level"
    if level == "-O0":
        assert all(static_entries(shop, device, name, core)[0] for name in RECURSIVE)


@pytest.mark.parametrize("level", LEVELS)
def test_self_calls_of_clang_go_through_the_static_entry(
    shop: Workshop, firmware: Firmware, core: str, level: str
) -> None:
    flags = ["--target=arm-none-eabi", *PLAIN, "-fshort-enums", *SECTIONS, *CORES[core], level]
    device = Device(firmware)
    device.push(shop.compile(changed(), flags=flags, compiler="clang-19"))
    for name in ("open", "deep"):
        through, inside = static_entries(shop, device, name, core)
        assert inside == 0, f"{name} calls its own slot"
        assert through > 0


FORMS = {
    "v6-m": ("bl f", "b.n f", "beq.n f"),
    "v7e-m": ("bl f", "b.n f", "beq.n f", "b.w f", "bne.w f"),
    "v8-m.base": ("bl f", "b.n f", "beq.n f", "b.w f"),
}
"""Branches that each core has."""


@pytest.mark.parametrize("nops", [4, 6])
@pytest.mark.parametrize(("core", "form"), [(c, form) for c, forms in FORMS.items() for form in forms])
def test_every_form_of_a_branch_to_the_own_start_is_found(shop: Workshop, core: str, form: str, nops: int) -> None:
    flags = [*options(core), f"-fpatchable-function-entry={nops}"]
    objects = [shop.compile(source, unit, flags) for source, unit in ((APP, "a.c"), (REST, "b.c"))]
    firmware = shop.firmware(*objects, flags=[f"-Wl,--defsym=__hf_nops={nops}"], cpu=CORES[core])
    # A name for the start that is not the function's: the assembler resolves the branch, as it does for statics.
    head = HEAD.replace("f:\n", "f:\n.Lstart:\n").replace(".rept 4", f".rept {nops}")
    source = head + f"\tpush {{r4, lr}}\n\t{form.replace(' f', ' .Lstart')}\n\tbx lr\n"
    obj: ObjectFile = shop.assemble(source + "\t.size f, .-f\n", flags=CORES[core])
    section = next(s for s in obj.sections if s.name == ".text.f")
    assert obj.relocations(section.index) == []
    device = Device(firmware)
    device.push(obj)
    code = device.body("f")
    target = entry(firmware, "f") | 1
    line = next(line for line in disassemble(shop, code, core) if line[0] == 2 * nops + 2)
    leads = thumb.veneer_target(code[int(line[2], 16) :][:16], int(line[2], 16))
    if is_wide(core) or nops == 6 or form == "bl f":
        assert leads == target
    else:  # four nops have no room for this core's jump: only calls are sent to the entry, a branch may be a loop
        assert int(line[2], 16) == 0


def test_the_cores_are_what_they_say(firmware: Firmware, core: str) -> None:
    assert firmware.attributes[attributes.CPU_ARCH] == {"v6-m": 12, "v7e-m": 13, "v8-m.base": 16}[core]


FAR_APP = """
extern int rom(int); extern int nobody(int) __attribute__((weak));
int f(int n) { if (n == 5) return nobody(n); return rom(n) + rom(n + 1); }
int start(void) { return f(1); }
"""


def test_what_gnu_ld_made_of_calls_is_no_change(shop: Workshop, core: str) -> None:
    """Veneers to a function in ROM, and calls of an undefined weak one, differ from the object's bytes."""
    flags = [*options(core), "-fno-optimize-sibling-calls"]
    obj = shop.compile(FAR_APP, flags=flags)
    firmware = shop.firmware(obj, flags=["-Wl,--defsym=rom=0x30000001"], cpu=CORES[core])
    text = run("arm-none-eabi-objdump", "-d", firmware.path)
    assert "__rom_veneer" in text
    plan, _ = Device(firmware).push(shop.compile("\n" + FAR_APP, flags=flags))
    assert plan.empty, [change.function for change in plan.changes]
    moved = shop.firmware(obj, flags=["-Wl,--defsym=rom=0x30000101"], cpu=CORES[core])
    assert "__rom_veneer" in run("arm-none-eabi-objdump", "-d", moved.path)
    device = Device(moved)
    device.push(shop.compile(FAR_APP.replace("n + 1", "n + 2"), flags=flags))
    code = device.body("f")
    assert thumb.veneer(0x30000101, wide=is_wide(core)) in code
    assert thumb.no_branch(4, wide=is_wide(core)) in code


def test_a_veneer_that_leads_elsewhere_is_a_change(shop: Workshop, core: str) -> None:
    flags = options(core)
    source = FAR_APP + "extern int rom2(int); int g(int n) { return rom2(n) * 2; }\n"
    names = ["-Wl,--defsym=rom=0x30000001", "-Wl,--defsym=rom2=0x30000101"]
    firmware = shop.firmware(shop.compile(source, flags=flags), flags=names, cpu=CORES[core])
    plan, _ = Device(firmware).push(shop.compile(source.replace("rom(n + 1)", "rom2(n + 1)"), flags=flags))
    assert [change.function for change in plan.changes] == ["f"]
