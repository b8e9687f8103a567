"""The image header against hf_image.h, and its own inverse."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotflash import sdk
from hotflash.errors import RefusedError
from hotflash.image import header as layout
from hotflash.image.header import ImageHeader
from tests.unit.hotapp import run

WORDS = st.integers(0, 0xFFFFFFFF)
HEADERS = st.builds(
    ImageHeader,
    self_address=WORDS,
    base=WORDS,
    abi=WORDS,
    vector_count=WORDS,
    hook_base=WORDS,
    hook_capacity=WORDS,
    ram_start=WORDS,
    ram_end=WORDS,
    nops=WORDS,
    stack_limit=WORDS,
    flags=WORDS,
    length=WORDS,
    crc=WORDS,
    hook_count=WORDS,
    hook_init=WORDS,
    build_id=st.binary(min_size=20, max_size=20),
    vectors=st.lists(st.tuples(st.integers(1, 511), WORDS), max_size=layout.VECTORS).map(tuple),
    mark=st.tuples(WORDS, WORDS, WORDS, WORDS),
)


@given(HEADERS)
def test_pack_and_unpack_are_inverse(header: ImageHeader) -> None:
    data = header.pack()
    assert len(data) == layout.SIZE
    assert ImageHeader.unpack(data) == header


def test_offsets_are_those_of_the_c_header(tmp_path: Path) -> None:
    """The host compiler lays out the C structure; every word is packed where it says."""
    names = {
        "flags": "flags",
        "self_address": "self",
        "base": "base",
        "length": "length",
        "crc": "crc",
        "abi": "abi",
        "vector_count": "vector_count",
        "hook_base": "hook_base",
        "hook_capacity": "hook_capacity",
        "hook_count": "hook_count",
        "hook_init": "hook_init",
        "ram_start": "ram_start",
        "ram_end": "ram_end",
        "nops": "nops",
        "stack_limit": "stack_limit",
    }
    lines = [f'printf("{ours} %zu\\n", offsetof(struct hf_image_header, {theirs}));' for ours, theirs in names.items()]
    lines += [
        f'printf("{name} %zu\\n", offsetof(struct hf_image_header, {name}));' for name in ("build_id", "vector", "mark")
    ]
    lines.append('printf("size %zu\\n", sizeof(struct hf_image_header));')
    source = '#include <stdio.h>\n#include <stddef.h>\n#include "hf_image.h"\nint main(void) {' + "".join(lines) + "}"
    (tmp_path / "offsets.c").write_text(source)
    run("cc", f"-I{sdk.bootloader_dir() / 'src'}", "offsets.c", "-o", "offsets", cwd=tmp_path)
    offsets = dict(line.split() for line in run(tmp_path / "offsets").splitlines())
    assert int(offsets["size"]) == layout.SIZE
    assert int(offsets["mark"]) == layout.MARK_OFFSET
    assert int(offsets["crc"]) == layout.CRC_OFFSET
    values: dict[str, Any] = {name: 0x11110000 + number for number, name in enumerate(names)}
    packed = ImageHeader(**values, build_id=bytes(range(20)), vectors=((3, 0x77777777),)).pack()
    for name, value in values.items():
        assert struct.unpack_from("<I", packed, int(offsets[name])) == (value,), name
    assert packed[int(offsets["build_id"]) :][:20] == bytes(range(20))
    assert struct.unpack_from("<II", packed, int(offsets["vector"])) == (3, 0x77777777)


def test_constants_are_those_of_the_c_header() -> None:
    text = (sdk.bootloader_dir() / "src" / "hf_image.h").read_text()
    defines = {name: int(value, 0) for name, value in re.findall(r"#define HF_IMAGE_(\w+) (0x\w+|\d+)u", text)}
    assert defines == {
        "MAGIC": layout.MAGIC,
        "VERSION": layout.VERSION,
        "ALIGN": layout.ALIGN,
        "REACH": layout.REACH,
        "FLAG_HOT": layout.FLAG_HOT,
        "MARK": layout.MARK,
        "VECTORS": layout.VECTORS,
    }


def _header(**changes: int) -> ImageHeader:
    facts: dict[str, Any] = {
        "self_address": 0x80C0,
        "base": 0x8000,
        "abi": 0x10000,
        "vector_count": 48,
        "hook_base": 0x20000000,
        "hook_capacity": 1024,
        "ram_start": 0x20080000,
        "ram_end": 0x200C0000,
        "nops": 4,
    }
    return ImageHeader(**{**facts, **changes})


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [(0, 0, "no image header"), (4, 2, "version 2"), (6, 188, "188 bytes")],
)
def test_refuses_what_it_does_not_know(offset: int, value: int, message: str) -> None:
    data = bytearray(_header().pack())
    struct.pack_into("<H", data, offset, value)
    with pytest.raises(RefusedError, match=message):
        ImageHeader.unpack(bytes(data))
    with pytest.raises(RefusedError, match="cut short"):
        ImageHeader.unpack(bytes(data[:191]))


def test_find_asks_for_magic_alignment_and_own_address() -> None:
    packed = _header().pack()
    assert layout.find(bytes(0xC0) + packed, 0x8000) == 0xC0
    assert layout.find(bytes(0xC0) + packed, 0x9000) is None  # somebody else's address
    assert layout.find(bytes(0xC4) + packed, 0x8000) is None  # not aligned
    decoy = layout.MAGIC_BYTES.ljust(0xC0, b"\0")  # a constant of that value before it
    assert layout.find(decoy + packed, 0x8000) == 0xC0
    far = _header(self_address=0x8000 + layout.REACH).pack()
    assert layout.find(bytes(layout.REACH) + far, 0x8000) is None


def test_valid_mark_belongs_to_the_crc() -> None:
    assert layout.valid_mark(0x12345678) == (layout.MARK, 0x12345678, 0xEDCBA987, layout.MARK)
    assert not _header(crc=5).valid
    data = _header(crc=5).pack()
    marked = data[: layout.MARK_OFFSET] + struct.pack("<4I", *layout.valid_mark(5)) + data[layout.MARK_OFFSET + 16 :]
    assert ImageHeader.unpack(marked).valid


def test_specification_lists_the_fields() -> None:
    root = Path(__file__).parents[2]
    header = (root / "bootloader" / "src" / "hf_image.h").read_text()
    body = header[header.index("struct hf_image_header {") :]
    fields = re.findall(r"^    .* (\w+)(?:\[\w+\])?; +/\* +(\d+) ", body, re.MULTILINE)
    page = (root / "docs" / "SPEC.md").read_text()
    section = page[page.index("## Image header") : page.index("## Services")]
    listed = re.findall(r"^\| (\d+) \| [^|]+ \| `(\w+)` \|", section, re.MULTILINE)
    assert [(name, offset) for offset, name in listed] == fields
    assert len(fields) > 15
