"""One test per relocation kind, each against GNU ld on the same code at the same address."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotflash.elf import attributes
from hotflash.elf.firmware import Firmware
from hotflash.errors import LinkError
from hotflash.link import plan, reloc, thumb
from tests.link.device import Device
from tests.link.differential import Comparison
from tests.link.toolchain import Workshop, run

FRAME = '\t.section .text.f,"ax"\n\t.global f\n\t.type f, %function\n\t.thumb_func\nf:\n\t.rept 4\n\tnop\n\t.endr\n'
TAIL = "\n\tbx lr\n\t.size f, .-f\n"
MAIN = """
int live = 1; __attribute__((used)) static int hidden; int callee(int x){ return x + live + hidden; }
int f(void){ return callee(2); } int start(void){ return f(); }
"""


@pytest.fixture(scope="module")
def firmware(shop: Workshop) -> Firmware:
    return shop.firmware(shop.compile(MAIN))


NEAR = 0x00080000
"""A heap within every branch's reach of flash: no veneers, so all bytes must be GNU ld's."""


def same(shop: Workshop, firmware: Firmware, body: str, kind: str, extra: str = "") -> bytes:
    """Links a new body of f here and with GNU ld at the same random address, and compares the bytes."""
    obj = shop.assemble(FRAME + body + TAIL + extra)
    section = next(s for s in obj.sections if s.name == ".text.f")
    kinds = [reloc.name_of(number) for _, number, _, _ in obj.relocations(section.index)]
    assert kind in kinds, kinds
    seed = zlib.crc32(body.encode())
    device = Device(firmware, seed=seed, heap=NEAR)
    _, linked = device.push(obj)
    address = linked.symbols["f"]
    out, script, binary = shop.path(".elf"), shop.path(".ld"), shop.path(".bin")
    script.write_text(f"SECTIONS {{ .text {address:#x} : {{ *(.text.f) }} /DISCARD/ : {{ *(*) }} }}")
    names = [f"--defsym={name}={address_of(firmware, name):#x}" for name in ("live", "callee")]
    run("arm-none-eabi-ld", "-o", out, "-T", script, *names, "--no-warn-mismatch", "-e", "0", obj.name)
    run("arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", out, binary)
    theirs = binary.read_bytes()
    assert len(theirs) == section.size
    assert device.body("f") == theirs, f"seed {seed}"
    return theirs


def address_of(firmware: Firmware, name: str) -> int:
    symbol = firmware.symbol(name)
    assert symbol is not None
    return symbol.value


def test_abs32(shop: Workshop, firmware: Firmware) -> None:
    code = same(shop, firmware, "b 1f\n.align 2\n.word live, live+4, callee\n1:", "R_ARM_ABS32")
    assert address_of(firmware, "live").to_bytes(4, "little") in code
    assert (address_of(firmware, "live") + 4).to_bytes(4, "little") in code


def test_rel32(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "b 1f\n.align 2\n.word live-.\n1:", "R_ARM_REL32")


def test_abs16(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "b 1f\n.hword small\n1:", "R_ARM_ABS16", "\n.global small\n.equ small, 0x1234\n")


def test_abs8(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "b 1f\n.byte small, 0\n1:", "R_ARM_ABS8", "\n.global small\n.equ small, 0x12\n")


def test_target1(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "b 1f\n.align 2\n.word live(target1)\n1:", "R_ARM_TARGET1")


def test_target2(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "b 1f\n.align 2\n.word live(target2)\n1:", "R_ARM_TARGET2")


def test_prel31(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "b 1f\n.align 2\n.reloc ., R_ARM_PREL31, callee\n.word 0x80000000\n1:", "R_ARM_PREL31")


def test_none_and_v4bx(shop: Workshop, firmware: Firmware) -> None:
    body = "b 1f\n.reloc ., R_ARM_NONE, live\n.reloc ., R_ARM_V4BX, live\n1:"
    same(shop, firmware, body, "R_ARM_V4BX")


def test_thm_call(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "bl callee", "R_ARM_THM_CALL")


def test_thm_jump24(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "b.w callee", "R_ARM_THM_JUMP24")


def test_thm_jump19(shop: Workshop, firmware: Firmware) -> None:
    same(shop, firmware, "beq.w callee\nbhi.w callee", "R_ARM_THM_JUMP19")


def test_thm_movw_movt_abs(shop: Workshop, firmware: Firmware) -> None:
    body = "movw r0, #:lower16:live\nmovt r0, #:upper16:live\nmovw r1, #:lower16:callee\nmovt r1, #:upper16:callee"
    same(shop, firmware, body, "R_ARM_THM_MOVT_ABS")


def test_thm_movw_movt_prel(shop: Workshop, firmware: Firmware) -> None:
    body = "movw r0, #:lower16:live-.\nmovt r0, #:upper16:live-."
    same(shop, firmware, body, "R_ARM_THM_MOVW_PREL_NC")


G = '\n\t.section .text.g,"ax"\n\t.global g\n\t.type g, %function\n\t.thumb_func\ng:\tbx lr\n'
G_DATA = '\n\t.section .text.g,"ax"\n\t.global g\n\t.type g, %object\ng:\t.word 0\n'
AT = 0x08010000


def apart(shop: Workshop, body: str, kind: str, distance: int, target: str = G) -> Comparison:
    """f at AT and g at a distance from it, ready to be linked."""
    obj = shop.assemble(FRAME + body + TAIL + target)
    index = {s.name: s.index for s in obj.sections if s.name.startswith(".text.")}
    assert kind in [reloc.name_of(number) for _, number, _, _ in obj.relocations(index[".text.f"])]
    comparison = Comparison(obj, f"{kind} {distance}", shop.folder)
    comparison.addresses |= {index[".text.f"]: AT, index[".text.g"]: AT + distance}
    return comparison


def close(shop: Workshop, body: str, kind: str, distances: tuple[int, ...], target: str = G) -> None:
    """Links f with g at small distances, here and with GNU ld, and compares the bytes."""
    for distance in distances:
        figures = apart(shop, body, kind, distance, target).run()
        assert figures.relocations[kind] >= 1
        assert figures.veneers == 0


def place(shop: Workshop, body: str, kind: str, distance: int, target: str = G) -> bytes:
    """The four bytes of the relocated place, linked here; for what GNU ld gets wrong."""
    linked = apart(shop, body, kind, distance, target).ours()
    return bytes(next(p for p in linked.parts if p.name == ".text.f").data[8:12])


def too_far(shop: Workshop, body: str, kind: str, distance: int) -> LinkError:
    """The refusal of f with g at a distance that the field cannot hold."""
    comparison = apart(shop, body, kind, distance)
    with pytest.raises(LinkError) as caught:
        comparison.run()
    assert kind in caught.value.message
    assert ".text.f+0x8" in caught.value.message
    assert " against g " in caught.value.message
    return caught.value


def raw(kind: str, instruction: str) -> str:
    """An instruction that GNU as would not relocate by itself; clang's assembler does."""
    return f".reloc ., {kind}, g\n{instruction}\n"


