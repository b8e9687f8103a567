"""A sample of the long run (tests/link/all_objects.py): the toolchain's own objects and the corpus, against GNU ld."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from hotflash.elf.object import ObjectFile
from hotflash.link import reloc
from tests.link.all_objects import compare
from tests.link.archives import MULTILIBS, NAMES, archive, members
from tests.link.differential import Figures
from tests.link.matrix import EMITTED, builds

SEED = os.environ.get("HOTFLASH_TEST_SEED") or str(random.randrange(1 << 32))
"""Drawn anew for every run; a failure names it."""

MEMBERS, BUILDS = 200, 60


@pytest.mark.parametrize("multilib", MULTILIBS)
def test_library_members_are_linked_as_by_gnu_ld(multilib: str, tmp_path: Path) -> None:
    draw = random.Random(f"{SEED}/{multilib}")
    everything = [(name, member) for name in NAMES for member in members(archive(multilib, name))]
    figures = Figures()
    for number, (name, (member, data)) in draw.sample(list(enumerate(everything)), MEMBERS):
        if data[:4] != b"\x7fELF":
            continue
        obj = ObjectFile.parse(data, f"{multilib}/{name}({member}) [{number}], HOTFLASH_TEST_SEED={SEED}")
        compare(obj, f"{SEED}/{multilib}/{name}/{number}", tmp_path, figures)
    assert figures.objects > MEMBERS // 2
    assert figures.relocations.total() > MEMBERS
    assert figures.veneers > 0


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_output_is_linked_as_by_gnu_ld(compiler: str, tmp_path: Path) -> None:
    draw = random.Random(f"{SEED}/{compiler}")
    figures = Figures()
    for build in draw.sample([b for b in builds() if b.compiler == compiler], BUILDS):
        obj = build.compile(tmp_path)
        compare(obj, f"{SEED}/{build}", tmp_path, figures)
        kinds = {reloc.name_of(k) for s in obj.sections if s.alloc for _, k, _, _ in obj.relocations(s.index)}
        assert kinds <= EMITTED, f"{build}: {sorted(kinds - EMITTED)}"
    assert figures.objects == BUILDS
    assert figures.veneers > 0
