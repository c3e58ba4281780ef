"""Scaling of channels by numbers that the network computes: the engine writes them into parameter records itself.

The requantizer multiplies each filter's sums by a number from its parameter record in DRAM. Filters that pass on one
channel each, with records whose multipliers are the codes of ``factor``, are the scaling. A record is 16 bytes, a code
is one: a copy of ``factor`` with a pixel for each channel group is filtered into a map of bytes (:class:`Records`),
among those that are the same whatever the codes, and stored where :class:`Product` loads its parameters from.

Signed factors (of a zero point) take two slots, joined: ``16 * zero`` times ``-weight * x`` and ``16 * code`` times
``weight * x``.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import KW_ONLY, dataclass, replace

from spec.commands import PARAM_BYTES
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.systems import DIGIT_BITS

from .emit import GroupsWork, PoolWork, ProductWork, RecordsWork, Work
from .emit.parameters import MULT, records
from .graph import Value
from .operations import Filters, Operation

__all__ = ["Groups", "Product", "Records", "RecordLayout"]


@dataclass(frozen=True)
class RecordLayout:
    """Where the records of one channel group lie in a row of bytes.

    Attributes
    ----------
    width : channels of a group.
    units : slots of the array, each the first of those that one channel takes. A filter tile has a channel in each.
    size : bytes of the records of a tile, of which there are :attr:`parts` in a row.
    joined : whether a channel takes two slots.
    fixed : of each channel, the bytes of its records, with 0 for its code.
    """
    width: int
    units: tuple[int, ...]
    size: int
    joined: bool
    fixed: tuple[bytes, ...]

    @classmethod
    def of(cls, name: str, width: int, bias: int, mult: int, config: EngineConfig) -> "RecordLayout":
        """For the layer ``name``, whose records have this ``bias`` and, if ``mult`` is not 0, two slots with ``mult``
        in the first."""
        joined, size = mult > 0, config.act_group_bytes
        fixed = tuple(b"".join(records(mult, bias, lane, False, joined, next_mult=0)) for lane in range(width))
        code = len(fixed[0]) - PARAM_BYTES + MULT
        # Bytes behind the ``ic`` codes of a group are 0, whatever is stored.
        used = {code, *(at for record in fixed for at, byte in enumerate(record) if byte)}
        units = [slot for slot in range(0, config.dsp_filters, 1 + joined)
                 if all((PARAM_BYTES * slot + at) % size < config.ic for at in used)]
        if not units:
            raise AlloyError(f"layer {name} scales channels by what the network computes, which takes DSP filters and "
                             f"parameter records that are written as {config.ic} codes in each {size} bytes: "
                             + ("give dsp_filters" if not config.dsp_filters else
                                f"choose an ic that is a multiple of {config.port_bytes} (port_bits / 8)"))
        whole = -(-config.slots * PARAM_BYTES // size) * size
        return cls(width, tuple(units), whole, joined, fixed)

    @property
    def parts(self) -> int:
        """Filter tiles of a channel group."""
        return -(-self.width // len(self.units))

    def slots(self, channels: int) -> list[tuple[int, int, int]]:
        """(tile, first slot, byte of the row that is the code) of each of the first channels of a group."""
        out = []
        for channel in range(channels):
            part, unit = divmod(channel, len(self.units))
            slot = self.units[unit]
            out.append((part, slot, part * self.size + PARAM_BYTES * (slot + self.joined) + MULT))
        return out

    def row(self, channels: int) -> bytes:
        """The bytes of the records of a group with so many channels, with 0 for the codes."""
        row = bytearray(self.parts * self.size)
        for (part, slot, _), record in zip(self.slots(channels), self.fixed, strict=False):
            at = part * self.size + PARAM_BYTES * slot
            row[at:at + len(record)] = record
        return bytes(row)


@dataclass(frozen=True, eq=False)
class Groups(Operation):
    """A copy of a 1x1 map whose channel groups are rows of pixels."""

    @property
    def kernel(self) -> tuple[int, int]:
        return 1, 1

    def faults(self) -> Iterator[str]:
        if (self.input.height, self.input.width, self.output.width) != (1, 1, 1):
            yield "spreads the channels of a map that is not 1x1"

    def work(self, config: EngineConfig, cuts: Collection[int] = ()) -> PoolWork:
        return GroupsWork(self, config)


@dataclass(frozen=True, eq=False)
class Records(Filters):
    """Rows of bytes, the parameter records of a channel group in each, from the group's codes. ``channels`` is the
    number of all channels."""
    _: KW_ONLY
    layout: RecordLayout
    channels: int

    @property
    def kernel(self) -> tuple[int, int]:
        return 1, 1

    def work(self, config: EngineConfig, cuts: Collection[int] = ()) -> Work:
        return RecordsWork(self, config)


@dataclass(frozen=True, eq=False)
class Product(Filters):
    """``weight`` times each channel of the input times the number of the channel in ``factor``, requantized as by a
    convolution. ``records`` are those of ``factor``, once a pass has made them, ``layout`` tells where."""
    _: KW_ONLY
    factor: Value
    weight: int
    records: Value | None = None
    layout: RecordLayout | None = None

    @property
    def kernel(self) -> tuple[int, int]:
        return 1, 1

    @property
    def reads(self) -> list[Value]:
        return [*super().reads, self.records or self.factor]

    @property
    def from_dram(self) -> list[Value]:
        return [] if self.records is None else [self.records]

    def mapped(self, change: Callable[[Value], Value]) -> "Product":
        return replace(self, input=change(self.input), output=change(self.output), factor=change(self.factor),
                       residual=None if self.residual is None else change(self.residual),
                       records=None if self.records is None else change(self.records))

    def ties(self) -> Iterator[tuple[Value, Value]]:
        yield from super().ties()
        yield self.input, self.output
        yield self.factor, self.output

    def faults(self) -> Iterator[str]:
        if (self.factor.channels, self.factor.height, self.factor.width) != (self.input.channels, 1, 1):
            yield f"scales {self.input.channels} channels by {self.factor.name}"
        yield from super().faults()

    def expanded(self, config: EngineConfig) -> list[Operation]:
        """The operation behind those that make its records."""
        factor, out = self.factor, self.output
        times = DIGIT_BITS if factor.zero else 0        # of the sums of joined slots, in powers of two
        shift, res_mult = self.shift + times, self.res_mult << times
        bias = (1 << shift - 1) + (out.zero << shift) - (self.residual.zero * res_mult if self.residual else 0)
        layout = RecordLayout.of(self.name, min(config.ic, factor.channels), bias, factor.zero << times, config)
        rows = factor.groups(config.ic)
        spread = replace(factor, name=f"{self.name}.codes", channels=layout.width, height=rows)
        codes = layout.parts * layout.size // config.act_group_bytes * config.ic
        made = Value(f"{self.name}.records", codes, rows, 1, 8, 0)
        return [Groups(spread.name, self.tag, factor, spread),
                Records(made.name, self.tag, spread, made, layout=layout, channels=factor.channels),
                replace(self, shift=shift, res_mult=res_mult, records=made, layout=layout)]

    def work(self, config: EngineConfig, cuts: Collection[int] = ()) -> Work:
        return ProductWork(self, config)