def test_thm_jump11(shop: Workshop) -> None:
    body = raw("R_ARM_THM_JUMP11", ".inst.n 0xe7fe")  # b.n, addend -4
    close(shop, body, "R_ARM_THM_JUMP11", (0x20, 0x400, 0x806, -0x10, -0x7F4))


def test_thm_jump8(shop: Workshop) -> None:
    close(shop, raw("R_ARM_THM_JUMP8", ".inst.n 0xd0fe"), "R_ARM_THM_JUMP8", (0x20, 0x80, 0x106, -0x10, -0xF4))


def test_thm_jump6(shop: Workshop) -> None:
    close(shop, raw("R_ARM_THM_JUMP6", ".inst.n 0xb100"), "R_ARM_THM_JUMP6", (0x10, 0x20, 0x40))
    for distance in (0x60, 0x86):  # GNU ld refuses more than half of the reach
        code = place(shop, raw("R_ARM_THM_JUMP6", ".inst.n 0xb100"), "R_ARM_THM_JUMP6", distance)
        assert 8 + thumb.get_cbz(code, 0) == distance
        assert code[:2] != b"\x00\xb1"
    behind = apart(shop, raw("R_ARM_THM_JUMP6", ".inst.n 0xb100"), "R_ARM_THM_JUMP6", -0x20).ours()
    code = bytes(next(p for p in behind.parts if p.name == ".text.f").data)
    at = 8 + 4 + thumb.get_cbz(code, 8)  # it cannot branch back: a veneer does
    assert thumb.veneer_target(code[at:], AT + at) == (AT - 0x20 + 4) | 1


