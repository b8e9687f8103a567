"""Images built from really linked applications: layout, jumps, vectors, header, and every refusal."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from intelhex import IntelHex

from hotflash import sdk
from hotflash.board import Board, Region
from hotflash.elf.firmware import Firmware
from hotflash.errors import ElfError, FitError, RefusedError, UsageError
from hotflash.image import builder, hexfile, sites
from hotflash.image import header as layout
from hotflash.image.builder import Image
from hotflash.wire.crc import crc32
from tests.unit.hotapp import BOARD, SCRIPT, STARTUP, application, compile_c, link, run

SOURCE = """
volatile unsigned counter = 0x11223344;
static const char greeting[] = "hello";
int work(int x) { return x + greeting[x & 3]; }
int twin(int x) __attribute__((alias("work")));
void __attribute__((weak)) UART_Handler(void) {}
int main(void) { for (;;) counter += work(1) + twin(2); }
"""
SERVICES = 0x400


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return application(tmp_path_factory.mktemp("app"), SOURCE)


@pytest.fixture(scope="module")
def image(firmware: Firmware) -> Image:
    return builder.build(firmware, BOARD)


def _with_region(board: Board, name: str, **changes: int) -> Board:
    regions = dict(board.regions)
    region = regions[name]
    regions[name] = Region(
        name, region.attributes, changes.get("origin", region.origin), changes.get("length", region.length)
    )
    return replace(board, regions=MappingProxyType(regions))


def test_everything_else_is_as_objcopy_lays_it_out(firmware: Firmware, image: Image, tmp_path: Path) -> None:
    plain = tmp_path / "plain.bin"
    run("arm-none-eabi-objcopy", "-O", "binary", "--gap-fill", "0xff", firmware.path, plain)
    expected = bytearray(plain.read_bytes())
    found = bytearray(image.data)
    header = image.header.self_address - image.base
    changed = [(header, layout.SIZE)]
    changed += [(site.address - image.base, 2 * site.nops) for site in firmware.sites]
    changed += [(4 * index, 4) for index, _ in image.header.vectors]
    for at, size in changed:
        expected[at : at + size] = found[at : at + size] = bytes(size)
    end = len(expected)
    assert found[:end] == expected
    values = image.header.hook_init - image.base
    assert set(found[end:values]) <= {0xFF}
    assert values - end < 4
    assert len(found) == values + 4 * image.header.hook_count


def test_jumps_go_through_the_own_hook_and_disassemble(firmware: Firmware, image: Image, tmp_path: Path) -> None:
    (tmp_path / "image.bin").write_bytes(image.data)
    names = {alias.name for site in firmware.sites for alias in site.aliases}
    assert names == {"main", "work", "twin", "UART_Handler", "Reset_Handler", "HardFault_Handler"}
    assert len(firmware.sites) == 5
    for site in firmware.sites:
        at = site.address - image.base
        jump = sites.decode_jump(image.data[at : at + 12])
        assert jump == (image.header.hook_base + 4 * site.hook, 4)
        listing = run(
            *("arm-none-eabi-objdump", "-D", "-b", "binary", "-marm", "-Mforce-thumb"),
            f"--adjust-vma={image.base:#x}",
            f"--start-address={site.address:#x}",
            f"--stop-address={site.address + 8:#x}",
            tmp_path / "image.bin",
        )
        assert re.search(r"mov\.w\s+ip, #536870912", listing)
        offset = f", #{4 * site.hook}" if site.hook else ""
        assert re.search(rf"ldr\.w\s+pc, \[ip{offset}\]", listing)


def test_initial_hooks_lead_behind_the_nops(firmware: Firmware, image: Image) -> None:
    at = image.header.hook_init - image.base
    values = struct.unpack_from(f"<{image.header.hook_count}I", image.data, at)
    assert list(values) == [site.address + 8 + 1 for site in firmware.sites]


def test_vectors_are_merged_and_remembered(firmware: Firmware, image: Image) -> None:
    entries = {2: 100, 3: 64, 4: 68, 5: 72, 6: 76, 16: 80, 17: 84, 25: 96, 47: 88}
    table = struct.unpack_from("<48I", image.data)
    original = struct.unpack("<48I", firmware.read(0x8000, 192))
    for index, (value, before) in enumerate(zip(table, original, strict=True)):
        assert value == (SERVICES + entries[index] | 1 if index in entries else before), index
    assert dict(image.header.vectors) == {index: original[index] for index in entries}
    fault = firmware.symbol("HardFault_Handler")
    assert fault is not None
    assert dict(image.header.vectors)[3] == fault.value


def test_one_interrupt_for_both_directions_gets_the_receive_entry(firmware: Firmware) -> None:
    image = builder.build(firmware, replace(BOARD, rx_irq=5, tx_irq=5, soft_irq=9, tick_irq=None, watchdog="reset"))
    table = struct.unpack_from("<48I", image.data)
    assert table[21] == SERVICES + 80 | 1
    assert table[25] == SERVICES + 88 | 1
    assert {index for index, _ in image.header.vectors} == {3, 4, 5, 6, 21, 25}


def test_armv6m_has_hardfault_alone(firmware: Firmware) -> None:
    image = builder.build(firmware, replace(BOARD, arch="armv6m", tick_irq=None, watchdog="none"))
    assert {index for index, _ in image.header.vectors} == {3, 16, 17, 47}


def test_header_is_complete_and_the_mark_erased(firmware: Firmware, image: Image) -> None:
    offset = layout.find(image.data, image.base)
    assert offset == image.mark_offset - layout.MARK_OFFSET
    header = layout.ImageHeader.unpack(image.data[offset : offset + layout.SIZE])
    assert header == image.header
    assert header.flags == layout.FLAG_HOT
    assert header.length == len(image.data)
    assert header.build_id == image.build_id == firmware.build_id
    assert header.hook_count == len(firmware.sites)
    assert image.data[image.mark_offset : image.mark_offset + 16] == b"\xff" * 16
    blank = bytearray(image.data)
    blank[offset + 24 : offset + 28] = b"\xff" * 4
    assert image.crc == header.crc == crc32(blank)
    assert builder.check(image.data, image.base) == header
    marked = builder.check(image.marked, image.base)  # the mark is not part of the CRC
    assert marked.valid
    assert not header.valid


def test_check_finds_a_flipped_bit(image: Image) -> None:
    damaged = bytearray(image.data)
    damaged[-1] ^= 1
    with pytest.raises(RefusedError, match="CRC"):
        builder.check(bytes(damaged), image.base)
    with pytest.raises(RefusedError, match="no image header"):
        builder.check(image.data[:64], image.base)
    with pytest.raises(RefusedError, match="covers"):
        builder.check(image.data[:-4], image.base)


def test_plain_image_is_not_hot(firmware: Firmware) -> None:
    with pytest.raises(RefusedError, match="PLAIN"):
        builder.check(firmware.read(0x8000, 0x1000), 0x8000)


def test_end_of_the_stack(tmp_path: Path) -> None:
    """It is laid down from a symbol of the link, and must be in RAM."""
    objects = [compile_c(tmp_path, "app.c", SOURCE), compile_c(tmp_path, "startup.c", STARTUP)]
    for limit, said in ((0x200BF000, True), (0x20040000, False)):
        flags = [*sdk.ldflags(BOARD), f"-Wl,--defsym=__hf_stack_limit={limit:#x}"]
        firmware = Firmware.load(link(tmp_path, objects, ldflags=flags))
        assert firmware.header.stack_limit == limit
        if said:
            assert builder.build(firmware, BOARD).header.stack_limit == limit
        else:
            with pytest.raises(ElfError, match=r"its main stack ends at 0x20040000, which is not in HF_RAM"):
                builder.build(firmware, BOARD)


def test_six_nops(tmp_path: Path) -> None:
    flags = sdk.cflags(BOARD, nops=6)
    objects = [
        compile_c(tmp_path, "app.c", SOURCE, *flags),
        compile_c(tmp_path, "startup.c", STARTUP, *flags),
    ]
    firmware = Firmware.load(link(tmp_path, objects, ldflags=sdk.ldflags(BOARD, nops=6)))
    image = builder.build(firmware, BOARD)
    for site in firmware.sites:
        at = site.address - image.base
        assert sites.decode_jump(image.data[at : at + 12]) == (0x20000000 + 4 * site.hook, 6)
    (first,) = struct.unpack_from("<I", image.data, image.header.hook_init - image.base)
    assert first == firmware.sites[0].address + 12 + 1


def test_a_table_with_a_gap_fills_it_with_the_spare_trap(tmp_path: Path) -> None:
    source = "int main(void) { return 0; }\n" + "\n".join(f"int f{n}(void) {{ return {n}; }}" for n in range(1030))
    objects = [compile_c(tmp_path, "app.c", source, "-g0"), compile_c(tmp_path, "startup.c", STARTUP)]
    with pytest.raises(FitError, match=r"1033 patch points need .* 2057 entries") as error:
        builder.build(Firmware.load(link(tmp_path, objects)), BOARD)
    assert error.value.hint is not None
    capacity = re.search(r"-Wl,--defsym=__hf_hook_capacity=(\d+)", error.value.hint)
    assert capacity is not None
    firmware = Firmware.load(link(tmp_path, objects, ldflags=sdk.ldflags(BOARD, hooks=int(capacity[1]))))
    image = builder.build(firmware, BOARD)
    assert image.header.hook_count == 2057
    values = struct.unpack_from("<2057I", image.data, image.header.hook_init - image.base)
    assert set(values[1024:2048]) == {SERVICES + 92 | 1}
    assert [values[site.hook] for site in firmware.sites] == [site.address + 9 for site in firmware.sites]
    last = firmware.sites[-1]
    at = last.address - image.base
    assert sites.decode_jump(image.data[at : at + 8]) == (0x20000000 + 4 * 2056, 4)


def test_more_patch_points_than_four_nops_reach(tmp_path: Path) -> None:
    source = "int main(void) { return 0; }\n" + "\n".join(f"int f{n}(void) {{ return {n}; }}" for n in range(2100))
    objects = [compile_c(tmp_path, "app.c", source, "-g0"), compile_c(tmp_path, "startup.c", STARTUP)]
    firmware = Firmware.load(link(tmp_path, objects, ldflags=sdk.ldflags(BOARD, hooks=8192)))
    with pytest.raises(FitError, match="2103 patch points") as error:
        builder.build(firmware, BOARD)
    assert "-fpatchable-function-entry=6" in str(error.value.hint)


def test_no_patch_point(tmp_path: Path) -> None:
    startup = compile_c(tmp_path, "startup.c", STARTUP, hot=False)
    elf = link(tmp_path, [compile_c(tmp_path, "app.c", SOURCE, hot=False), startup])
    with pytest.raises(ElfError, match="no patch point") as error:
        builder.build(Firmware.load(elf), BOARD)
    assert "-fpatchable-function-entry=4" in str(error.value.hint)


def test_no_header(tmp_path: Path) -> None:
    objects = [compile_c(tmp_path, "app.c", SOURCE), compile_c(tmp_path, "startup.c", STARTUP)]
    elf = link(
        tmp_path,
        objects,
        script=SCRIPT.replace("INCLUDE hotflash.ld", ""),
        ldflags=["-Wl,--build-id=sha1", f"-L{BOARD.path}"],
    )
    with pytest.raises(ElfError, match="no hotflash image header") as error:
        Firmware.load(elf)
    assert "INCLUDE hotflash.ld" in str(error.value.hint)


def test_another_boards_memory(firmware: Firmware) -> None:
    for name in ("HF_APP", "HF_HOOKS", "HF_RAM"):
        board = _with_region(BOARD, name, origin=BOARD.regions[name].origin + 0x4000)
        with pytest.raises(ElfError, match="linked for another board"):
            builder.build(firmware, board)


def test_image_larger_than_flash(firmware: Firmware, image: Image) -> None:
    with pytest.raises(FitError, match=f"{len(image.data)} bytes"):
        builder.build(firmware, _with_region(BOARD, "HF_APP", length=len(image.data) - 4))


def test_section_outside_of_flash(firmware: Firmware) -> None:
    with pytest.raises(ElfError, match=r"section \.\w+ .* outside of HF_APP"):
        builder.build(firmware, _with_region(BOARD, "HF_APP", length=0x180))


def test_section_in_memory_of_the_monitor(tmp_path: Path) -> None:
    script = SCRIPT.replace(".bss (NOLOAD) :", ".bss 0x20010000 (NOLOAD) :").replace("(COMMON) } > RAM", "(COMMON) }")
    objects = [
        compile_c(tmp_path, "app.c", SOURCE + "int zeros[4];"),
        compile_c(tmp_path, "startup.c", STARTUP),
    ]
    with pytest.raises(ElfError, match=r"section \.bss .* placed at 0x20010000, outside of HF_APP .* HF_RAM"):
        builder.build(Firmware.load(link(tmp_path, objects, script=script)), BOARD)


def test_data_loaded_from_ram(tmp_path: Path) -> None:
    objects = [compile_c(tmp_path, "app.c", SOURCE), compile_c(tmp_path, "startup.c", STARTUP)]
    elf = link(tmp_path, objects, script=SCRIPT.replace("RAM AT> FLASH", "RAM"))
    with pytest.raises(ElfError, match=r"section \.data .* loaded from 0x2008\w+, outside of HF_APP"):
        builder.build(Firmware.load(elf), BOARD)


def test_function_in_ram_cannot_be_hot(tmp_path: Path) -> None:
    source = SOURCE + '__attribute__((section(".data.fast"))) int fast(void) { return 1; }'
    with pytest.raises(ElfError, match=r"patch point of fast .* outside of the code in flash"):
        builder.build(application(tmp_path, source), BOARD)


def test_patch_points_that_overlap(tmp_path: Path) -> None:
    nops = r"nop\n nop\n"
    source = SOURCE + (
        r'__asm__(".text\n .thumb\n .syntax unified\n .global one, two\n .type one, %function\n .type two, %function\n'
        rf'one: {nops} two: {nops} {nops} bx lr\n .size one, 14\n .size two, 10");'
    )
    with pytest.raises(ElfError, match=r"patch point of two at 0x\w+ overlaps that of one at"):
        builder.build(application(tmp_path, source), BOARD)


def test_vector_table_too_short(tmp_path: Path) -> None:
    objects = [compile_c(tmp_path, "app.c", SOURCE), compile_c(tmp_path, "startup.c", STARTUP)]
    flags = [flag for flag in sdk.ldflags(BOARD) if "__hf_vectors" not in flag]
    elf = link(tmp_path, objects, "-Wl,--defsym=__hf_vectors=40", ldflags=flags)
    with pytest.raises(ElfError, match=r"has 40 words, .* need 48") as error:
        builder.build(Firmware.load(elf), BOARD)
    assert "__hf_vectors=48" in str(error.value.hint)
    assert "hotflash.ld" in str(error.value.hint)


def test_header_too_far_from_the_vectors(tmp_path: Path) -> None:
    board = replace(BOARD, vectors=480)
    objects = [compile_c(tmp_path, "app.c", SOURCE), compile_c(tmp_path, "startup.c", STARTUP)]
    elf = link(tmp_path, objects, ldflags=sdk.ldflags(board))
    assert builder.build(Firmware.load(elf), board).header.vector_count == 480
    header = replace(Firmware.load(elf).header, self_address=0x8000 + layout.REACH)
    moved = Firmware.load(elf)
    moved.header = header
    with pytest.raises(ElfError, match="the image header is at 0x00008800"):
        builder.build(moved, board)


def test_finished_images_are_not_built_again(firmware: Firmware, image: Image) -> None:
    again = Firmware.load(firmware.path)
    again.header = image.header
    with pytest.raises(ElfError, match="finished image"):
        builder.build(again, BOARD)


# -------------------------------------------------------------------------------------------- export


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boot")
    (folder / "boot.c").write_text(
        '__attribute__((section(".vectors"), used)) const unsigned v[4] = {1, 2, 3, 4};\nvoid _start(void) {}\n'
    )
    flags = ["-nostdlib", "-Wl,--section-start=.vectors=0", "-Wl,-Ttext=0x100"]
    run("arm-none-eabi-gcc", *BOARD.cflags, *flags, "boot.c", "-o", "boot.elf", cwd=folder)
    return folder / "boot.elf"


@pytest.mark.parametrize("name", ["out.hex", "out.ihex", "out.bin"])
def test_export_has_the_mark(image: Image, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    assert hexfile.export(image, BOARD, output) == len(image.data)
    if name.endswith("bin"):
        data = output.read_bytes()
    else:
        content = IntelHex(str(output))
        assert content.minaddr() == image.base
        data = content.tobinstr()
    assert data == image.marked
    assert builder.check(data, image.base).valid


def test_export_with_bootloader(image: Image, boot: Path, tmp_path: Path) -> None:
    hexfile.export(image, BOARD, tmp_path / "all.hex", with_bootloader=boot)
    content = IntelHex(str(tmp_path / "all.hex"))
    content.padding = 0xFF
    assert content.tobinstr(start=0, size=16) == struct.pack("<4I", 1, 2, 3, 4)
    assert content.tobinstr(start=image.base, size=len(image.data)) == image.marked
    assert content.tobinstr(start=0x7000, size=16) == b"\xff" * 16
    hexfile.export(image, BOARD, tmp_path / "all.bin", with_bootloader=boot)
    data = (tmp_path / "all.bin").read_bytes()
    assert data == content.tobinstr(start=0, end=image.base + len(image.data) - 1)
    raw = tmp_path / "boot.bin"
    raw.write_bytes(data[:0x200])
    hexfile.export(image, BOARD, tmp_path / "raw.bin", with_bootloader=raw)
    assert (tmp_path / "raw.bin").read_bytes()[:0x200] == data[:0x200]


def test_objcopy_reads_the_hex(image: Image, tmp_path: Path) -> None:
    hexfile.export(image, BOARD, tmp_path / "app.hex")
    run("arm-none-eabi-objcopy", "-I", "ihex", "-O", "binary", "app.hex", "app.bin", cwd=tmp_path)
    assert (tmp_path / "app.bin").read_bytes() == image.marked


def test_export_refuses(image: Image, firmware: Firmware, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\*\.hex|ending|format"):
        hexfile.export(image, BOARD, tmp_path / "app")
    with pytest.raises(UsageError, match="'elf'"):
        hexfile.export(image, BOARD, tmp_path / "app.elf")
    with pytest.raises(UsageError, match="cannot write"):
        hexfile.export(image, BOARD, tmp_path / "missing" / "app.hex")
    with pytest.raises(FitError, match="outside of HF_BOOT"):  # an application instead of a bootloader
        hexfile.export(image, BOARD, tmp_path / "app.hex", with_bootloader=firmware.path)
    with pytest.raises(UsageError, match="cannot read"):
        hexfile.export(image, BOARD, tmp_path / "app.hex", with_bootloader=tmp_path / "none.elf")
    (tmp_path / "empty.bin").write_bytes(b"")
    with pytest.raises(ElfError, match="nothing to program"):
        hexfile.export(image, BOARD, tmp_path / "app.hex", with_bootloader=tmp_path / "empty.bin")
    (tmp_path / "cut.elf").write_bytes(firmware.path.read_bytes()[:100])
    with pytest.raises(ElfError):
        hexfile.export(image, BOARD, tmp_path / "app.hex", with_bootloader=tmp_path / "cut.elf")
