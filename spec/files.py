"""Every file that Alloy writes or reads: written whole or not at all, read with one sentence for whatever is wrong."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
import errno
import io
import json
import os
from pathlib import Path
import shutil
import stat
import struct
import sys
from tempfile import TemporaryDirectory
from typing import Any
import zipfile
import zlib

import numpy as np

from .errors import AlloyError
from .looks import looks_like

__all__ = ["replacing", "write_text", "write_bytes", "save_arrays", "check_outputs", "check_folder", "check_unpacked",
           "read_bytes", "read_json", "parse_json", "read_arrays"]

PREFIX = ".alloy-"
MIB = 1 << 20
# Whatever a damaged member makes zipfile, zlib and NumPy raise.
DAMAGE = (OSError, ValueError, EOFError, KeyError, TypeError, SyntaxError, MemoryError, RuntimeError, OverflowError,
          AttributeError,
          zipfile.BadZipFile, zlib.error, struct.error)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to; at the end of the block the file there takes the place of ``path``. Missing folders are made.

    A link is followed, a device or pipe is written to; an existing file's permissions are kept. Each writer has a file
    of its own, so that the last of several is the one that is kept. Raises :class:`AlloyError` if the place cannot be
    written. After any error ``path`` is as it was.
    """
    try:
        target, stream = _target(path)
        if not stream:
            target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=PREFIX, dir=None if stream else target.parent) as folder:
            partial = Path(folder) / (target.name or "stream")
            yield partial
            if stream:
                _copy(partial, target)
            else:
                if target.exists():
                    partial.chmod(stat.S_IMODE(target.stat().st_mode))
                os.replace(partial, target)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from None


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text, :func:`replacing` what is there."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write a file, :func:`replacing` what is there."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def save_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as a compressed ``.npz``, :func:`replacing` what is there."""
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **dict[str, Any](arrays))


def check_outputs(*paths: str | os.PathLike | None, inputs: Iterable[str | os.PathLike | None] = ()) -> None:
    """Raise :class:`AlloyError` unless files can be written at all ``paths``, none of which is one of ``inputs`` by any
    name.

    Every command calls it first; entries that are None are left out.
    """
    for path in paths:
        if path is None:
            continue
        for source in inputs:
            if source is not None and _same(path, source):
                raise AlloyError(f"{path} is the input {source} of this command, which would overwrite it: give "
                                 "another output")
        try:
            target, stream = _target(path)
            if not stream:
                check_folder(target.parent)
        except OSError as error:
            raise _unwritable(path, error) from None


def check_folder(path: str | os.PathLike) -> None:
    """Raise :class:`AlloyError` unless files can be written into the folder ``path``, which need not exist yet."""
    place = Path(os.path.realpath(path))
    try:
        while not _exists(place):
            place = place.parent
        with TemporaryDirectory(prefix=PREFIX, dir=place):
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def _exists(path):
    """Whether something is there; unlike ``Path.exists`` this does not hide why it cannot be asked, such as a name that
    is too long."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _unwritable(path, error):
    return AlloyError(f"{path} cannot be written ({error.strerror or error}): choose another place")


def _target(path):
    """(the file that ``path`` leads to, whether it is written to as it stands: a device, a pipe or what this program
    prints to)."""
    target, ends = Path(os.path.realpath(path)), str(path)[-1:]
    try:
        found = os.stat(Path(path))
    except FileNotFoundError:
        found = None
    if ends in ("", os.sep) or found and stat.S_ISDIR(found.st_mode):
        raise AlloyError(f"{str(path)!r} is a folder: name a file to write")
    if found and _standard(found) is None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "what is there is write-protected")
    if found and (not stat.S_ISREG(found.st_mode) or _standard(found) is not None):
        return Path(path), True
    return target, False


def _standard(found):
    """Number of the standard stream that is the same file, or None."""
    for number in (1, 2):
        try:
            if os.path.samestat(found, os.fstat(number)):
                return number
        except OSError:     # closed
            continue
    return None


