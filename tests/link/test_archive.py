"""Reading archives: what the toolchain ships, what ``ar`` can be told to write, and damage."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from hotflash.elf.archive import Archive
from hotflash.errors import ElfError, HotflashError, UsageError
from tests.link.toolchain import PLAIN, Workshop, run

LONG = "a_member_whose_name_does_not_fit_sixteen_bytes"


def toolchain(name: str, *flags: str) -> Path:
    return Path(run("arm-none-eabi-gcc", "-mthumb", "-march=armv7e-m", *flags, f"-print-file-name={name}").strip())


def members(shop: Workshop) -> list[Path]:
    """Objects with short, long and twice used names, of odd and even sizes."""
    found = []
    for number, name in enumerate(("a", LONG, "a")):
        obj = shop.compile(f"int f{number}(void) {{ return {number}; }}", f"{name}.c", PLAIN)
        found.append(Path(obj.name))
    found[0].write_bytes(found[0].read_bytes() + b"\0" * (1 + found[0].stat().st_size % 2))
    return found


def archive(shop: Workshop, operation: str, *paths: Path, tool: str = "arm-none-eabi-ar") -> Path:
    target = shop.path(".a")
    run(tool, operation, target, *paths)
    return target


@pytest.mark.parametrize("name", ["libgcc.a", "libc_nano.a", "libm.a"])
def test_the_toolchains_archives(name: str) -> None:
    path = toolchain(name)
    read = Archive.open(path)
    assert [m.name for m in read] == run("arm-none-eabi-ar", "t", path).split()
    index = re.findall(r"^(\S+) in (\S+)$", run("arm-none-eabi-nm", "-s", path), re.MULTILINE)
    expected: dict[str, str] = {}
    for symbol, member in index:
        expected.setdefault(symbol, member)
    assert len(expected) > 100
    assert {s: m.name for s in read.symbols if (m := read.defining(s))} == expected
    sample = random.Random(1).sample(sorted(expected), 20)
    for symbol in sample:
        member = read.defining(symbol)
        assert member is not None
        done = subprocess.run(["arm-none-eabi-ar", "p", path, member.name], capture_output=True, check=True)
        assert done.stdout.startswith(read.read(member))  # `ar p` prints all members of that name
    assert read.defining("no_such_symbol") is None


@pytest.mark.parametrize("operation", ["rcs", "rcS", "rcsT"])
def test_kinds_of_archives(shop: Workshop, operation: str) -> None:
    """With an index, without one, and thin."""
    paths = members(shop)
    read = Archive.open(archive(shop, operation, *paths))
    assert read.thin == operation.endswith("T")
    assert [m.name.rpartition("/")[2] for m in read] == [p.name for p in paths]
    assert [read.read(m) for m in read] == [p.read_bytes() for p in paths]
    for number, path in enumerate(paths):
        member = read.defining(f"f{number}")
        assert member is not None
        assert read.read(member) == path.read_bytes()
    assert set(read.symbols) == {"f0", "f1", "f2"}


def test_a_bsd_archive(shop: Workshop) -> None:
    """Long names in front of the content, as BSD and Apple tools write them."""
    path = members(shop)[1]
    name, content = path.name.encode() + b"\0\0", path.read_bytes()
    header = f"#1/{len(name)}".ljust(16) + "0".ljust(12) + "0".ljust(6) * 2 + "644".ljust(8)
    target = shop.path(".a")
    target.write_bytes(b"!<arch>\n" + (header + str(len(name) + len(content)).ljust(10)).encode() + b"`\n"
                       + name + content)  # fmt: skip
    read = Archive.open(target)
    assert [m.name for m in read] == [path.name]
    member = read.defining("f1")
    assert member is not None
    assert read.read(member) == content


def test_empty_missing_and_foreign_files(shop: Workshop, tmp_path: Path) -> None:
    empty = archive(shop, "rcs")
    assert list(Archive.open(empty)) == []
    assert Archive.open(empty).symbols == {}
    with pytest.raises(UsageError, match="cannot read"):
        Archive.open(tmp_path / "none.a")
    (tmp_path / "nothing.a").write_bytes(b"")
    with pytest.raises(ElfError, match="not an archive"):
        Archive.open(tmp_path / "nothing.a")
    with pytest.raises(ElfError, match="not an archive"):
        Archive.open(members(shop)[0])


def test_a_thin_archives_member_that_is_gone(shop: Workshop) -> None:
    paths = members(shop)
    read = Archive.open(archive(shop, "rcsT", *paths))
    paths[1].unlink()
    member = read.defining("f1")
    assert member is not None
    with pytest.raises(UsageError, match=f"cannot read .*{LONG}.*thin archive"):
        read.read(member)


def test_damage_is_named(shop: Workshop) -> None:
    """Cut short anywhere or with bytes changed: read as far as it goes, or one error of ours."""
    data = archive(shop, "rcs", *members(shop)).read_bytes()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    messages: list[str] = []
    for _ in range(400):
        damaged = bytearray(data[: chance.randrange(8, len(data))] if chance.random() < 0.5 else data)
        for _ in range(chance.randrange(1, 4)):
            at = chance.choice([chance.randrange(min(len(damaged), 400)), chance.randrange(len(damaged))])
            damaged[at] = chance.randrange(256)
        try:
            read = Archive(Path("damaged.a"), bytes(damaged))
            for member in read:
                read.read(member)
            for symbol in read.symbols:
                read.defining(symbol)
        except HotflashError as error:
            messages.append(error.message)
    assert len(messages) > 100
    assert all("damaged.a" in message for message in messages)
