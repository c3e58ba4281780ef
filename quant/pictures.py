"""Pictures of a folder or of arrays as codes of a network's input, decoded when they are asked for."""

from collections.abc import Callable, Iterator, Sequence
import csv
from dataclasses import dataclass, replace
import os
from pathlib import Path
from typing import Any

import numpy as np

from spec.errors import AlloyError
from spec.files import read_arrays, read_bytes
from spec.looks import looks_like

from .prepare import Preparation

__all__ = ["Pictures", "open_pictures", "split", "SUFFIXES"]

SUFFIXES = (".jpg", ".jpeg", ".png")
SHOWN = 3           # names in a sentence
BATCH = 32          # pictures that are decoded for one step of a loop


@dataclass(frozen=True)
class Pictures:
    """A number of pictures, each read when it is asked for; ``labels`` is one integer for each or None.

    Attributes
    ----------
    place : where they are from, for messages. names : of each.
    read : function of the number of one: uint8 (C, H, W).
    classes : names of the classes if the labels are from sub-folders or words.
    """
    path: str
    names: Sequence[str]
    read: Callable[[int], np.ndarray]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def some(self, numbers: Sequence[int] | np.ndarray) -> "Pictures":
        """Those of the ``numbers``, in that order."""
        read = self.read
        kept = [int(number) for number in numbers]
        return replace(self, names=[self.names[i] for i in kept], read=lambda index: read(kept[index]),
                       labels=None if self.labels is None else self.labels[kept])

    def unlabelled(self) -> "Pictures":
        """The same without labels."""
        return replace(self, labels=None, classes=())

    def batches(self, size: int = BATCH, report: Callable[[int], object] = lambda done: None) -> Iterator[np.ndarray]:
        """The pictures as uint8 (n, C, H, W), ``size`` at a time; ``report`` gets the number that is read.

        Raises :class:`AlloyError` with the names of all of a batch that cannot be read, and for pictures of several
        shapes.
        """
        shape = None
        for start in range(0, len(self), size):
            found, broken = [], []
            for index in range(start, min(start + size, len(self))):
                try:
                    found.append(self.read(index))
                except AlloyError as error:
                    broken.append(str(error))
                report(index + 1)
            if broken:
                raise AlloyError(f"{len(broken)} of {len(found) + len(broken)} pictures of {self.path} cannot be "
                                 f"read: {_some(broken, '; ')}: remove them or copy them again")
            for index, picture in enumerate(found, start):
                shape = shape or picture.shape
                if picture.shape != shape:
                    raise AlloyError(f"the pictures of {self.path} have different sizes ({_size(shape)} and, "
                                     f"{self.names[index]}, {_size(picture.shape)}): give --size, such as --size 224")
            yield np.stack(found)

    def codes(self, report: Callable[[int], object] = lambda done: None) -> np.ndarray:
        """All of them, uint8 (N, C, H, W)."""
        return np.concatenate([*self.batches(report=report)])


def open_pictures(path: str | Path, preparation: Preparation, labels: str | Path | None = None) -> Pictures:
    """The pictures of a folder (JPEG and PNG, in folders at any depth) or of an ``.npz``.

    Labels are those of the CSV file ``labels`` (columns file and label), of the array ``labels`` beside ``images``, or
    the numbers of the folder's sub-folders in the order of their names; None if there is none of these.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path, preparation, labels)
    if path.suffix.lower() == ".npz":
        if labels is not None:
            raise AlloyError(f"--labels {labels} is for a folder of pictures: put labels into {path}, beside images")
        return _arrays(path, preparation)
    if not path.exists():
        raise AlloyError(f"there are no images {path}: give a folder of JPEG or PNG files, or an .npz with the array "
                         "images")
    found = looks_like(read_bytes(path, "file of images"), path)
    raise AlloyError(f"{path} is {found}: give a folder of JPEG or PNG files, or an .npz with the array images")


def split(pictures: Pictures, calibration: int, test: int, seed: int) -> tuple[Pictures, Pictures]:
    """(calibration part, test part) of one folder, drawn by ``seed``: at most half of it calibrates, and the test part
    has at most ``test`` of the others (0: all)."""
    if len(pictures) < 2:
        raise AlloyError(f"{pictures.path} has one picture: give at least two, one to calibrate and one to test, or "
                         "--test another folder")
    order = np.random.default_rng(seed).permutation(len(pictures))
    first = min(calibration, len(pictures) // 2)
    rest = order[first:first + test] if test else order[first:]
    return pictures.some(order[:first]), pictures.some(np.sort(rest))


# -- folders ---------------------------------------------------------------------------------------------------------
def _folder(folder, preparation, labels):
    files = sorted(_files(folder))
    if not files:
        others = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        has = f"; it has {others[0].name} ({looks_like(others[0].read_bytes()[:4096], others[0])})" if others else ""
        raise AlloyError(f"there is no JPEG or PNG file in {folder}{has}: give the folder of the pictures")
    names = [str(path) for path in files]
    read = _Reader([folder / path for path in files], preparation)
    if labels is not None:
        numbers, classes, kept = _table(Path(labels), folder, names)
        return replace(Pictures(str(folder), names, read, None, classes).some(kept), labels=numbers)
    top = [path.parts[0] if len(path.parts) > 1 else None for path in files]
    classes = tuple(sorted({name for name in top if name is not None}))
    if None in top or len(classes) < 2:
        return Pictures(str(folder), names, read)
    number = {name: index for index, name in enumerate(classes)}
    return Pictures(str(folder), names, read, np.array([number[name] for name in top], np.int64), classes)


def _files(folder):
    """Paths of the pictures in a folder, relative to it; hidden files and folders are none."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(place, name).relative_to(folder)