def test_thm_jump19_near(shop: Workshop) -> None:
    close(shop, "beq.w g", "R_ARM_THM_JUMP19", (0x20, 0x1000, 0x100008, -0x10, -0xFFFF4))


def test_thm_pc8(shop: Workshop) -> None:
    body = raw("R_ARM_THM_PC8", ".inst.n 0x48ff")  # ldr r0, [pc, #-4] in REL's reading
    close(shop, body, "R_ARM_THM_PC8", (0x20, 0x100, 0x408))
    too_far(shop, body, "R_ARM_THM_PC8", 0x40C)


def test_thm_pc12(shop: Workshop) -> None:
    body = raw("R_ARM_THM_PC12", "ldr.w r3, [pc, #-4]")
    close(shop, body, "R_ARM_THM_PC12", (0x20, 0x400, 0x1008))
    code = place(shop, body, "R_ARM_THM_PC12", -0xFF0, G_DATA)  # GNU ld refuses all that is behind
    assert 8 + 4 + thumb.get_ldr12(code, 0) == -0xFF0
    too_far(shop, body, "R_ARM_THM_PC12", 0x1010)


def test_thm_alu_prel_11_0(shop: Workshop) -> None:
    body = raw("R_ARM_THM_ALU_PREL_11_0", "subw r3, pc, #4")
    close(shop, body, "R_ARM_THM_ALU_PREL_11_0", (0x20, 0x1008))
    close(shop, body, "R_ARM_THM_ALU_PREL_11_0", (0x20, 0x1008, -0xFF0), G_DATA)
    code = place(shop, body, "R_ARM_THM_ALU_PREL_11_0", -0xFF0)  # GNU ld puts the Thumb bit on the wrong side here
    assert 8 + 4 + thumb.get_adr(code, 0) == -0xFF0 + 1
    too_far(shop, body, "R_ARM_THM_ALU_PREL_11_0", 0x1010)


def test_abs32_noi_and_rel32_noi(shop: Workshop) -> None:
    body = "b 1f\n.align 2\n" + raw("R_ARM_ABS32_NOI", ".word 4") + raw("R_ARM_REL32_NOI", ".word 0") + "1:"
    close(shop, body, "R_ARM_ABS32_NOI", (0x100,))
    close(shop, body, "R_ARM_REL32_NOI", (0x100,))


def test_thm_alu_abs_groups(shop: Workshop, firmware: Firmware) -> None:
    names = ("upper8_15", "upper0_7", "lower8_15", "lower0_7")
    body = "".join(f"{'movs' if i == 0 else 'adds'} r0, #:{name}:live\n" for i, name in enumerate(names))
    for group, suffix in enumerate(("_NC", "_NC", "_NC", "")):
        same(shop, firmware, body, f"R_ARM_THM_ALU_ABS_G{group}{suffix}")
    same(shop, firmware, body.replace("live", "callee"), "R_ARM_THM_ALU_ABS_G0_NC")


def test_odd_addends_of_functions_keep_one_thumb_bit(shop: Workshop) -> None:
    body = "b 1f\n.align 2\n.word g+1, g+2, g+3, g-1, g-2\n1:movw r0, #:lower16:(g+1)\nmovt r0, #:upper16:(g+1)"
    close(shop, body, "R_ARM_ABS32", (0x100, 0x124))
    close(shop, body, "R_ARM_THM_MOVW_ABS_NC", (0x100, 0xFFF8))


def test_addends_beyond_halves(shop: Workshop, firmware: Firmware) -> None:
    addends = ("+0x7ffe", "-0x8000")
    body = "".join(f"movw r0, #:lower16:(live{a})\nmovt r0, #:upper16:(live{a})\n" for a in addends)
    same(shop, firmware, body, "R_ARM_THM_MOVT_ABS")


