"""A second set of buffers for the images and results of a program, so that the host works on one while the engine works
on the other."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..commands import COMMAND_BYTES, FIELDS, Opcode, unpack
from ..config import BOUNDARY
from ..errors import AlloyError
from .program import Program

__all__ = ["Bank", "banks"]

LIMIT = 1 << 32     # bytes of a window


@dataclass(frozen=True)
class Bank:
    """Where one set of buffers lies in the window.

    Attributes
    ----------
    commands : those that read and write these buffers, at ``command_offset``.
    input : offset of the image. outputs : tensor name -> offset.
    end : bytes of the window with this bank and those before it.
    """
    commands: bytes
    command_offset: int
    input: int
    outputs: Mapping[str, int]
    end: int


def banks(program: Program) -> tuple[Bank, Bank]:
    """The buffers of ``program`` as it was compiled, and others behind them: the same commands, weights and parameters,
    but the image is read, and everything that is kept is written, elsewhere.

    Raises :class:`AlloyError` if both are more than a window can hold.
    """
    regions = [program.input, *program.outputs.values()]
    first = b"".join(program.commands)
    start = _pages(program.window_size)
    at, offsets = start + _pages(len(first)), []
    for region in regions:
        offsets.append(at)
        at += _pages(region.size)
    if at >= LIMIT:
        raise AlloyError(f"the program needs {at:,} bytes for two images at once and a window has at most {LIMIT:,}: "
                         "keep fewer tensors")
    moves = [(region.offset, region.offset + region.size, new - region.offset)
             for region, new in zip(regions, offsets, strict=True)]
    second = b"".join(_moved(record, moves) for record in program.commands)
    own = {name: region.offset for name, region in program.outputs.items()}
    return (Bank(first, program.command_offset, program.input.offset, own, program.window_size),
            Bank(second, start, offsets[0], dict(zip(program.outputs, offsets[1:], strict=True)), at))


def _pages(size):
    return -(-size // BOUNDARY) * BOUNDARY


def _moved(record, moves):
    """A command whose DRAM address, if it lies in what moves (first byte, end, distance), lies there."""
    fields = unpack(record)
    if fields["opcode"] not in (Opcode.LOAD_ACT, Opcode.STORE_ACT):
        return record
    by = next((distance for first, end, distance in moves if first <= fields["dram"] < end), 0)
    return (int.from_bytes(record, "little") + (by << FIELDS["dram"].lo)).to_bytes(COMMAND_BYTES, "little")
