"""How a picture file becomes codes: orientation, channels, resizing and cropping as in the evaluation of the model, and
the normalization that goes with it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spec.errors import AlloyError
from spec.looks import looks_like

__all__ = ["Preparation", "IMAGENET", "from_transform", "parse_size", "parse_numbers"]

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")     # Pillow's modes of 16 bits
WAYS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")      # in the order of Pillow's numbers


@dataclass(frozen=True)
class Preparation:
    """What is done with each picture.

    Attributes
    ----------
    channels : of the model: 1 gray, 3 RGB, 4 with alpha.
    size : (height, width) of the model's images; None: as the pictures are.
    resize : length of the shorter side before the centre of ``size`` is cut out; None: no such step.
    crop : cut the centre out; the shorter side is scaled to ``resize``, or so that ``size`` just fits.
        Otherwise pictures are scaled to ``size``, whatever their shape.
    way : of interpolation, one of :data:`WAYS`.
    """
    channels: int = 3
    size: tuple[int, int] | None = None
    resize: int | None = None
    crop: bool = False
    way: str = "bilinear"

    def __post_init__(self):
        if self.channels not in MODES:
            raise AlloyError(f"the model reads {self.channels} channels and a picture file has 1 to 4: give --images "
                             "an .npz with arrays")
        if self.crop and self.size is None:
            raise AlloyError("--crop cuts out the centre and nothing says of what size: give --size")
        if self.resize is not None and self.size is not None and self.resize < min(self.size):
            raise AlloyError(f"--resize {self.resize} is less than what is cut out, {self.size[0]}x{self.size[1]}: "
                             "give a larger one")
        if self.way not in WAYS:
            raise AlloyError(f"there is no interpolation {self.way!r}: choose {', '.join(WAYS)}")

    def decode(self, path: Path) -> np.ndarray:
        """The codes of a file, uint8 (C, H, W). Raises :class:`AlloyError` for one that is broken."""
        from PIL import Image, ImageOps
        try:
            with Image.open(path) as picture:
                picture.load()
                return self._codes(ImageOps.exif_transpose(picture))
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
            why = "cannot be opened" if isinstance(error, FileNotFoundError | PermissionError) else _damage(path)
            raise AlloyError(f"{path} ({why})") from None

    def array(self, pixels: np.ndarray) -> np.ndarray:
        """The codes of one picture that is an array uint8 (H, W, C)."""
        from PIL import Image
        fits = self.resize is None and self.size in (None, pixels.shape[:2])
        if fits and pixels.shape[2] == self.channels:
            return np.ascontiguousarray(pixels.transpose(2, 0, 1))
        if pixels.shape[2] not in MODES:
            raise AlloyError(f"a picture of {pixels.shape[2]} channels: the model reads {self.channels}")
        return self._codes(Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))

    def _codes(self, picture: Any) -> np.ndarray:
        picture = _scaled(_coloured(picture, MODES[self.channels]), self)
        found = np.asarray(picture, np.uint8)
        return np.ascontiguousarray(found[None] if found.ndim == 2 else found.transpose(2, 0, 1))


def _damage(path):
    try:
        data = path.read_bytes()
    except OSError:
        return "cannot be opened"
    found = looks_like(data, path)
    return f"truncated or damaged, {found}" if found in ("a JPEG image", "a PNG image") else f"it is {found}"


def _coloured(picture, mode):
    """A picture in another mode; 16 bits keep the upper eight."""
    from PIL import Image
    if picture.mode in DEEP:
        deep = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray((deep >> 8 if deep.max() > 255 or picture.mode != "I" else deep).astype(np.uint8))
    elif picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture if picture.mode == mode else picture.convert(mode)


def _scaled(picture, how):
    way = WAYS.index(how.way)
    width, height = picture.size
    if how.size is None:
        return picture if how.resize is None else picture.resize(_shorter(width, height, how.resize), way)
    rows, cols = how.size
    if not how.crop and how.resize is None:
        return picture if (height, width) == (rows, cols) else picture.resize((cols, rows), way)
    if how.resize is not None:
        size = _shorter(width, height, how.resize)
    else:
        scale = max(rows / height, cols / width)
        size = max(cols, round(width * scale)), max(rows, round(height * scale))
    if size != picture.size:
        picture = picture.resize(size, way)
    # The middle, as torchvision rounds it; beyond the edge of a picture that is too narrow it is black.
    left, top = round((size[0] - cols) / 2), round((size[1] - rows) / 2)
    return picture.crop((left, top, left + cols, top + rows))


def _shorter(width, height, length):
    """(width, height) with the shorter side of that length; the other is rounded down, as torchvision does."""
    if width <= height:
        return length, int(length * height / width)
    return int(length * width / height), length


def from_transform(found: Any, name: str) -> tuple[dict, dict]:
    """(fields of a :class:`Preparation`, mean and std) of the evaluation that belongs to weights of torchvision, such
    as ``ResNet18_Weights.DEFAULT``, or of its ``transforms()``. Nothing is downloaded."""
    made: Callable[[], Any] | None = getattr(found, "transforms", None)
    preset = made() if callable(made) else found
    try:
        crop, mean, std = list(preset.crop_size), tuple(preset.mean), tuple(preset.std)
        resize = [n for n in (getattr(preset, "resize_size", None) or ()) if n]
    except (AttributeError, TypeError):
        raise AlloyError(f"{name} says neither size nor mean and std: give weights of torchvision's models, such as "
                         "torchvision.models:ResNet18_Weights.DEFAULT, or --size, --resize, --mean and --std") from None
    way = str(getattr(getattr(preset, "interpolation", None), "value", "bilinear"))
    size = (crop[0], crop[-1])
    return ({"size": size, "resize": resize[0] if resize else None, "crop": True, "way": way},
            {"mean": mean, "std": std})


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of ``224`` or ``HxW``."""
    try:
        sizes = [int(part) for part in str(text).lower().split("x")]
        if len(sizes) not in (1, 2) or min(sizes) < 1:
            raise ValueError
    except ValueError:
        raise AlloyError(f"the size {text!r} is no number and no HEIGHTxWIDTH: give one such as 224 or 240x320"
                         ) from None
    return sizes[0], sizes[-1]


def parse_numbers(name: str, text: str) -> tuple[float, ...]:
    """The numbers of ``0.5``, ``0.485,0.456,0.406`` or ``imagenet``; ``name`` is mean or std."""
    if text.strip().lower() == "imagenet":
        return IMAGENET[name]
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise AlloyError(f"the {name} {text!r} is no list of numbers: give imagenet, one number, or one for each "
                         "channel, such as 0.485,0.456,0.406") from None