@pytest.mark.parametrize(("kind", "value"), [("R_ARM_ABS16", 0x10000), ("R_ARM_ABS8", 0x100)])
def test_a_value_that_does_not_fit_is_refused(shop: Workshop, firmware: Firmware, kind: str, value: int) -> None:
    data = ".hword large" if kind == "R_ARM_ABS16" else ".byte large, 0"
    obj = shop.assemble(FRAME + f"b 1f\n{data}\n1:" + TAIL + f"\n.global large\n.equ large, {value:#x}\n")
    with pytest.raises(LinkError) as caught:
        Device(firmware).push(obj)
    assert kind in caught.value.message
    assert ".text.f+0xa" in caught.value.message
    assert "against large" in caught.value.message


def test_branch_out_of_reach_goes_through_a_veneer(shop: Workshop, firmware: Firmware) -> None:
    obj = shop.assemble(FRAME + "bl callee\nb.w callee\nbeq.w callee" + TAIL)
    device = Device(firmware)
    device.push(obj)
    code = device.body("f")
    assert code.count(thumb.veneer(address_of(firmware, "callee"))) == 1
    at = code.index(thumb.veneer(address_of(firmware, "callee")))
    assert at % 4 == 0
    assert 8 + 4 + thumb.get_b24(code, 8) == at
    assert 12 + 4 + thumb.get_b24(code, 12) == at
    assert 16 + 4 + thumb.get_b20(code, 16) == at


def test_weak_undefined_call_is_a_nop(shop: Workshop, firmware: Firmware) -> None:
    obj = shop.assemble(FRAME + "bl nobody\nb 1f\n.align 2\n.word nobody\n1:" + TAIL + ".weak nobody\n")
    device = Device(firmware)
    device.push(obj)
    assert device.body("f")[8:12] == b"\xaf\xf3\x00\x80"
    assert bytes(4) in device.body("f")[12:24]


@pytest.mark.parametrize("kind", ["R_ARM_GOT_PREL", "R_ARM_THM_BF12", "R_ARM_TLS_LE32"])
def test_unknown_kind_is_refused_by_name(shop: Workshop, firmware: Firmware, kind: str) -> None:
    obj = shop.assemble(FRAME + f"b 1f\n.align 2\n.reloc ., {kind}, live\n.word 0\n1:" + TAIL)
    with pytest.raises(LinkError) as caught:
        plan([obj], firmware, Device(firmware).live)
    assert kind in caught.value.message
    assert ".text.f+0x" in caught.value.message
    assert "live" in caught.value.message


FIELDS = {
    "b24": (thumb.get_b24, thumb.put_b24, thumb.B24_MASK, 4, -0x1000000, 0xFFFFFE, 2),
    "b20": (thumb.get_b20, thumb.put_b20, thumb.B20_MASK, 4, -0x100000, 0xFFFFE, 2),
    "b11": (thumb.get_b11, thumb.put_b11, thumb.B11_MASK, 2, -0x800, 0x7FE, 2),
    "b8": (thumb.get_b8, thumb.put_b8, thumb.B8_MASK, 2, -0x100, 0xFE, 2),
    "cbz": (thumb.get_cbz, thumb.put_cbz, thumb.CBZ_MASK, 2, 0, 0x7E, 2),
    "mov16": (thumb.get_mov16, thumb.put_mov16, thumb.MOV_MASK, 4, 0, 0xFFFF, 1),
    "ldr12": (thumb.get_ldr12, thumb.put_ldr12, thumb.LDR12_MASK, 4, -0xFFF, 0xFFF, 1),
    "ldr8": (thumb.get_ldr8, thumb.put_ldr8, thumb.LDR8_MASK, 2, 0, 0x3FC, 4),
    "adr": (thumb.get_adr, thumb.put_adr, thumb.ADR_MASK, 4, -0xFFF, 0xFFF, 1),
    "imm8": (thumb.get_imm8, thumb.put_imm8, thumb.IMM8_MASK, 2, 0, 0xFF, 1),
    "prel31": (reloc.get_prel31, reloc.put_prel31, 0x80000000, 4, -0x40000000, 0x3FFFFFFF, 1),
}


