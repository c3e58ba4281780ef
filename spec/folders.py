"""Folders of generated files that share their place with what the user puts there."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
import fcntl
from hashlib import sha256
import json
import os
from pathlib import Path
import shutil
from tempfile import TemporaryDirectory

from .errors import AlloyError
from .files import PREFIX, read_json, write_text

__all__ = ["check_generated", "generating"]


def check_generated(folder: Path, record: str, names: Iterable[str]) -> set[str]:
    """Raise :class:`AlloyError` if ``names`` cannot be written into ``folder`` without the loss of anything but what an
    earlier build wrote.

    ``record`` is the JSON file there whose ``files`` (name -> SHA-256) says what that was; an empty folder or none
    needs no record. Returns the names of the earlier files that are as they were written.
    """
    if not os.path.lexists(folder) or folder.is_dir() and not any(folder.iterdir()):
        return set()
    if not folder.is_dir() or not (folder / record).is_file():
        raise AlloyError(f"{folder} exists and is not an earlier build: remove it or give another --out")
    report = read_json(folder / record, "report of an earlier build")
    written = report.get("files", dict.fromkeys(names))         # builds of before the list wrote what this one writes
    if "verilog_sha256" not in report or not isinstance(written, dict):
        raise AlloyError(f"{folder / record} is not the report of an earlier build: remove {folder} or give another "
                         "--out")
    written[record] = None
    for name in names:
        if os.path.lexists(folder / name) and not _untouched(folder, name, written):
            raise AlloyError(f"{folder / name} is not as an earlier build wrote it: move it away or give another --out")
    return {name for name in written if _untouched(folder, name, written)}


def _untouched(folder, name, written):
    """Whether a file is there with the content that was ``written`` (name -> SHA-256, None: not known)."""
    path = folder / name
    if name not in written or Path(name).name != name or path.is_symlink() or not path.is_file():
        return False
    return written[name] is None or sha256(path.read_bytes()).hexdigest() == written[name]


@contextmanager
def generating(folder: Path, record: str, report: dict) -> Iterator[Path]:
    """An empty folder to write files into; at the end of the block they, and ``report`` as ``record``, take their
    places in ``folder``.

    What an earlier build wrote and this one does not is removed; everything else in ``folder`` stays. After any error
    it is as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PREFIX, dir=folder.parent) as place:
        fresh, saved = Path(place, "fresh"), Path(place, "saved")
        fresh.mkdir()
        saved.mkdir()
        yield fresh
        report["files"] = {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(fresh.iterdir())}
        write_text(fresh / record, json.dumps(report, indent=2) + "\n")
        made = not folder.exists()
        folder.mkdir(exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)        # two builds into one folder: one after the other
            _exchange(fresh, saved, folder, check_generated(folder, record, [path.name for path in fresh.iterdir()]))
        except BaseException:
            if made and not any(folder.iterdir()):
                folder.rmdir()
            raise
        finally:
            os.close(lock)


def _exchange(fresh, saved, folder, earlier):
    """Put what is in ``fresh`` into ``folder`` and take ``earlier`` files out, all or nothing."""
    names = [path.name for path in fresh.iterdir()]
    for name in earlier:
        shutil.copy2(folder / name, saved / name)
        if name in names:
            shutil.copymode(folder / name, fresh / name)
    try:
        for name in names:
            os.replace(fresh / name, folder / name)
        for name in earlier.difference(names):
            (folder / name).unlink()
    except BaseException:
        for name in names:
            if name not in earlier and not (fresh / name).exists():
                (folder / name).unlink(missing_ok=True)
        for name in earlier:
            os.replace(saved / name, folder / name)
        raise
