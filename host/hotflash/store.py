"""The project's ``.hotflash/`` folder.

::

    .hotflash/
        lock                     flock of whoever changes something
        index/<hash of path>.idx the same for ELF files that were named with --elf; the newest few
        sim.json                 the emulated board that runs: port, process, board
        builds/<build ID>/
            build.json           board, where the ELF came from, its SHA-256
            firmware.elf         as it was flashed
            firmware.idx         what was read of it already (:mod:`hotflash.elf.index`); made again when it is missing
            image.bin            as it was programmed
            journal.json         the edits that were made live on top (:mod:`hotflash.journal`)
            objects/<sha256>.o   what they were linked from

Every file is replaced as a whole (written beside, then renamed), and every change is made under the
lock, so processes may use the folder at the same time and may be killed at any point.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotflash.errors import HotflashError
from hotflash.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ".hotflash"
VERSION = 1
"""Version of the files' layout."""
KEEP_BUILDS = 20
"""Builds that are kept; older ones go when another is flashed."""


class StoreError(HotflashError):
    """The ``.hotflash/`` folder cannot be read or written."""


def atomic_write(path: Path, data: bytes) -> None:
    """Replaces ``path``: readers see the old content or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot write: {error.strerror or error}", hint=_space_hint(error)) from error


def _space_hint(error: OSError) -> str | None:
    import errno

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "make room on the disk; nothing was lost"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "the project's folder must be writable for hotflash"
    return None


def process_start(pid: int) -> str | None:
    """What tells a process from a later one with the same number; None: there is none."""
    try:
        # proc(5): field 22 is the start time in clock ticks since boot; the name in field 2 may hold blanks.
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return None
    except (OSError, IndexError):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "?"


@dataclass(frozen=True)
class SimRecord:
    """The emulated board that runs for this project."""

    port: str
    """pyserial URL of its UART."""
    pid: int
    """Process of the emulator."""
    board: str
    """Name or path of the board."""
    start: str = "?"
    """Start mark of the process, see :func:`process_start`."""

    @property
    def running(self) -> bool:
        """Whether that process still runs."""
        return self.pid > 0 and process_start(self.pid) == self.start


@dataclass(frozen=True)
class Build:
    """A build that was flashed or exported: its folder in the store."""

    folder: Path
    build_id: bytes
    board: str
    source: str
    """Path the ELF was flashed from."""
    sha256: str
    """Of the ELF."""

    @property
    def elf(self) -> Path:
        """The stored ELF."""
        return self.folder / "firmware.elf"

    @property
    def index(self) -> Path:
        """Where the index of the stored ELF is kept."""
        return self.folder / "firmware.idx"

    @property
    def image(self) -> Path:
        """The stored image, valid mark erased."""
        return self.folder / "image.bin"


class Store:
    """Reads and changes the project's folder; see the module's text for its layout."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.root = project / FOLDER

    @classmethod
    def find(cls, start: Path | None = None) -> Store:
        """The store of the project that ``start`` (default: the current folder) belongs to."""
        from hotflash.settings import find_project

        return cls(find_project(start))

    def _make(self, folder: Path) -> Path:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: cannot create: {error.strerror or error}", hint=_space_hint(error)) from error
        return folder

    def ensure(self) -> Path:
        """Creates the folder where it is missing, and keeps version control away from it."""
        if not self.root.is_dir():
            self._make(self.root)
            with contextlib.suppress(StoreError):
                atomic_write(self.root / ".gitignore", b"*\n")
        return self.root

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from changing the store meanwhile; released when the process dies."""
        self.ensure()
        try:
            handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(f"{self.root / 'lock'}: {error.strerror or error}", hint=_space_hint(error)) from error
        try:
            try:
                import fcntl
            except ImportError:  # Windows: one process at a time is up to the user
                yield
            else:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
        finally:
            os.close(handle)

    # ---- builds

    def build_folder(self, build_id: bytes) -> Path:
        """Folder of a build, whether it exists or not."""
        return self.root / "builds" / build_id.hex()

    def add_build(self, build_id: bytes, elf: bytes, image: bytes, *, board: str, source: str) -> Build:
        """Stores an ELF and its image; an existing entry's journal stays."""
        import hashlib

        folder = self.build_folder(build_id)
        digest = hashlib.sha256(elf).hexdigest()
        facts = {"version": VERSION, "board": board, "source": source, "sha256": digest}
        with self.locked():
            self._make(folder)
            atomic_write(folder / "firmware.elf", elf)
            atomic_write(folder / "image.bin", image)
            atomic_write(folder / "build.json", json.dumps(facts, indent=1).encode())
            self._prune_builds(folder)
        return Build(folder, build_id, board, source, digest)

    def _prune_builds(self, current: Path) -> None:
        import shutil

        dated = []
        for folder in current.parent.iterdir():
            with contextlib.suppress(OSError):
                dated.append(((folder / "build.json").stat().st_mtime, folder))
        for _, folder in sorted(dated, reverse=True)[KEEP_BUILDS:]:
            if folder != current:
                shutil.rmtree(folder, ignore_errors=True)

    def build(self, build_id: bytes) -> Build | None:
        """The entry of a build, None when there is none or nothing of it can be used."""
        folder = self.build_folder(build_id)
        if not (folder / "firmware.elf").is_file():
            return None
        facts: dict[str, Any] = {}
        try:
            loaded = json.loads((folder / "build.json").read_bytes())
            if isinstance(loaded, dict):
                facts = loaded
        except (OSError, ValueError):
            pass  # the ELF is what counts; these facts are for messages
        board, source, digest = (facts.get(name) for name in ("board", "source", "sha256"))
        return Build(
            folder,
            build_id,
            board if isinstance(board, str) else "",
            source if isinstance(source, str) else "",
            digest if isinstance(digest, str) else "",
        )

    def builds(self) -> list[Build]:
        """All entries, newest first."""
        dated = []
        with contextlib.suppress(OSError):
            for folder in (self.root / "builds").iterdir():
                if re.fullmatch(r"[0-9a-f]{40}", folder.name):
                    build = self.build(bytes.fromhex(folder.name))
                    if build is not None:
                        dated.append((build.elf.stat().st_mtime, folder.name, build))
        return [build for _, _, build in sorted(dated, key=lambda entry: entry[:2], reverse=True)]

    def index_for(self, elf: Path) -> Path:
        """Where the index of an ELF outside of the store is kept. Makes room for one more."""
        import hashlib

        folder = self.root / "index"
        path = folder / f"{hashlib.sha256(os.fsencode(elf.absolute())).hexdigest()[:16]}.idx"
        with contextlib.suppress(OSError):
            if not path.exists():
                kept = sorted(folder.glob("*.idx"), key=lambda entry: -entry.stat().st_mtime)
                for old in kept[KEEP_BUILDS - 1 :]:
                    old.unlink(missing_ok=True)
        return path

    # ---- journals and objects

    def journal(self, build_id: bytes) -> Journal:
        """The build's journal; ValueError when the file is damaged."""
        try:
            data = (self.build_folder(build_id) / "journal.json").read_bytes()
        except FileNotFoundError:
            return Journal()
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}") from error
        return Journal.parse(data)

    def save_journal(self, build_id: bytes, journal: Journal) -> None:
        """Replaces the journal and drops objects that it does not refer to. Call under the lock."""
        folder = self._make(self.build_folder(build_id))
        atomic_write(folder / "journal.json", journal.dump())
        wanted = {f"{name}.o" for name in journal.objects}
        with contextlib.suppress(OSError):
            for entry in (folder / "objects").iterdir():
                if entry.name not in wanted and not entry.name.startswith("."):
                    entry.unlink(missing_ok=True)

    def reset_journal(self, build_id: bytes) -> None:
        """Forgets all edits of a build: its image has been programmed."""
        with self.locked():
            if self.build_folder(build_id).is_dir():
                self.save_journal(build_id, Journal())

    def set_journal_aside(self, build_id: bytes) -> Path:
        """Renames a damaged journal, so that it can be looked at. Call under the lock."""
        path = self.build_folder(build_id) / "journal.json"
        aside = path.with_name("journal.damaged.json")
        with contextlib.suppress(FileNotFoundError):
            path.replace(aside)
        return aside

    def add_object(self, build_id: bytes, data: bytes) -> str:
        """Stores an object; returns its name."""
        import hashlib

        name = hashlib.sha256(data).hexdigest()
        folder = self._make(self.build_folder(build_id) / "objects")
        path = folder / f"{name}.o"
        if not path.is_file():
            atomic_write(path, data)
        return name

    def object_path(self, build_id: bytes, name: str) -> Path:
        """Where an object's copy is."""
        return self.build_folder(build_id) / "objects" / f"{name}.o"

    def objects(self, build_id: bytes) -> list[Path]:
        """All stored objects of a build, oldest first."""
        try:
            entries = list((self.build_folder(build_id) / "objects").glob("*.o"))
            return sorted(entries, key=lambda path: path.stat().st_mtime)
        except OSError:
            return []

    # ---- the running simulator

    def sim(self) -> SimRecord | None:
        """The emulated board that runs, or None."""
        try:
            value = json.loads((self.root / "sim.json").read_bytes())
            record = SimRecord(
                port=str(value["port"]), pid=int(value["pid"]), board=str(value["board"]), start=str(value["start"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # the record is only a convenience; a damaged one is as good as none
        return record if record.running else None

    def record_sim(self, record: SimRecord) -> None:
        """Says which emulated board runs."""
        start = process_start(record.pid)
        record = replace(record, start=start or "?")
        with self.locked():
            atomic_write(self.root / "sim.json", json.dumps({"version": VERSION, **asdict(record)}, indent=1).encode())

    def forget_sim(self, pid: int | None = None) -> None:
        """Removes the record, with ``pid`` only that of this process."""
        with self.locked():
            path = self.root / "sim.json"
            if pid is not None:
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    if json.loads(path.read_bytes()).get("pid") != pid:
                        return
            path.unlink(missing_ok=True)