def _copy(partial, target):
    number = _standard(os.stat(target))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    place = os.open(target, os.O_WRONLY) if number is None else os.dup(number)
    with open(partial, "rb") as source, open(place, "wb") as out:
        shutil.copyfileobj(source, out)


def _same(path, other):
    """Whether two names lead to one file or place."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def read_bytes(path: str | os.PathLike, what: str) -> bytes:
    """The content of a file; ``what`` it should be ("configuration file") is for the :class:`AlloyError` if it cannot
    be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise AlloyError(f"there is no {what} {path}") from None
    except (OSError, ValueError) as error:
        raise AlloyError(f"the {what} {path} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def unpacked_limit() -> int:
    """Bytes that a file may unpack to: half of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def check_unpacked(path: str | os.PathLike, data: bytes) -> None:
    """Raise :class:`AlloyError` if ``data``, the content of ``path``, is a zip file of more than
    :func:`unpacked_limit`; what is no zip file at all is nothing to say here."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            size = sum(member.file_size for member in file.infolist())
    except (ValueError, OSError, NotImplementedError, zipfile.BadZipFile, struct.error):
        return
    if size > (most := unpacked_limit()):
        raise AlloyError(f"{path} unpacks to {size // MIB:,} MiB, more than half of this machine's memory "
                         f"({most // MIB:,} MiB): give a smaller file")


def read_json(path: str | os.PathLike, what: str, wanted: type = dict) -> Any:
    """The value of a JSON file, see :func:`parse_json`; ``what`` it describes ("configuration") is for the
    :class:`AlloyError`."""
    data = read_bytes(path, f"{what} file")
    try:
        return parse_json(data, wanted)
    except ValueError as error:
        raise AlloyError(f"{path} is not a JSON {what}: {error}; it looks like {looks_like(data, path)}") from None


def parse_json(data: bytes, wanted: type = dict) -> Any:
    """The value of JSON bytes. ``ValueError`` for anything else, for a key that is there twice, for NaN and if it is no
    ``wanted`` (dict, list)."""
    def once(pairs):
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} is there twice")
        return values

    def no_number(text):
        raise ValueError(f"{text} is no number of JSON")
    try:
        value = json.loads(data, object_pairs_hook=once, parse_constant=no_number)
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, wanted):
        words = "a list" if wanted is list else "an object, one key for each field"
        raise ValueError(f"it holds {_JSON_WORDS[type(value)]} and must hold {words}")
    return value


_JSON_WORDS = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number",
               bool: "true or false", type(None): "null"}


def read_arrays(path: str | os.PathLike, what: str = "file", *, needed: Iterable[str] = (),
                fails: str = "is not a whole .npz file",
                way: str = "give an .npz of NumPy arrays") -> dict[str, np.ndarray]:
    """Every array of an ``.npz`` by name.

    :class:`AlloyError` starts with the path and ``fails``, says what the file looks like or which arrays it has instead
    of those ``needed``, and ends with ``way``.
    """
    data = read_bytes(path, what)
    check_unpacked(path, data)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        found = "it is truncated" if data.startswith(b"PK\x03\x04") else f"it looks like {looks_like(data, path)}"
        raise AlloyError(f"{path} {fails}: {found}; {way}")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            missing = [name for name in needed if name not in file.files]
            arrays = {} if missing else {name: file[name] for name in file.files}
            names = file.files
    except DAMAGE as error:
        damage = f"it is truncated or damaged ({type(error).__name__})"
        found = "it holds pickled Python objects" if "allow_pickle" in str(error) else damage
        raise AlloyError(f"{path} {fails}: {found}; {way}") from None
    if missing:
        raise AlloyError(f"{path} {fails}: it looks like {looks_like(data, path)}, has {_some(names) or 'nothing'} and "
                         f"lacks {' and '.join(missing)}; {way}")
    strange = [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]
    if strange:
        raise AlloyError(f"{path} {fails}: it looks like {looks_like(data, path)}, whose {strange[0]} is no array; "
                         f"{way}")
    return arrays


def _some(names, most=6):
    """The first names of a list, for a sentence."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
