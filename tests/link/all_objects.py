"""The long run: every member of the toolchain's libraries and the whole corpus, linked here and by GNU ld.

Run it as ``python -m tests.link.all_objects`` (``make test-link-all``). Each object is linked twice, at addresses drawn
from the printed seed: with all calls in reach, where the bytes must be the same, and with most out of reach, where
calls must lead to the same places. Prints a table of what was compared and every object that was not, with the reason;
ends with 1 when something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path

from hotflash.elf.object import ObjectFile
from hotflash.errors import HotflashError
from hotflash.link import reloc
from tests.link.archives import MULTILIBS, NAMES, archive, members
from tests.link.differential import FAR, NEAR, Comparison, Figures
from tests.link.matrix import EMITTED, Build, builds

_CHUNK = 40


@dataclass(frozen=True)
class Job:
    """Some members of one archive, or some builds of the corpus."""

    group: str
    seed: str
    builds: Sequence[Build] = ()
    library: tuple[str, str] = ("", "")
    """Multilib and archive."""
    members: range = range(0)

    def objects(self, folder: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Names, and what gets their contents."""
        for build in self.builds:
            yield str(build), partial(_compiled, build, folder)
        if self.members:
            everything = members(archive(*self.library))
            for number, (member, data) in islice(enumerate(everything), self.members.start, self.members.stop):
                yield f"{'/'.join(self.library)}({member}) [{number}]", partial(bytes, data)


def _compiled(build: Build, folder: Path) -> bytes:
    return build.compile(folder).container.data


class Outcome:
    """What became of a job."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.figures = Figures()
        self.failures: list[str] = []
        self.kinds: set[str] = set()
        self.contents: set[bytes] = set()


def compare(obj: ObjectFile, seed: str, folder: Path, figures: Figures) -> None:
    """Near and far; counted as one object."""
    for mode in (NEAR, FAR):
        figures.add(Comparison(obj, f"{seed}/{mode}", folder, mode).run())
    figures.objects -= 1


def run(job: Job) -> Outcome:
    """One job, in a process of its own."""
    outcome = Outcome(job.group)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, content in job.objects(folder):
            try:
                data = content()
                if job.members:
                    outcome.contents.add(hashlib.sha256(data).digest())
                if data[:4] != b"\x7fELF":
                    outcome.figures.skipped.append(f"{name}: not an object but {data[:16]!r}")
                    continue
                obj = ObjectFile.parse(data, name)
                compare(obj, f"{job.seed}/{name}", folder, outcome.figures)
                outcome.kinds |= {
                    reloc.name_of(kind) for s in obj.sections if s.alloc for _, kind, _, _ in obj.relocations(s.index)
                }
            except (AssertionError, HotflashError) as error:
                outcome.failures.append(f"{name}: {type(error).__name__}: {error}")
    return outcome


def jobs(seed: str) -> list[Job]:
    """All work in pieces of a few seconds."""
    found = []
    for library in product(MULTILIBS, NAMES):
        count = sum(1 for _ in members(archive(*library)))
        parts = [range(at, min(at + _CHUNK, count)) for at in range(0, count, _CHUNK)]
        found += [Job(" ".join(library), seed, library=library, members=part) for part in parts]
    for compiler in ("gcc", "clang"):
        mine = [build for build in builds() if build.compiler == compiler]
        found += [Job(f"corpus {compiler}", seed, mine[at : at + _CHUNK]) for at in range(0, len(mine), _CHUNK)]
    return found


def main() -> int:
    """Compares everything and prints what was found."""
    parser = argparse.ArgumentParser(description="every object, linked by hotflash and by GNU ld")
    parser.add_argument("--seed", default=str(random.randrange(1 << 32)))
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    groups: dict[str, Outcome] = {}
    with multiprocessing.Pool(args.jobs) as pool:
        for outcome in pool.imap_unordered(run, jobs(args.seed)):
            group = groups.setdefault(outcome.group, Outcome(outcome.group))
            group.figures.add(outcome.figures)
            group.failures += outcome.failures
            group.kinds |= outcome.kinds
            group.contents |= outcome.contents
            for failure in outcome.failures:
                print(f"DIFFERS {failure}", flush=True)
    return report(list(groups.values()))


def report(groups: list[Outcome]) -> int:
    """The table, the skips, and whether all is well."""
    total, failures, contents = Figures(), 0, set[bytes]()
    print("| objects of | objects | sections | bytes | relocations | through veneers | skipped | differ |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for group in sorted(groups, key=lambda g: g.group):
        print(_row(group.group, group.figures, len(group.failures)))
        total.add(group.figures)
        failures += len(group.failures)
        contents |= group.contents
    print(_row("all", total, failures))
    print(f"{len(contents)} different library members; sections, bytes and relocations count both links of an object")
    for name, count in total.relocations.most_common():
        print(f"  {name}: {count}")
    for line in total.skipped:
        print(f"skipped: {line}")
    corpus = set().union(*(g.kinds for g in groups if g.group.startswith("corpus")))
    if corpus != EMITTED:
        print(f"the corpus has other relocations than expected: {sorted(corpus ^ EMITTED)}")
    return int(failures > 0 or corpus != EMITTED)


def _row(name: str, f: Figures, failures: int) -> str:
    cells = [f.objects, f.sections, f.bytes, f.relocations.total(), f.veneers, len(f.skipped), failures]
    return f"| {name} | {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
