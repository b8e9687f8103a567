"""Each change of the table gets its verdict, whoever compiled the object and however.

The suite compiles each case as the firmware was, and in one other way, which the seed decides; ``HOTFLASH_TYPES=all``
(``make test-types-all``) in every way.
"""

from __future__ import annotations

import os
import random
from itertools import product

import pytest

from hotflash.types.verdict import Verdict
from tests.link.toolchain import Workshop
from tests.types.project import Build, Project
from tests.types.table import CASES, FILES, Case

LEVELS = ["-O0", "-Og", "-O2", "-Os"]
BUILDS = [
    Build(compiler, level, dwarf, more)
    for compiler, level, dwarf, more in product(
        ("gcc", "clang"), LEVELS, ("-gdwarf-4", "-gdwarf-5"), ((), ("-fdebug-types-section",))
    )
]
SEED = int(os.environ.get("HOTFLASH_SEED", "1"))
ALL = os.environ.get("HOTFLASH_TYPES") == "all"


@pytest.fixture(scope="session")
def project(shop: Workshop) -> Project:
    return Project(shop, FILES)


def verdict_of(said: Verdict) -> str:
    refusal = said.refusal
    if refusal is None:
        return "safe" if said.safe else "ok"
    if refusal.migrations:
        return "lossy" if "would be lost" in refusal.message else "migrate"
    left = "come along" in refusal.message or " calls step as " in refusal.message
    return "left" if left else "unseen"


def check(project: Project, case: Case, build: Build) -> None:
    said = project.judge(project.objects(case.edits, [f"{name}.c" for name in case.push.split()], build))
    refusal = said.refusal
    if case.declared and build.compiler == "clang" and refusal is None:
        return
    assert verdict_of(said) in case.verdict.split("|"), f"{build}: {refusal.message if refusal else said}"
    if refusal is not None:
        assert case.says in refusal.message
        assert refusal.hint


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_change_gets_its_verdict(project: Project, case: Case) -> None:
    check(project, case, Build())


def _other_builds() -> list[tuple[Case, Build]]:
    if ALL:
        return list(product(CASES, BUILDS))
    chooser = random.Random(SEED)
    return [(case, chooser.choice(BUILDS)) for case in CASES]


@pytest.mark.parametrize(("case", "build"), _other_builds(), ids=str)
def test_whoever_compiled_it(project: Project, case: Case, build: Build) -> None:
    check(project, case, build)
