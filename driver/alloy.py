"""An engine as an object: load a program, run images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from os import PathLike
import time

import numpy as np

from spec.commands import ERROR_TEXT, VERSION, Error
from spec.errors import AlloyError
from spec.program import Bank, Program, banks
from spec.registers import ID, REGISTERS

from .backend import Backend, Buffer

__all__ = ["Alloy", "LAYOUTS"]

LAYOUTS = {"HWC": (2, 0, 1), "CHW": (0, 1, 2)}      # axes of an image -> channels, rows, columns
REGISTER = {r.name: r.offset for r in REGISTERS}
BIT = {(r.name, b.name): b for r in REGISTERS for b in r.bits}
HUNG = "the bus does not answer: reset the engine and its bus (load the bitstream again)"
ABORT_SECONDS = 2.0     # in which transfers under way must have been answered
COUNTERS = ("COMMANDS", "ARRAY_CYCLES", "LOAD_CYCLES", "STORE_CYCLES", "POST_CYCLES")


@dataclass(frozen=True)
class _Loaded:
    """A program in memory."""
    program: Program
    buffer: Buffer
    banks: tuple[Bank, Bank]


class Alloy:
    """One engine.

    Parameters
    ----------
    engine : bitstream (``alloy.bit``, on a board with PYNQ), or a :class:`driver.Backend`.
    program : of :meth:`load`, if one is known already.
    name : of the engine in the block design, if there are several.
    timeout : seconds that a run may take.

    ``cycles`` are those of the images of the last call, one for each.
    """

    def __init__(self, engine: str | PathLike | Backend, program: str | PathLike | Program | None = None, *,
                 name: str | None = None, timeout: float = 10.0):
        if isinstance(engine, str | PathLike):
            from .on_pynq import Pynq
            engine = Pynq(engine, name)
        self._backend, self._timeout = engine, timeout
        self._loaded: _Loaded | None = None
        self._buffers: dict[bytes, Buffer] = {}     # by the hash of the image in them
        self.cycles: list[int] = []
        if self._get("ID") != ID:
            raise AlloyError(f"no Alloy engine answers here: the register ID is {self._get('ID'):#x}")
        if self._get("VERSION") != VERSION:
            raise AlloyError(f"the engine has version {self._get('VERSION')} of the tables, this is version {VERSION}: "
                             "take the driver of its build")
        self.digest = f"{self._get('DIGEST'):08x}"
        self._put("IRQ_ENABLE", 0)
        if self._flag("busy"):
            self.abort()
        if program is not None:
            self.load(program)

    def __enter__(self) -> "Alloy":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the engine and give its memory back."""
        if self._flag("busy"):
            self.abort()
        self._loaded = None
        self._buffers.clear()
        self._backend.close()

    @property
    def program(self) -> Program:
        """The one that was loaded last."""
        if self._loaded is None:
            raise AlloyError("no program is loaded: load one")
        return self._loaded.program

    def load(self, program: str | PathLike | Program) -> "Alloy":
        """Put a program, or the file of one, into memory; runs are of it from now on. Memory of an earlier one is kept
        for the next time that it is loaded."""
        if not isinstance(program, Program):
            program = Program.load(program)
        program.readable()
        if program.digest != self.digest:
            raise AlloyError(f"the program was compiled for configuration {program.digest}, this engine is "
                             f"{self.digest}: compile it for this one")
        both = banks(program)
        key = sha256(program.image).digest()
        if key not in self._buffers:
            self._buffers[key] = self._backend.allocate(both[1].end)
        buffer = self._buffers[key]
        for at, data in ((0, program.image), (both[1].command_offset, both[1].commands)):
            buffer.bytes[at:at + len(data)] = np.frombuffer(data, np.uint8)
            buffer.flush(at, len(data))
        self._loaded = _Loaded(program, buffer, both)
        return self

    def codes(self, images: np.ndarray, layout: str = "HWC") -> np.ndarray:
        """Codes of the output, int64: (N, C), or (N, C, H, W) if it is a map; without N for a single image.

        ``images`` : uint8 (N, H, W, C) or (H, W, C), or (.., C, H, W) if ``layout`` is "CHW". Gray ones may be (H, W).
        The next image is prepared while the engine works.
        """
        batch, single = self._maps(np.asarray(images), layout)
        name = self.program.output
        out = np.stack([tensors[name] for tensors in self._each(batch, (name,))])
        out = out[:, :, 0, 0] if out.shape[2:] == (1, 1) else out
        return out[0] if single else out

    def tensors(self, image: np.ndarray, layout: str = "HWC") -> dict[str, np.ndarray]:
        """Codes (C, H, W) of everything that the program keeps, of one image."""
        batch, single = self._maps(np.asarray(image), layout)
        if not single:
            raise AlloyError(f"{len(batch)} images are given: give one, with its own dimensions alone")
        return next(self._each(batch, tuple(self.program.outputs)))

    def run(self, images: np.ndarray, layout: str = "HWC") -> np.ndarray:
        """The real values of :meth:`codes`, float32: what the float model would have computed, but for quantization."""
        return self.program.real(self.codes(images, layout))

    def classify(self, images: np.ndarray, layout: str = "HWC") -> list[str | int] | str | int:
        """The class of each image, or of one: its name if the program keeps names, else its number."""
        output = self.program.outputs[self.program.output]
        if output.height * output.width != 1:
            raise AlloyError("the output of the program is a map, not one value for each class: use codes or run")
        codes = self.codes(images, layout)
        names = self.program.classes or range(codes.shape[-1])
        best = codes.argmax(-1)
        return names[int(best)] if codes.ndim == 1 else [names[int(n)] for n in best]

    def counters(self) -> dict[str, int]:
        """Of the last image: cycles, commands, and cycles in which each unit worked."""
        low = self._get("CYCLES_LO")        # keeps the high half
        return {"cycles": low | self._get("CYCLES_HI") << 32, **{name.lower(): self._get(name) for name in COUNTERS}}

    def abort(self) -> None:
        """Stop what runs; the engine can be started again."""
        self._put("CTRL", BIT["CTRL", "abort"].mask)
        end = time.monotonic() + ABORT_SECONDS
        while self._flag("busy"):
            if self._flag("error") and self._code() == Error.TIMEOUT or time.monotonic() > end:
                raise AlloyError(HUNG)
            self._backend.pause()

    def _maps(self, images, layout):
        """(images (N, C, H, W), whether it is one)."""
        if layout not in LAYOUTS:
            raise AlloyError(f"there is no layout {layout!r} of an image: choose {', '.join(LAYOUTS)}")
        source = self.program.tensors[self.program.source]
        wanted = tuple(np.array(source.shape)[np.argsort(LAYOUTS[layout])].tolist())
        found = images
        if source.channels == 1 and found.shape[-2:] == source.shape[1:] and found.shape != wanted:
            found = found[..., None] if layout == "HWC" else found[..., None, :, :]
        single = found.ndim == 3
        found = found[None] if single else found
        if found.ndim != 4 or found.shape[1:] != wanted or not len(found):
            raise AlloyError(f"the images are of shape {images.shape}: the program reads "
                             f"{' x '.join(map(str, wanted))} ({layout}), one or several")
        return found.transpose(0, *(1 + axis for axis in LAYOUTS[layout])), single

    def _each(self, batch: Iterable[np.ndarray], names: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
        """Codes of outputs, image by image: the next one is laid out while the engine works."""
        loaded, self.cycles = self._loaded, []
        assert loaded is not None
        packed = (loaded.program.pack_input(image) for image in batch)
        number, following = 0, next(packed, None)
        self._lay_out(loaded, 0, following)
        try:
            while following is not None:
                self._start(loaded, number % 2)
                following = next(packed, None)
                if following is not None:
                    self._lay_out(loaded, 1 - number % 2, following)
                self._wait()
                yield {name: self._read(loaded, number % 2, name) for name in names}
                number += 1
        finally:
            if self._flag("busy") and not self._flag("error"):
                self.abort()        # the next image was none

    def _lay_out(self, loaded, bank, data):
        at = loaded.banks[bank].input
        loaded.buffer.bytes[at:at + len(data)] = np.frombuffer(data, np.uint8)
        loaded.buffer.flush(at, len(data))

    def _read(self, loaded, bank, name):
        at, size = loaded.banks[bank].outputs[name], loaded.program.outputs[name].size
        loaded.buffer.invalidate(at, size)
        return loaded.program.unpack(name, loaded.buffer.bytes[at:at + size].tobytes())

    def _start(self, loaded, bank):
        address = loaded.buffer.address
        self._put("BASE_LO", address & 0xFFFFFFFF)
        self._put("BASE_HI", address >> 32)
        if self._get("BASE_LO") | self._get("BASE_HI") << 32 != address:
            raise AlloyError(f"the memory begins at {address:#x}, which the engine cannot address: give memory at "
                             "lower addresses, or build the engine with more addr_bits")
        self._put("SIZE", loaded.banks[1].end)
        self._put("CMD_OFFSET", loaded.banks[bank].command_offset)
        self._put("CMD_COUNT", loaded.program.command_count)
        for name, at in loaded.banks[bank].outputs.items():     # no line of the cache may be written over them later
            loaded.buffer.invalidate(at, loaded.program.outputs[name].size)
        self._put("IRQ_STATUS", 3)
        self._put("CTRL", BIT["CTRL", "start"].mask)

    def _wait(self):
        """Until the end of a run, whose cycles are kept."""
        end = time.monotonic() + self._timeout
        while self._flag("busy") and not self._flag("error"):
            if time.monotonic() > end:
                self.abort()
                raise AlloyError(f"the engine works for more than {self._timeout:g} seconds: it was stopped, give more "
                                 "with timeout")
            self._backend.pause()
        if self._flag("error"):
            if self._flag("busy"):
                raise AlloyError(HUNG)
            raise AlloyError(f"the engine stopped in layer {self._field('tag')} with code {self._code()}: "
                             f"{ERROR_TEXT.get(self._code(), 'no code of this version')}")
        self.cycles.append(self.counters()["cycles"])

    def _get(self, name):
        return self._backend.read(REGISTER[name])

    def _put(self, name, value):
        self._backend.write(REGISTER[name], value)

    def _field(self, name):
        bits = BIT["STATUS", name]
        return (self._get("STATUS") & bits.mask) >> bits.lo

    def _flag(self, name):
        return bool(self._field(name))

    def _code(self):
        return self._field("code")
