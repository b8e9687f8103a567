"""The fuzzer that is guided by coverage; ``make fuzz`` is the long run."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hotflash.errors import ElfError
from tests.hostile import guided
from tests.hostile.fuzz import SHARES, Readers, Target
from tests.hostile.guided import Guided, figures, tagged, untagged
from tests.hostile.mutate import SHT_GROUP, Elf, Patch, mutate_bytes


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Readers:
    return Readers(tmp_path_factory.mktemp("readers"))


@pytest.mark.parametrize("kind", guided.KINDS)
def test_mutations_of_mutations(readers: Readers, tmp_path: Path, kind: str) -> None:
    """The fuzzer's seeds are damaged already: whatever they are, there is another input of that kind and size."""
    fuzzer = Guided(readers, tmp_path)
    for _, seed in readers.targets[kind].seeds:
        data, longest, made = tagged(kind, seed), len(seed) + 500, set()
        for number in range(300):
            before, data = data, fuzzer.mutate(data, longest, number)
            assert data == fuzzer.mutate(before, longest, number)
            assert len(data) <= longest
            assert untagged(data)[0] == kind
            made.add(data)
            if len(data) < 100:
                data = tagged(kind, seed)
        assert len(made) > 150


def test_mutations_of_a_group_without_members(readers: Readers) -> None:
    data = bytearray(dict(readers.targets["object"].seeds)["C++"])
    for section in Elf(bytes(data)).sections:
        if section.kind == SHT_GROUP:
            struct.pack_into("<I", data, section.header + 20, 3)
    mutated = Elf(bytes(data))
    assert any(section.kind == SHT_GROUP and section.size == 3 for section in mutated.filled)
    made = [mutated.mutate(random.Random(number)) for number in range(500)]
    assert sum(map(bool, made)) > 400


def _fragile(data: bytes) -> None:
    if data.startswith(b"bad"):
        raise ElfError("refused, as it should be")
    if b"\xff" in data:
        raise KeyError("in a way that is not allowed")


def test_what_fails_is_kept_once_and_reduced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    needed, other = Patch(4, b"\xff"), Patch(8, b"x")

    def mutate(_data: bytes, _draw: random.Random) -> list[Patch]:
        return [other, needed]

    target = Target(_fragile, mutate, [])
    fuzzer = Guided(cast(Readers, SimpleNamespace(targets={"object": target})), tmp_path / "kept")
    fuzzer.execute(b"")
    fuzzer.execute(tagged("object", b"bad\xff"))
    assert not (tmp_path / "kept").exists()
    for seed in (b"a" * 16, b"b" * 16):
        fuzzer.execute(fuzzer.mutate(tagged("object", seed), 100, 1))
    (path,) = (tmp_path / "kept").iterdir()
    assert path.read_bytes() == b"aaaa\xff" + b"a" * 11
    assert path.name.startswith("object-")
    fuzzer.execute(tagged("object", b"\xff"))
    assert fuzzer.runs == {"object": 4}
    assert capfd.readouterr().out.count("failed: ") == 1


def test_a_failure_of_the_fuzzers_own_mutation_is_kept_whole(tmp_path: Path) -> None:
    target = Target(_fragile, mutate_bytes, [])
    fuzzer = Guided(cast(Readers, SimpleNamespace(targets={"journal": target})), tmp_path)
    fuzzer.mutate(tagged("journal", b"abcdef"), 100, 1)
    fuzzer.execute(tagged("journal", b"xyz\xff"))
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"xyz\xff"


def test_figures() -> None:
    said = (
        "#161\tINITED cov: 2467 ft: 5285 corp: 86/139Kb exec/s: 80 rss: 53Mb\n"
        "#2900\tNEW    cov: 2550 ft: 6823 corp: 188/445Kb lim: 131072 exec/s: 68 rss: 82Mb L: 10/20 MS: 1 Custom-\n"
        "#3000\tDONE   cov: 2551 ft: 6824 corp: 189/445Kb lim: 131072 exec/s: 68 rss: 82Mb\nDone 3000 runs\n"
    )
    assert figures(said) == (3000, 189, 2551, 6824)
    with pytest.raises(ValueError, match="no figures"):
        figures("INFO: nothing\n")


def test_kinds_are_those_that_are_read(readers: Readers) -> None:
    assert set(guided.KINDS) == set(readers.targets) == set(SHARES)
    assert {kind for kind, _, _ in guided.corpus()} <= set(guided.KINDS)


def test_coverage_guides(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Readers and linker are instrumented, and inputs that reach more become seeds; see ``make fuzz``."""
    pytest.importorskip("atheris", reason="make fuzz installs it")
    start = guided.start(tmp_path / "start")
    code = guided.main([f"--count={len(start) + 600}", "--seed=7", f"--failures={tmp_path / 'failed'}"])
    said = capfd.readouterr().out
    assert code == 0, said
    runs, corpus, branches, _ = figures(said)
    assert runs == len(start) + 600
    first = figures(next(line for line in said.splitlines() if "INITED" in line))
    assert branches > first[2] > 1500, said
    assert corpus > first[1], said
