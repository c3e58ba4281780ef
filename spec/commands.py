"""The command table: one fixed-size record per command, its fields, and the small records that commands load.

A program is START, commands, END. A command is 128 bytes, little endian. Every opcode has the same header; the rest is
one table of fields shared by the opcodes that use them (``FIELDS[name].opcodes``). Reserved bits are zero.
All DRAM addresses are byte offsets from the engine's window base (:mod:`spec.registers`).
The page ``docs/commands.md`` is generated from this table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from .errors import AlloyError

__all__ = ["Opcode", "Error", "ERROR_TEXT", "Field", "FIELDS", "IMAGE_FIELDS", "POSTED", "TAP_FIELDS", "PARAM_FIELDS",
           "VIEW_FIELDS", "COMMAND_BYTES", "TAP_BYTES", "PARAM_BYTES", "TABLE_RECORDS", "SUM_BITS", "QUEUES",
           "FETCH_AHEAD", "TOGETHER", "LOADS_AHEAD", "LAYOUT", "VERSION", "SEMAPHORES", "SEMAPHORE_MAX", "MAGIC",
           "pack", "unpack", "pack_record", "pack_records", "unpack_record", "used_bits", "used_width"]

COMMAND_BYTES = 128
TAP_BYTES = 16
PARAM_BYTES = 16        # so has every record: a tap, 16 codes of a table
TABLE_RECORDS = 16      # records of a table of 256 codes
SUM_BITS = 48           # of the requantizer's sums, and so of a parameter record's bias
SEMAPHORES = 8
SEMAPHORE_MAX = 255     # one more given than this is an error
MAGIC = 0xA1            # a command without it is malformed
FETCH_AHEAD = 16        # commands on the way or waiting: a request waits while another user's long one is under way
TOGETHER = 4            # commands of one request
LOADS_AHEAD = 3         # loads whose data may be on the way
VERSION = 3             # of the tables: raised when a register or field keeps its place and means something else


class Opcode(IntEnum):
    END = 1             # done when everything before it is done
    LOAD_WEIGHTS = 2    # load queue
    LOAD_PARAMS = 3     # load queue
    LOAD_TAPS = 4       # load queue
    LOAD_ACT = 5        # load queue
    CONV = 6            # compute queue
    POOL = 7            # compute queue
    STORE_ACT = 8       # store queue
    LOAD_TABLES = 9     # load queue
    START = 10          # the first command of every program, and no other


# The queue of every opcode but START and END.
QUEUES = {Opcode.LOAD_WEIGHTS: "load", Opcode.LOAD_PARAMS: "load", Opcode.LOAD_TAPS: "load",
          Opcode.LOAD_TABLES: "load", Opcode.LOAD_ACT: "load", Opcode.CONV: "compute", Opcode.POOL: "compute",
          Opcode.STORE_ACT: "store"}


class Error(IntEnum):
    """Status code of a stopped engine; :data:`ERROR_TEXT` has the words."""
    NONE = 0
    OPCODE = 1
    FIELD = 2
    WINDOW = 3
    READ = 4
    WRITE = 5
    SEMAPHORE = 6
    TIMEOUT = 7
    ABORT = 8
    PROGRAM = 9


ERROR_TEXT = {
    Error.NONE: "no error",
    Error.OPCODE: "unknown opcode, wrong magic byte, a second START, or no END among the commands",
    Error.FIELD: "a field outside what this configuration has",
    Error.WINDOW: "the program or a command's DRAM region leaves the window, or the window the address space",
    Error.READ: "AXI read response was not OKAY",
    Error.WRITE: "AXI write response was not OKAY",
    Error.SEMAPHORE: f"a semaphore beyond {SEMAPHORE_MAX}, or a command waits for one that nothing gives",
    Error.TIMEOUT: "the watchdog saw no progress",
    Error.ABORT: "stopped by the host",
    Error.PROGRAM: "the first command is not the START of a program for this configuration and version; "
                   "nothing was run",
}


@dataclass(frozen=True)
class Field:
    """Bits ``lo .. lo+width-1`` of a record."""
    name: str
    lo: int
    width: int
    text: str
    opcodes: tuple[Opcode, ...] = ()
    signed: bool = False

    @cached_property
    def limits(self) -> tuple[int, int]:
        """Least and largest value."""
        return (-(1 << self.width - 1), (1 << self.width - 1) - 1) if self.signed else (0, self.mask)

    @cached_property
    def mask(self) -> int:
        """As many ones as it has bits."""
        return (1 << self.width) - 1


def _lay(start, rows, opcodes=()):
    out, lo = [], start
    for name, width, text, *rest in rows:
        signed = width < 0
        out.append(Field(name, lo, abs(width), text, tuple(rest[0]) if rest else opcodes, signed))
        lo += abs(width)
    return out, lo


def used_bits(fields: Iterable[Field]) -> list[tuple[int, int]]:
    """Ranges ``(first, end)`` of the bits of ``fields``, which may lie over each other, in order and apart."""
    out: list[tuple[int, int]] = []
    for first, end in sorted((f.lo, f.lo + f.width) for f in fields):
        if out and first <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((first, end))
    return out


def used_width(fields: Iterable[Field]) -> int:
    """Number of these bits."""
    return sum(end - first for first, end in used_bits(fields))


# Where the pixels of a tensor (or of a part of it) lie in an activation memory. A tensor is 1, 2 or 4 phase planes
# (by parity of row and column, for strided readers), each a row-major sequence of pixels Q; pixel Q lies in bank
# Q mod pixels at address base + (Q div pixels) * groups + group.
VIEW_FIELDS = ([(f"row_addr{p}", 16, f"address of the first row's first pixel in phase plane {p} (2*row parity + "
                 "column parity)") for p in range(4)]
               + [(f"row_bank{p}", 8, f"bank of the same pixel, plane {p}") for p in range(4)]
               + [("cur_addr0", 16, "address of the first pixel to visit, even columns"),
                  ("cur_addr1", 16, "the same, odd columns"),
                  ("cur_bank0", 8, "bank of the first pixel, even columns"), ("cur_bank1", 8, "the same, odd columns"),
                  ("step_addr", 16, "one plane row further: address step"), ("step_bank", 8, "and bank step"),
                  ("groups", 8, "channel groups of the tensor"),
                  ("phase_x", 1, "planes by column parity"), ("phase_y", 1, "planes by row parity"),
                  ("par_x", 1, "parity of the first column"), ("par_y", 1, "parity of the first row"),
                  ("reserved", 4, "zero")])

_C, _P, _W, _S = (Opcode.CONV,), (Opcode.POOL,), (Opcode.LOAD_WEIGHTS,), (Opcode.START,)
_LOADS = (Opcode.LOAD_WEIGHTS, Opcode.LOAD_PARAMS, Opcode.LOAD_TAPS, Opcode.LOAD_TABLES)
_ACTS = (Opcode.LOAD_ACT, Opcode.STORE_ACT)
_ALL = tuple(Opcode)

_header, _end = _lay(0, [
    ("opcode", 8, "what to do"),
    ("wait", 8, "semaphores to take before it starts"),
    ("give", 8, "semaphores to give when its last write has landed"),
    ("release", 8, "CONV: semaphores to give when its weights, taps and input are no longer read"),
    ("tag", 16, "number of the layer, for traces and error reports"),
    ("reserved0", 8, "zero"),
    ("magic", 8, f"0x{MAGIC:02x}"),
], _ALL)
_start, _last = _lay(_end, [
    ("digest", 32, "configuration that the program was compiled for, as in the register DIGEST"),
    ("version", 32, "of the tables that it was compiled with, as in the register VERSION"),
], _S)
_move, _end = _lay(_end, [
    ("dram", 32, "first byte", _LOADS + _ACTS),
    ("stride", 32, "LOAD_WEIGHTS: distance of the ports' streams; LOAD_ACT, STORE_ACT: distance of rows; bytes",
     _W + _ACTS),
    ("dst", 16, "first k-word, parameter record, tap entry or record of tables (16 codes) written", _LOADS),
    ("count", 16, "number of them", _LOADS),
    ("rows", 16, "rows of the region", _ACTS + _C + _P),
    ("cols", 16, "columns of the region", _ACTS + _C + _P),
])
_coded, _last = _lay(_end, [
    ("beats", 32, "wide beats of coded weights; 0: the weights are stored plainly"),
    ("codes", 48, "length of the code of each nibble, 3 bits each; 0: absent"),
], _W)
_out, _end = _lay(_end, [("out_" + n, w, t) for n, w, t in VIEW_FIELDS], _ACTS + _C + _P)
_image, _last = _lay(_end, [
    ("image", 1, "rows of bytes, each pixel a window of `ic` of them; 0: rows of channel groups"),
    ("pair", 1, "image: of two rows, a window of `ic` div 2 bytes of the first and the rest of the second"),
    ("above", 1, "image: the first row, of a pair the first one, lies outside and is not read"),
    ("below", 1, "image: the last row, of a pair the second one, lies outside and is not read"),
    ("bytes", 18, "image: of a row"),
    ("before", 12, "image: bytes from the first window of a row to its first byte"),
    ("step", 14, "image: bytes from one window to the next"),
    ("fill", 8, "image: code outside"),
], (Opcode.LOAD_ACT,))
_res, _stop = _lay(_end, [("res_" + n, w, t) for n, w, t in VIEW_FIELDS], _C + _P)
_conv, _last = _lay(_stop, [
    ("tap_base", 16, "first tap entry", _C + _P),
    ("taps", 16, "number of taps", _C + _P),
    ("groups", 16, "channel groups of the input", _C + _P),
    ("depth", 16, "channel groups that are summed, from that of in_base on"),
    ("tiles", 16, "pixel tiles"),
    ("in_base", 16, "input address of the first tile; it may lie behind the memory, where the offsets of the taps "
     "lead back"),
    ("weight_base", 16, "first k-word"),
    ("param_base", 16, "first parameter record"),
    ("pitch", 16, "columns of the enumeration (input plane pitch); POOL: the same as cols", _C + _P),
    ("step_y", 16, "pixels of a tile div pitch"),
    ("step_x", 16, "pixels of a tile mod pitch"),
    ("start_y", 16, "row of the first pixel"),
    ("start_x", 16, "column of the first pixel"),
    ("res_mult", 16, "multiplier of the residual code"),
    ("zero", 8, "activation code that padding reads"),
    ("shift", 8, "right shift of the requantizer"),
    ("lo", 8, "smallest output code"),
    ("hi", 8, "largest output code"),
    ("wide", 1, "input codes of more than one digit: lanes 2j and 2j+1 hold low and high digit of pixel j"),
    ("half", 1, "wide: the first tile starts in the middle of a bank row"),
    ("acc_first", 1, "restart the accumulators at the first k-step"),
    ("acc_last", 1, "drain the accumulators at the last k-step"),
    ("residual", 1, "add the residual tensor"),
    ("straddle", 1, "the outputs lie in two adjacent channel groups"),
    ("mem_in", 1, "activation memory of the input", _C + _P),
    ("mem_res", 1, "activation memory of the residual"),
    ("mem_out", 1, "activation memory of the output; LOAD_ACT, STORE_ACT: of the tensor", _ACTS + _C + _P),
    ("table", 4, "table that the clipped code goes through, from 1; 0: none"),
    ("shared", 1, "all taps have the k-words of the first"),
    ("in_row", 1, "each slot meets codes of its own channel alone, those of the pixels before in the same row too; the "
     "lanes are one pixel before those of the output, so that the first lane is none; from another first pixel on it "
     "goes on with the tiles of the last command in a row"),
    ("reserved1", 1, "zero"),
], _C)
assert _last <= 8 * COMMAND_BYTES, _last

FIELDS = {f.name: f for f in _header + _start + _move + _coded + _out + _image + _res + _conv}
# What the feeder alone reads of a CONV, and what is read before; post and pool unit get the other fields.
_FED = ("magic", "wait", "release", "reserved0", "depth", "in_base", "weight_base", "step_y", "step_x", "zero", "half",
        "acc_first", "shared", "reserved1")
POSTED = tuple(f for f in FIELDS.values() if {Opcode.CONV, Opcode.POOL} & set(f.opcodes) and f.name not in _FED)
IMAGE_FIELDS = tuple(f.name for f in _image)

_tap, _last = _lay(0, [
    ("addr", -32, "address offset of the tap"), ("rot", 16, "bank offset, 0..pixels-1"),
    ("dy", -16, "row offset"), ("dx", -16, "column offset"),
    ("rows", 16, "valid if 0 <= row + dy < rows"), ("cols", 16, "valid if 0 <= column + dx < cols"),
    ("reserved", 16, "zero")])
assert _last == 8 * TAP_BYTES
TAP_FIELDS = {f.name: f for f in _tap}

_param, _last = _lay(0, [
    ("bias", -64, "sum of bias, half, zero points and one's-complement terms; "
     f"{SUM_BITS} bits used"),
    ("mult", 16, "requantizer multiplier"), ("lane", 8, "output channel within the group"),
    ("valid", 1, "the slot's result is an output (false for the odd half of a joined pair, which has a multiplier "
     "alone)"),
    ("join", 1, "result is this slot (even, DSP) plus 16 times the next, each times its own multiplier"),
    ("second", 1, "output lies in the second group"),
    ("reserved", 37, "zero")])
assert _last == 8 * PARAM_BYTES
PARAM_FIELDS = {f.name: f for f in _param}


_HEAD = {name: FIELDS[name] for name in ("magic", "opcode")}
# The fields of each opcode but its own.
_OWN = {opcode: {name: f for name, f in FIELDS.items() if name != "opcode" and opcode in f.opcodes}
        for opcode in Opcode}

# Which bits mean what: part of a configuration's digest, so that commands of another layout are refused.
LAYOUT = ";".join([str(VERSION), *(f"{o.name} {o.value}" for o in Opcode), *(
    f"{f.name} {f.lo} {f.width} {f.signed}" for table in (FIELDS, TAP_FIELDS, PARAM_FIELDS) for f in table.values())])


def pack_record(fields: Mapping[str, Field], values: Mapping[str, int], size: int) -> bytes:
    """Integer fields to ``size`` bytes; :class:`AlloyError` names a field that does not hold its value."""
    word = 0
    for name, value in values.items():
        f, value = fields[name], int(value)
        low, high = f.limits
        if not low <= value <= high:
            raise AlloyError(f"command field {name} is {value}, outside {low}..{high}: the tensor or buffer is too "
                             "large")
        word |= (value & f.mask) << f.lo
    return word.to_bytes(size, "little")


def pack_records(fields: Mapping[str, Field], values: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """As :func:`pack_record` for many: arrays of integers (N,) of any size to bytes, uint8 (N, ``size``)."""
    count = len(next(iter(values.values())))
    words = np.zeros((count, size // 8), "<u8")
    for name, value in values.items():
        f = fields[name]
        low, high = f.limits
        if count and not low <= value.min() <= value.max() <= high:
            pack_record(fields, {name: value.min() if value.min() < low else value.max()}, size)     # refuses it
        at, shift = divmod(f.lo, 64)
        assert shift + f.width <= 64
        words[:, at] |= (value.astype(np.int64).astype(np.uint64) & np.uint64(f.mask)) << np.uint64(shift)
    return words.view(np.uint8)


def unpack_record(fields: Mapping[str, Field], data: bytes) -> dict[str, int]:
    """Inverse of :func:`pack_record`: a dict of every field (overlaid ones included)."""
    word = int.from_bytes(data, "little")
    out = {}
    for name, f in fields.items():
        value = word >> f.lo & f.mask
        out[name] = value - (1 << f.width) if f.signed and value >> f.width - 1 else value
    return out


def pack(opcode: Opcode, **values: int) -> bytes:
    """One command as 128 bytes; fields that the opcode does not have are refused."""
    for name in values:
        if opcode not in FIELDS[name].opcodes:
            raise AlloyError(f"command {Opcode(opcode).name} has no field {name}")
    return pack_record(FIELDS, {"magic": MAGIC, **values, "opcode": int(opcode)}, COMMAND_BYTES)


def unpack(data: bytes) -> dict[str, Any]:
    """The fields of one command that its opcode has, as a dict; ``opcode`` is an :class:`Opcode`.

    Raises :class:`AlloyError` for a wrong magic byte, an unknown opcode or a wrong size.
    """
    if len(data) != COMMAND_BYTES:
        raise AlloyError(f"a command has {COMMAND_BYTES} bytes, not {len(data)}")
    head = unpack_record(_HEAD, data)
    if head["magic"] != MAGIC or head["opcode"] not in _OWN:
        raise AlloyError(f"this is no command: opcode {head['opcode']}, magic 0x{head['magic']:02x}")
    opcode = Opcode(head["opcode"])
    return {"opcode": opcode} | unpack_record(_OWN[opcode], data)
