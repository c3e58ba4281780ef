"""The folder of a flow: what its steps have made, of which inputs, and whether that is still so."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
import fcntl
from hashlib import sha256
import json
import os
from pathlib import Path
from typing import Any

from spec.errors import AlloyError
from spec.files import check_folder, read_json, write_text
from spec.records import from_values

__all__ = ["Done", "Record", "opened", "digest_of"]

RECORD = "flow.json"
FORMAT = 1


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of all files in a folder with their names."""
    if path.is_dir():
        parts = sorted(one for one in path.rglob("*") if one.is_file())
        text = "".join(f"{one.relative_to(path)} {sha256(one.read_bytes()).hexdigest()}\n" for one in parts)
        return sha256(text.encode()).hexdigest()
    return sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Done:
    """What a step has made.

    Attributes
    ----------
    inputs : what it was made of, name -> value or digest. files : name -> digest; None while the step is at work.
    seconds : it took. result : what the report says of it; None if it has not come to its end.
    """
    inputs: dict
    files: dict
    seconds: float = 0.0
    result: dict | None = None


@dataclass
class Record:
    """The steps that are done in a folder."""
    folder: Path
    steps: dict[str, Done] = field(default_factory=dict)

    def stale(self, step: str, inputs: Mapping[str, Any]) -> str | None:
        """Why the result of a step cannot be used for ``inputs``, as the end of a sentence; None if it can."""
        done = self.steps.get(step)
        if done is None or done.result is None:
            return "is not there"
        other = [name for name in {**done.inputs, **inputs} if done.inputs.get(name) != inputs.get(name)]
        if other:
            return f"is of other inputs ({', '.join(other)})"
        for name, digest in done.files.items():
            path = self.folder / name
            if not path.exists():
                return f"lacks {name}"
            if digest_of(path) != digest:
                return f"has another {name} than was written"
        return None

    def check_replaceable(self, step: str, names: Iterable[str]) -> None:
        """Raise :class:`AlloyError` if a file that a step is to write is not one that it wrote before."""
        done = self.steps.get(step)
        for name in names:
            path = self.folder / name
            if not os.path.lexists(path) or done is not None and name in done.files and done.files[name] is None:
                continue
            if done is None or path.is_symlink() or done.files.get(name) != digest_of(path):
                raise AlloyError(f"{path} is not as an earlier flow wrote it: move it away or give another --out")

    def keep(self, step: str, done: Done) -> None:
        """Note what a step has made; written at once."""
        self.steps[step] = done
        values = {"flow": FORMAT, "steps": {name: asdict(one) for name, one in self.steps.items()}}
        write_text(self.folder / RECORD, json.dumps(values, indent=2) + "\n")


@contextmanager
def opened(folder: Path) -> Iterator[Record]:
    """The record of a folder, made if it is not there, with nobody else at work in it.

    Raises :class:`AlloyError` for a folder that holds something and is no flow's.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise AlloyError(f"{folder} is a file: give a folder as --out")
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise AlloyError(f"{folder} holds something and no {RECORD} of an earlier flow: give another --out")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlloyError(f"another flow is at work in {folder}: wait for it or give another --out") from None
        yield _read(folder)
    finally:
        os.close(lock)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _read(folder):
    path = folder / RECORD
    if not path.exists():
        return Record(folder)
    values = read_json(path, "record of a flow")
    if values.get("flow") != FORMAT or not isinstance(values.get("steps"), dict):
        raise AlloyError(f"{path} is not the record of a flow of this version: give another --out")
    return Record(folder, {name: from_values(Done, one, f"{path}: {name}") for name, one in values["steps"].items()})
