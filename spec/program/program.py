"""A compiled network for one engine configuration, and the file it is kept in."""

from dataclasses import asdict, dataclass
import io
import json
from os import PathLike
import zipfile
import zlib

import numpy as np

from ..commands import COMMAND_BYTES, VERSION, Opcode, unpack
from ..config import EngineConfig
from ..errors import AlloyError
from ..files import check_unpacked, parse_json, read_bytes, replacing
from ..looks import looks_like
from ..network import Tensor
from ..records import check_types, from_values
from ..tables import html, short
from .region import Image, Region

__all__ = ["Program", "Layer", "check_classes"]

FORMAT = 3      # of the file, see docs/program.md


@dataclass(frozen=True)
class Layer:
    """One layer of the network as it was compiled, and where the engine computes each value of its output.

    Attributes
    ----------
    slots : (filter tile, slot) of each output channel, the first slot of a pair; (channel group, lane) for a pool.
    strips : (first row, end row, first column, end column, pitch) of the parts of the map that the engine works on one
        after the other, with all of its filters or with some of them after the others.
    pixels : of a tile; tiles count along the rows of a strip, which are ``pitch`` pixels apart.
    """
    tag: int
    name: str
    output: str
    macs: int
    commands: int
    slots: tuple[tuple[int, int], ...]
    strips: tuple[tuple[int, int, int, int, int], ...]
    pixels: int

    def made_at(self, channel: int, row: int, column: int) -> tuple[int, int, int, int]:
        """Of one value: filter tile and slot, strip and pixel tile in it."""
        for number, (y0, y1, x0, x1, pitch) in enumerate(self.strips):
            if y0 <= row < y1 and x0 <= column < x1:
                return *self.slots[channel], number, ((row - y0) * pitch + column - x0) // self.pixels
        raise AlloyError(f"layer {self.name} has no value at row {row}, column {column}")

    def __post_init__(self):
        check_types(self, "layer")