@pytest.mark.parametrize("field", FIELDS)
@settings(deadline=None)
@given(data=st.data())
def test_encoder_and_decoder_are_inverse(field: str, data: st.DataObject) -> None:
    get, put, mask, width, low, high, step = FIELDS[field]
    before = data.draw(st.binary(min_size=width, max_size=width))
    value = data.draw(st.integers(low // step, high // step)) * step
    place = bytearray(before)
    put(place, 0, value)
    assert get(place, 0) == value
    after, old = int.from_bytes(place, "little"), int.from_bytes(before, "little")
    assert after & mask == old & mask, "bits around the field changed"
    for wrong in (low - step, high + step):
        untouched = bytes(place)
        with pytest.raises(OverflowError):
            put(place, 0, wrong)
        assert bytes(place) == untouched


@pytest.mark.parametrize(
    ("source", "get", "value"),
    [
        ("b.w .+0x12345a", thumb.get_b24, 0x12345A - 4), ("bl .-0xfffffa", thumb.get_b24, -0xFFFFFE),
        ("bl .+0x1000002", thumb.get_b24, 0xFFFFFE), ("beq.w .+0xf0006", thumb.get_b20, 0xF0002),
        ("bne.w .-0x80000", thumb.get_b20, -0x80004), ("b.n .-0x7fc", thumb.get_b11, -0x800),
        ("beq.n .+0x102", thumb.get_b8, 0xFE), ("cbz r0, .+0x82", thumb.get_cbz, 0x7E),
        ("movw r0, #0xabcd", thumb.get_mov16, 0xABCD), ("movt r5, #0x1234", thumb.get_mov16, 0x1234),
        ("ldr.w r1, [pc, #-0x123]", thumb.get_ldr12, -0x123), ("ldr.w r1, [pc, #0xfff]", thumb.get_ldr12, 0xFFF),
        ("ldr r1, [pc, #0x3fc]", thumb.get_ldr8, 0x3FC), ("subw r1, pc, #0x234", thumb.get_adr, -0x234),
        ("addw r1, pc, #0xa34", thumb.get_adr, 0xA34), ("movs r1, #77", thumb.get_imm8, 77),
    ],
)  # fmt: skip
def test_decoder_reads_what_the_assembler_wrote(
    shop: Workshop, source: str, get: Callable[[bytes, int], int], value: int
) -> None:
    obj = shop.assemble("\t.text\n" + source + "\n")
    text = next(s for s in obj.sections if s.name == ".text")
    assert not obj.relocations(text.index)
    assert get(text.data, 0) == value


@settings(deadline=None)
@given(hook=st.integers(0x20000000, 0x2FFFFFFF))
def test_entry_stub_loads_its_hook(hook: int) -> None:
    code = thumb.stub(hook)
    assert len(code) == 12
    assert thumb.get_mov16(code, 4) << 16 | thumb.get_mov16(code, 0) == hook


def test_stub_and_veneer_disassemble_as_meant(shop: Workshop) -> None:
    obj = shop.assemble(
        "\t.text\nmovw ip, #0x5678\nmovt ip, #0x1234\nldr.w pc, [ip]\n.align 2\nldr.w pc, 1f\n1: .word 0\n"
    )
    text = next(s for s in obj.sections if s.name == ".text").data
    assert text[:12] == thumb.stub(0x12345678)
    assert text[12:16] == thumb.veneer(0)[:4]
    assert thumb.veneer_target(thumb.veneer(0x8001), 0x20040000) == 0x8001


@pytest.mark.parametrize(("profile", "name"), [(ord("A"), "A"), (0x7FFFFFFF, "unknown (0x7fffffff)")])
def test_another_profile_is_refused_by_name(profile: int, name: str) -> None:
    thing = {attributes.CPU_ARCH: 10, attributes.CPU_ARCH_PROFILE: profile}
    why = attributes.incompatibility(thing, {attributes.CPU_ARCH: 10})
    assert why is not None
    assert f"compiled for the {name} profile" in why[0]
