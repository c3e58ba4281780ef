"""Amaranth layouts of the records in :mod:`spec.commands`, and the bundles that units exchange."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Value, signed, unsigned
from amaranth.lib import data

from spec.commands import (
    COMMAND_BYTES, FIELDS, PARAM_BYTES, PARAM_FIELDS, TAP_BYTES, TAP_FIELDS, VIEW_FIELDS, Field, used_bits)
from spec.config import EngineConfig

from .block import Block

__all__ = ["COMMAND", "TAP", "PARAM", "VIEW", "STEP", "SomeFields", "view_of", "error_layout", "request_layout",
           "lanes_layout", "place_layout", "write_layout", "codes_layout", "bank_addrs_layout", "bank_data_layout"]


def _layout(fields, size):
    return data.FlexibleLayout(8 * size, {
        f.name: data.Field(signed(f.width) if f.signed else unsigned(f.width), f.lo) for f in fields.values()})


COMMAND = _layout(FIELDS, COMMAND_BYTES)
TAP = _layout(TAP_FIELDS, TAP_BYTES)
PARAM = _layout(PARAM_FIELDS, PARAM_BYTES)
VIEW = data.StructLayout({name: unsigned(width) for name, width, _ in VIEW_FIELDS})
STEP = data.StructLayout({"valid": 1, "first": 1, "last": 1, "in_row": 1})     # one k-step of the array


class SomeFields:
    """Some fields of a command, for where the others are not kept: :func:`spec.commands.used_width` bits.

    Parameters
    ----------
    fields : :class:`spec.commands.Field`; they may lie over each other.
    """

    def __init__(self, fields: Iterable[Field]):
        self._ranges = used_bits(fields)

    def pack(self, command: data.View) -> Value:
        """Their bits, side by side."""
        return Cat(command.as_value()[first:end] for first, end in self._ranges)

    def unpack(self, bits: Value) -> data.View:
        """A :data:`COMMAND` of packed ``bits``; what is in none of the fields is 0."""
        parts, at, before = [], 0, 0
        for first, end in self._ranges:
            parts += [Const(0, first - before), bits[at:at + end - first]]
            at, before = at + end - first, end
        return data.View(COMMAND, Cat(*parts, Const(0, 8 * COMMAND_BYTES - before)))


def view_of(command: data.View, prefix: str) -> data.View:
    """The view ``out`` or ``res`` of a command as a :data:`VIEW`."""
    return data.View(VIEW, Cat(command[f"{prefix}_{name}"] for name, _, _ in VIEW_FIELDS))


def error_layout() -> data.StructLayout:
    """An error of a unit: code of :class:`spec.commands.Error` and tag of the command."""
    return data.StructLayout({"valid": 1, "code": 8, "tag": 16})


def request_layout(config: EngineConfig | Block) -> data.StructLayout:
    """One request to a port: byte address, a multiple of its width, and the number of beats, at least 1."""
    return data.StructLayout({"addr": config.addr_bits, "beats": config.beat_bits})


def lanes_layout(config: EngineConfig | Block, lanes: int) -> data.ArrayLayout:
    """Accumulators ``[lane][slot]`` of some lanes."""
    return data.ArrayLayout(data.ArrayLayout(signed(config.acc_width), config.slots), lanes)


def place_layout(config: EngineConfig | Block) -> data.StructLayout:
    """Where one channel group of one pixel lies: memory, bank, address."""
    return data.StructLayout({"mem": 1, "bank": range(config.pixels), "addr": range(config.act_depth)})


def write_layout(config: EngineConfig | Block) -> data.StructLayout:
    """One channel group of one pixel to be written: place and codes."""
    return data.StructLayout({"place": place_layout(config), "data": codes_layout(config)})


def codes_layout(config: EngineConfig | Block) -> data.ArrayLayout:
    """One 8-bit code for each of ``ic`` channels."""
    return data.ArrayLayout(8, config.ic)


def bank_addrs_layout(config: EngineConfig | Block) -> data.ArrayLayout:
    """One address for each bank."""
    return data.ArrayLayout(range(config.act_depth), config.pixels)


def bank_data_layout(config: EngineConfig | Block) -> data.ArrayLayout:
    """One word of codes from each bank."""
    return data.ArrayLayout(codes_layout(config), config.pixels)