def check_classes(names: tuple[str, ...], channels: int) -> None:
    """Raise :class:`AlloyError` for names of classes that are not one printable text for each of the ``channels``."""
    if not all(isinstance(name, str) and name.isprintable() and name.strip() for name in names):
        raise AlloyError("the names of classes are no list of printable words: give one for each class")
    if names and len(names) != channels:
        raise AlloyError(f"{len(names)} names of classes are given and the output has {channels} channels: give one "
                         "for each")


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """Commands and image for one configuration, which the first command names.

    Attributes
    ----------
    image : bytes of the window from offset 0: commands, weights, parameters, taps.
    command_offset, command_count : where the commands lie.
    window_size : bytes of DRAM the program needs.
    input : where the image lies; use :meth:`pack_input`.
    outputs : tensor name -> region, of the network's output and of every kept tensor.
    source : name of the image's tensor. tensors : name -> :class:`spec.network.Tensor`, of the image and of all
        outputs: shapes, bits, and what their codes stand for.
    classes : names of the channels of the output; empty if nobody gave them.
    """
    image: bytes
    command_offset: int
    command_count: int
    window_size: int
    input: Image
    output: str
    outputs: dict       # str -> Region
    layers: tuple       # of Layer
    source: str
    tensors: dict       # str -> Tensor
    classes: tuple = ()     # of str

    def __post_init__(self):
        check_types(self, "program")
        check_classes(self.classes, self.tensors[self.output].channels if self.output in self.tensors else 0)

    @property
    def scale(self) -> float | None:
        """A code q of the output stands for ``scale * (q - zero)``; None if the network does not say."""
        return self.tensors[self.output].scale

    @property
    def zero(self) -> int:
        """Code of the output that stands for 0."""
        return self.tensors[self.output].zero

    @property
    def start(self) -> dict[str, int]:
        """Fields of the first command; raises :class:`AlloyError` if it is no START."""
        try:
            fields = unpack(self.commands[0]) if self.command_count else {}
        except AlloyError:
            fields = {}
        if fields.get("opcode") != Opcode.START:
            raise AlloyError("the program does not begin with START: it is damaged or older than this, compile the "
                             "network again")
        return fields

    @property
    def digest(self) -> str:
        """Of the configuration that it was compiled for."""
        return f"{self.start['digest']:08x}"

    def readable(self) -> None:
        """Raise :class:`AlloyError` if the commands are of another version."""
        if self.start["version"] != VERSION:
            raise AlloyError(f"the program has version {self.start['version']} of the commands, this is version "
                             f"{VERSION}: compile the network again")

    def runs_on(self, config: EngineConfig) -> None:
        """Raise :class:`AlloyError` if an engine of ``config`` would refuse the program."""
        self.readable()
        if self.digest != config.digest:
            raise AlloyError(f"the program was compiled for configuration {self.digest}, this one is "
                             f"{config.digest}: compile it again for this one")

    def pack_input(self, codes: np.ndarray) -> bytes:
        """Image codes (C, H, W) to the bytes of the image; :class:`AlloyError` for what are no codes of its shape."""
        codes, region = np.asarray(codes), self.input
        if not codes.size or not np.issubdtype(codes.dtype, np.integer) or not 0 <= codes.min() <= codes.max() < 256:
            raise AlloyError(f"the image is {codes.dtype} and holds no codes: give integers from 0 to 255")
        if int(codes.max()) >> (bits := self.tensors[self.source].bits):
            raise AlloyError(f"the image has the code {codes.max()} and the program reads codes of {bits} bits, 0 to "
                             f"{(1 << bits) - 1}: give the integers that the network was quantized for")
        if codes.shape != (region.channels, region.height, region.width):
            raise AlloyError(f"the image is of shape {codes.shape}, which is not that of the program's input: give "
                             f"{(region.channels, region.height, region.width)}")
        return region.pack(codes)

    def unpack(self, tensor: str, data: bytes) -> np.ndarray:
        """Bytes of an output region to codes (C, H, W)."""
        return self.outputs[tensor].unpack(data)

    def real(self, codes: np.ndarray) -> np.ndarray:
        """The real values, float32, of codes of the output."""
        if self.scale is None:
            raise AlloyError(f"the program keeps no scale of its output {self.output}, so its codes have no real "
                             "values: export the network again")
        return ((codes - self.zero) * self.scale).astype(np.float32)

    def facts(self) -> list[tuple[str, str]]:
        """What there is to know of it, as (name, value) for people."""
        out = self.outputs[self.output]
        return [("configuration", self.digest),
                ("input", f"{self.input.channels} x {self.input.height} x {self.input.width}"),
                ("output", f"{out.channels} x {out.height} x {out.width}"), ("layers", f"{len(self.layers)}"),
                ("multiply-accumulates", f"{sum(layer.macs for layer in self.layers):,}"),
                ("commands", f"{self.command_count:,}"), ("image", f"{len(self.image):,} bytes"),
                ("DRAM", f"{self.window_size:,} bytes")]

    def __repr__(self) -> str:
        return short("Program", self.facts())

    def _repr_html_(self) -> str:
        return html("Program", self.facts())

    @property
    def commands(self) -> list[bytes]:
        """The commands as a list of 128-byte records."""
        start = self.command_offset
        return [self.image[start + i * COMMAND_BYTES:start + (i + 1) * COMMAND_BYTES]
                for i in range(self.command_count)]

    def save(self, path: str | PathLike) -> None:
        """Write one file; an existing file is replaced only when the new one is complete."""
        meta = {"format": FORMAT, "command_offset": self.command_offset, "command_count": self.command_count,
                "window_size": self.window_size, "input": asdict(self.input),
                "output": self.output, "source": self.source, "classes": self.classes,
                "tensors": [tensor.form() for tensor in self.tensors.values()],
                "outputs": {n: asdict(r) for n, r in self.outputs.items()},
                "layers": [asdict(x) for x in self.layers]}
        with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("program.json", json.dumps(meta, default=int))
            file.writestr("image.bin", self.image)

    @classmethod
    def load(cls, path: str | PathLike) -> "Program":
        """Read :meth:`save`'s file; any damage is one :class:`AlloyError`."""
        data = read_bytes(path, "program file")
        check_unpacked(path, data)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                meta, image = parse_json(file.read("program.json")), file.read("image.bin")
        except (ValueError, OSError, KeyError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
                zlib.error):
            raise AlloyError(f"{path} is not a whole Alloy program: it looks like {looks_like(data, path)}; compile "
                             "the network again") from None
        try:
            return _program(meta, image)
        except AlloyError as error:
            raise AlloyError(f"{path} is not a whole Alloy program: {error}; compile the network again") from None


def _program(meta, image):
    """The program that :meth:`Program.save` described by ``meta``."""
    if meta.pop("format", 1) != FORMAT:
        raise AlloyError(f"it is not of format {FORMAT}, which this Alloy reads")
    for name, wanted in (("outputs", dict), ("layers", list), ("tensors", list), ("classes", list)):
        if not isinstance(meta.get(name), wanted):
            raise AlloyError(f"program {name} is no {'object' if wanted is dict else 'list'}")
    parts = {"input": from_values(Image, meta.get("input"), "image"),
             "outputs": {name: from_values(Region, values, "region") for name, values in meta["outputs"].items()},
             "layers": tuple(from_values(Layer, values, "layer") for values in meta["layers"]), "image": image,
             "tensors": {t.name: t for t in (from_values(Tensor, values, "tensor") for values in meta["tensors"])},
             "classes": tuple(meta["classes"])}
    program = from_values(Program, meta | parts, "program")
    start, count = program.command_offset, program.command_count
    if min(start, count) < 0 or start + count * COMMAND_BYTES > len(image):
        raise AlloyError(f"program has {count} commands at {start}, beyond its image of {len(image)} bytes")
    if any(r.offset < 0 or r.offset + r.size > program.window_size for r in (program.input, *program.outputs.values())):
        raise AlloyError(f"program has a tensor outside its window of {program.window_size} bytes")
    if program.output not in program.outputs:
        raise AlloyError(f"program has the output {program.output!r} and no region for it")
    if not {program.source, *program.outputs} <= set(program.tensors):
        raise AlloyError("program has an image or an output that its list of tensors does not describe")
    return program
