"""Refused with one clear error, the documented exit code, and an unchanged device."""

from __future__ import annotations

import fcntl
import os
import random
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.observe import turns
from tests.system.project import Project


@pytest.fixture(scope="module")
def edited_dut(board_dut: Any, built: Project, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With an edit that is live, and that a refused push must leave alone."""
    project = Project(tmp_path_factory.mktemp("edited"), built.board)
    project.edit("work.c", ("return value(x + 1);", "return value(x + 40);"))
    board_dut.push(project.compile("work.c"))
    return board_dut


@pytest.fixture
def dut(edited_dut: Any) -> Iterator[Any]:
    """The running board; whatever the test tried, nothing may have changed and the loop goes on."""
    board_dut = edited_dut
    before = board_dut.session.device.live()
    yield board_dut
    after = board_dut.session.device.live()
    assert after.slots == before.slots
    assert after.hooks == before.hooks
    assert after.hello.generation == before.hello.generation
    assert after.hello.heap_free == before.hello.heap_free
    now = turns(board_dut, 1)
    assert (now["direct"], now["tail"]) == (2, 42)


def refused(dut: Any, *arguments: str, code: int = 5) -> str:
    done = dut.run(*arguments)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    return str(done.stderr)


def compile_as(
    project: Project, *flags: str, source: str = "int value(int x);\nint value(int x) { return x + 5; }\n"
) -> Path:
    (project.folder / "other.c").write_text(source, encoding="utf-8")
    return project.compile("other.c", flags=[*flags, "-ffunction-sections", "-fpatchable-function-entry=4"])


def test_another_core(dut: Any, project: Project) -> None:
    text = refused(dut, "push", str(compile_as(project, "-mcpu=cortex-m33", "-mthumb")))
    assert "other.o" in text


def test_arm_mode(dut: Any, project: Project) -> None:
    assert "other.o" in refused(dut, "push", str(compile_as(project, "-mcpu=cortex-a9", "-marm")))


def test_another_float_abi(dut: Any, project: Project) -> None:
    source = "float value(float x);\nfloat value(float x) { return x + 5; }\n"
    flags = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
    text = refused(dut, "push", str(compile_as(project, *flags, source=source)))
    assert "float" in text


def test_an_object_of_the_host(dut: Any, tmp_path: Path) -> None:
    (tmp_path / "host.c").write_text("int value(int x) { return x; }\n")
    subprocess.run(["gcc", "-c", "host.c", "-o", "host.o"], cwd=tmp_path, check=True)
    assert "host.o" in refused(dut, "push", str(tmp_path / "host.o"))


def test_not_an_elf(dut: Any, tmp_path: Path) -> None:
    for name, data in (("empty.o", b""), ("text.o", b"int value(int x);\n"), ("magic.o", b"\x7fELF")):
        (tmp_path / name).write_bytes(data)
        assert name in refused(dut, "push", str(tmp_path / name))


def test_a_file_that_is_not_there(dut: Any, tmp_path: Path) -> None:
    assert "gone.o" in refused(dut, "push", str(tmp_path / "gone.o"), code=2)


def test_truncated_at_many_lengths(dut: Any, project: Project, tmp_path: Path) -> None:
    project.edit("work.c", ("return x + 1;\n", "return x + 7;\n"))
    whole = project.compile("work.c").read_bytes()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    lengths = random.Random(seed).sample(range(16, len(whole) - 1), 6)
    for length in lengths:
        (tmp_path / "cut.o").write_bytes(whole[:length])
        refused(dut, "push", str(tmp_path / "cut.o"))


@pytest.mark.parametrize("field", ["section offset", "section size", "relocation offset", "symbol index"])
def test_hostile_offsets(dut: Any, project: Project, tmp_path: Path, field: str) -> None:
    project.edit("work.c", ("return value(x + 1);", "return value(x + 7);"))
    data = bytearray(project.compile("work.c").read_bytes())
    table, entry, count = struct.unpack_from("<I", data, 32)[0], 40, struct.unpack_from("<H", data, 48)[0]
    names_at = struct.unpack_from("<I", data, table + entry * struct.unpack_from("<H", data, 50)[0] + 16)[0]
    hit = False
    for index in range(count):
        at = table + entry * index
        name_offset, kind, _flags, _addr, offset, _size = struct.unpack_from("<6I", data, at)
        name = bytes(data[names_at + name_offset : data.index(0, names_at + name_offset)])
        if field == "section offset" and name == b".text.tail":
            struct.pack_into("<I", data, at + 16, 0xFFFFFFF0)
        elif field == "section size" and name == b".text.tail":
            struct.pack_into("<I", data, at + 20, 0x7FFFFFFF)
        elif field == "relocation offset" and name == b".rel.text.tail":
            assert kind == 9
            struct.pack_into("<I", data, offset, 0xFFFFFFFE)
        elif field == "symbol index" and name == b".rel.text.tail":
            info = struct.unpack_from("<I", data, offset + 4)[0]
            struct.pack_into("<I", data, offset + 4, 0xFFFFFF00 | (info & 0xFF))
        else:
            continue
        hit = True
    assert hit
    (tmp_path / "hostile.o").write_bytes(data)
    assert "hostile.o" in refused(dut, "push", str(tmp_path / "hostile.o"))


def test_undefined_symbol_says_who_asks_and_what_is_spelt_like_it(dut: Any, project: Project) -> None:
    project.edit("work.c", ("    counter++;\n", "    extern int countr;\n    countr++;\n"))
    text = refused(dut, "push", str(project.compile("work.c")))
    assert "countr" in text
    assert "state_step" in text
    assert "counter" in text


def test_a_relocation_kind_that_is_not_handled(dut: Any, project: Project) -> None:
    """Position-independent code goes through a table of addresses, which firmware does not have."""
    source = "extern int counter;\nint value(int x);\nint value(int x) { return x + counter; }\n"
    text = refused(dut, "push", str(compile_as(project, *dut.board.cflags, "-fpic", source=source)))
    assert re.search(r"R_ARM_(GOT|BASE)\w+", text), text
    assert "other.o" in text


def test_no_patch_point_names_function_and_flag(dut: Any, project: Project) -> None:
    firmware = dut.session.firmware
    bare = next(f for f in firmware.functions if f.nops == 0 and f.size > 8 and not f.name.startswith(("$", "__")))
    source = f"int {bare.name}(int x);\nint {bare.name}(int x) {{ return x + 77; }}\n"
    flags = dut.board.cflags
    text = refused(dut, "push", str(compile_as(project, *flags, "-fno-builtin", source=source)))
    assert bare.name in text
    assert "-fpatchable-function-entry" in text


def test_another_build(dut: Any, project: Project) -> None:
    project.edit("work.c", ("int counter = 1000;", "int counter = 1001;"))
    elf = project.link()
    text = refused(dut, "push", "--elf", str(elf), str(project.folder / "build" / "work.o"))
    assert dut.session.firmware.build_id.hex()[:8] in text


def test_does_not_fit_lists_what_fills_the_heap(dut: Any, project: Project) -> None:
    size = dut.session.device.hello.heap_size
    project.edit(
        "work.c",
        (
            "return x + 1;\n",
            f"static const unsigned char big[{size}] = {{ [5] = 3, [77] = 9 }};\n    return big[x & 0xffff];\n",
        ),
    )
    text = refused(dut, "push", str(project.compile("work.c")))
    assert "code heap" in text
    assert "tail" in text, "what fills the heap is not listed"


def test_addresses_that_are_not_mapped(dut: Any) -> None:
    assert "0x70000000" in refused(dut, "read", "0x70000000", "--peripheral")
    assert "0x70000000" in refused(dut, "write", "0x70000000", "1", "--peripheral")
    refused(dut, "read", "0x40004000", "--peripheral")  # the monitor's own UART


def test_names_that_are_not_there(dut: Any) -> None:
    assert "counter" in refused(dut, "read", "countr", code=2)
    assert "turns" in refused(dut, "read", "seen.turn", code=2)
    assert "many" in refused(dut, "write", "seen.turns", "many", code=2)
    assert str(1 << 40) in refused(dut, "write", "counter", str(1 << 40), code=2)


def test_ports(dut: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"socket://127.0.0.1:{free.getsockname()[1]}"
    assert "nothing listens" in refused(dut, "--port", url, "status", code=3)
    assert "no such port" in refused(dut, "--port", "/dev/ttyNOTHERE9", "status", code=3)
    assert "not a serial port" in refused(dut, "--port", "/dev/null", "status", code=3)


def test_a_silent_port_and_a_busy_one(dut: Any) -> None:
    master, slave = os.openpty()
    try:
        name = os.ttyname(slave)
        assert "nothing answers" in refused(dut, "--port", name, "--connect-timeout", "0.2", "status", code=3)
        fcntl.flock(slave, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as other terminal programs do
        assert "in use by another program" in refused(dut, "--port", name, "status", code=3)
    finally:
        os.close(master)
        os.close(slave)


def test_a_peer_that_is_something_else(dut: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    try:
                        while peer.recv(4096):
                            peer.sendall(b"login: incorrect\r\n\0U-Boot> \0")
                    except OSError:
                        continue

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        refused(dut, "--port", url, "--connect-timeout", "0.5", "status", code=4)
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not thread.is_alive()
