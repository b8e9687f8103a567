"""One test per relocation kind, each against GNU ld on the same code at the same address."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotflash.elf.firmware import Firmware
from hotflash.errors import LinkError
from hotflash.link import plan, reloc, thumb
from tests.link.device import Device
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
