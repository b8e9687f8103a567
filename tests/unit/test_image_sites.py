"""Encoders of the jumps at patch points, against their decoders and against objdump."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotflash.elf.hooks import decode_modified_immediate, encode_modified_immediate
from hotflash.image import sites
from tests.unit.hotapp import run

REGISTERS = st.integers(0, 14).filter(lambda register: register != 13)
HALVES = st.integers(0, 0xFFFF)


def test_every_modified_immediate_has_an_encoding() -> None:
    for imm12 in range(0x1000):
        if imm12 & 0xFF == 0 and 0x100 <= imm12 < 0x400:
            continue  # UNPREDICTABLE: A5.3.2
        value = decode_modified_immediate(imm12)
        again = encode_modified_immediate(value)
        assert again is not None, hex(imm12)
        assert decode_modified_immediate(again) == value


@given(st.integers(0, 0xFFFFFFFF))
def test_modified_immediate_is_exact_or_none(value: int) -> None:
    imm12 = encode_modified_immediate(value)
    assert imm12 is None or decode_modified_immediate(imm12) == value


@given(REGISTERS, st.integers(0, 0xFFF).map(decode_modified_immediate))
def test_mov_immediate_and_back(register: int, value: int) -> None:
    code = sites.encode_mov_immediate(register, value)
    assert code is not None
    assert sites.decode_mov_immediate(code) == (register, value)
    assert sites.decode_movw(code) is None


@given(REGISTERS, HALVES)
def test_movw_and_movt_and_back(register: int, half: int) -> None:
    assert sites.decode_movw(sites.encode_movw(register, half)) == (register, half)
    assert sites.decode_movt(sites.encode_movt(register, half)) == (register, half)
    assert sites.decode_movt(sites.encode_movw(register, half)) is None


@given(st.integers(0, 15), st.integers(0, 14), st.integers(0, 0xFFF))
def test_ldr_and_back(target: int, base: int, offset: int) -> None:
    assert sites.decode_ldr_immediate(sites.encode_ldr_immediate(target, base, offset)) == (target, base, offset)


@given(st.integers(0, 0x20000000).map(lambda word: word * 4), st.integers(0, 8191))
def test_six_nops_reach_any_table(base: int, hook: int) -> None:
    code = sites.encode_jump(base, hook, 6)
    assert len(code) == 12
    assert sites.decode_jump(code) == (base + 4 * hook, 6)


@pytest.mark.parametrize("hook", [0, 1, 1023, 2048, 3071])
def test_four_nops_reach_windows_that_encode(hook: int) -> None:
    code = sites.encode_jump(0x20000000, hook, 4)
    assert len(code) == 8
    assert sites.decode_jump(code) == (0x20000000 + 4 * hook, 4)


def test_what_cannot_be_reached_is_refused() -> None:
    with pytest.raises(ValueError, match="0x20001000"):
        sites.encode_jump(0x20000000, 1024, 4)
    with pytest.raises(ValueError, match="0x20004000"):
        sites.encode_jump(0x20000000, 4096, 4)
    with pytest.raises(ValueError, match="8 nops"):
        sites.encode_jump(0x20000000, 0, 8)


@given(st.binary(min_size=12, max_size=12))
def test_decoding_anything_is_exact_or_none(code: bytes) -> None:
    found = sites.decode_jump(code)
    if found is not None:
        address, nops = found
        if nops == 6:
            assert sites.encode_jump(address, 0, 6) == code


def test_objdump_agrees(tmp_path: Path) -> None:
    cases = [
        (0x20000000, 0, 4, ["mov.w ip, #536870912", "ldr.w pc, [ip]"]),
        (0x20000000, 5, 4, ["mov.w ip, #536870912", "ldr.w pc, [ip, #20]"]),
        (0x20000000, 2048 + 1023, 4, ["mov.w ip, #536879104", "ldr.w pc, [ip, #4092]"]),
        (0x10000000, 1, 4, ["mov.w ip, #268435456", "ldr.w pc, [ip, #4]"]),
        (0x20000000, 1025, 6, ["movw ip, #4100", "movt ip, #8192", "ldr.w pc, [ip]"]),
        (0x1FFFF7F8, 1, 6, ["movw ip, #63484", "movt ip, #8191", "ldr.w pc, [ip]"]),
    ]
    (tmp_path / "code.bin").write_bytes(b"".join(sites.encode_jump(base, hook, nops) for base, hook, nops, _ in cases))
    listing = run("arm-none-eabi-objdump", "-D", "-b", "binary", "-marm", "-Mforce-thumb", "code.bin", cwd=tmp_path)
    found = [
        re.sub(r"\s+", " ", line.split("\t", 2)[2].split("@")[0]).strip()
        for line in listing.splitlines()
        if re.match(r"\s*[0-9a-f]+:\t", line)
    ]
    assert found == [text for *_, expected in cases for text in expected]