class _Reader:
    """Reads a picture by its number."""

    def __init__(self, paths, preparation):
        self._paths, self._preparation = paths, preparation

    def __call__(self, index: int) -> np.ndarray:
        return self._preparation.decode(self._paths[index])


def _table(path, folder, names):
    """(labels, classes, numbers of the pictures that have them) of a CSV file."""
    try:
        text = read_bytes(path, "file of labels").decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines()))
    except (UnicodeDecodeError, csv.Error):
        raise AlloyError(f"{path} is no CSV text: give one with the columns file and label") from None
    columns = list(rows[0]) if rows else text.splitlines()[:1]
    if not rows or not {"file", "label"} <= set(columns):
        raise AlloyError(f"{path} has the columns {', '.join(map(str, columns)) or 'of nothing'}: give one row of "
                         "names first, file and label among them, and a row for each picture")
    place = {name: index for index, name in enumerate(names)}
    wanted: dict[int, str] = {}
    for line, row in enumerate(rows, 2):
        file, label = (row["file"] or "").strip(), (row["label"] or "").strip()
        index = place.get(os.path.normpath(file))
        if index is None:
            raise AlloyError(f"{path}, line {line}: there is no JPEG or PNG file {file!r} in {folder}: name files as "
                             f"they lie there, such as {names[0]}")
        if not label:
            raise AlloyError(f"{path}, line {line}: {file} has no label")
        if wanted.setdefault(index, label) != label:
            raise AlloyError(f"{path}, line {line}: {file} has the labels {wanted[index]} and {label}")
    kept = sorted(wanted)
    try:
        return np.array([int(wanted[index]) for index in kept], np.int64), (), kept
    except ValueError:      # words: numbered as sub-folders are
        classes = tuple(sorted(set(wanted.values())))
        return np.array([classes.index(wanted[index]) for index in kept], np.int64), classes, kept


# -- arrays ----------------------------------------------------------------------------------------------------------
def _arrays(path, preparation):
    arrays = read_arrays(path, "file of images", needed=("images",), fails="holds no images",
                         way="give an .npz with the array images, uint8 (N, H, W, C) or (N, C, H, W)")
    images, labels = arrays["images"], arrays.get("labels")
    what = f"{path}: its images are {images.dtype} of shape {images.shape}"
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise AlloyError(f"{what}: give pixels uint8 from 0 to 255, (N, H, W, C), (N, C, H, W) or (N, H, W)")
    images = _channels_last(images[..., None] if images.ndim == 3 else images, preparation.channels)
    if images is None:
        raise AlloyError(f"{what}: none of it is the {preparation.channels} channels of the model")
    if labels is not None and (labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer)):
        raise AlloyError(f"{path}: its labels are {labels.dtype} of shape {labels.shape}: give one integer for each of "
                         f"the {len(images)} images")
    names = [f"image {index}" for index in range(len(images))]
    return Pictures(str(path), names, lambda index: preparation.array(images[index]),
                    None if labels is None else labels.astype(np.int64))


def _channels_last(images, channels) -> Any:
    """``images`` (N, C, H, W) or (N, H, W, C) as the latter, whichever the ``channels`` of the model or the usual ones
    say; None if neither."""
    for known in ((channels,), (1, 3, 4)):
        first, last = images.shape[1] in known, images.shape[3] in known
        if first != last or first:
            return images.transpose(0, 2, 3, 1) if first and not last else images
    return None


def _some(names, comma=", "):
    return comma.join(names[:SHOWN]) + (f"{comma}and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _size(shape):
    return f"{shape[1]}x{shape[2]}"
