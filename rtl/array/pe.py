"""What both kinds of processing element share: hop registers, accumulators and drain."""

from collections.abc import Sequence
from itertools import product

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Member, Out

from spec import latency
from spec.config import DSP_DEVICES, EngineConfig
from spec.errors import AlloyError
from spec.rows import ROW_TAPS, lane
from spec.systems import DIGIT_BITS

from ..prim import STEP, Block, Parameter, delay

__all__ = ["Element", "act_layout"]


def act_layout(config: EngineConfig | Block) -> data.ArrayLayout:
    """Digits of one pixel pair: 2 x ic."""
    return data.ArrayLayout(data.ArrayLayout(config.act_digit_bits, config.ic), 2)


class Element(Block):
    """A processing element: filter slots by two pixels, ``ic`` channels of each in a cycle.

    Activations and step hop right, weights hop down, results leave up. A tile is one to any number of steps; between
    its steps may be any cycles without one. Its results leave ``latency`` cycles after its last step, in the order
    ``[2*slot + pixel]``; whatever the row below offers follows or goes before, one of them in each cycle.

    Parameters
    ----------
    ic, act_digit_bits, acc_width, row_taps, dsp_device, portable_dsp : as in :class:`spec.config.EngineConfig`.
    total_latency : cycles from the hop registers to the totals, at least those that the element needs: elements of both
        kinds drain in step.

    Members
    -------
    step, acts, weights : one k-step: its place in the tile, digits of two pixels, nibbles of the slots, slot-major.
    step_out, acts_out, weights_out : the same, a cycle later.
    previous : with ``row_taps``, of the pixel pair before, the digits of the first channels, one for each slot, of the
        k-step that is at ``step_out``: those that it meets ``in_row``.
    below, below_valid : results from the row below.
    drain, drain_valid : results to the row above.

    Raises
    ------
    AlloyError : a parameter out of range, or too small a ``total_latency``.
    """
    SLOTS = 0       # filter slots

    ic = Parameter()
    act_digit_bits = Parameter(high=8)
    acc_width = Parameter(2)
    row_taps = Parameter(high=ROW_TAPS)
    dsp_device = Parameter(choices=DSP_DEVICES)
    portable_dsp = Parameter(choices=(False, True))
    total_latency = Parameter(0)

    @property
    def latency(self) -> int:
        return latency.element(self.total_latency)

    @property
    def own_latency(self) -> int:
        """The least ``total_latency``."""
        raise NotImplementedError

    def check(self) -> None:
        if self.total_latency < self.own_latency:
            raise AlloyError(f"a {type(self).__name__} has its totals after {self.own_latency} cycles, not after "
                             f"{self.total_latency}: give total_latency {self.own_latency} or more")

    def members(self) -> dict[str, Member]:
        results = data.ArrayLayout(signed(self.acc_width), 2 * self.SLOTS)
        weights = DIGIT_BITS * self.SLOTS * self.ic
        previous = data.ArrayLayout(data.ArrayLayout(self.act_digit_bits, self.SLOTS), 2)
        return {"step": In(STEP), "acts": In(act_layout(self)), "weights": In(weights),
                **({"previous": In(previous)} if self.row_taps > 1 else {}),
                "step_out": Out(STEP), "acts_out": Out(act_layout(self)), "weights_out": Out(weights),
                "below": In(results), "below_valid": In(1), "drain": Out(results), "drain_valid": Out(1)}

    def hop(self, m: Module) -> None:
        """The hop registers; everything else in the element works on their outputs."""
        m.d.sync += self.step_out.eq(self.step)
        m.d.comb += [out.eq(delay(m, value, 1, plain=True)) for out, value in (
            (self.acts_out, self.acts), (self.weights_out, self.weights))]

    def digits(self, slot: int, channel: int) -> Value:
        """The nibble of one weight."""
        return self.weights_out[DIGIT_BITS * (slot * self.ic + channel):][:DIGIT_BITS]

    def operands(self) -> list[list[Value]]:
        """Digits of both pixels that the weights of each channel meet: in a row of taps, on lanes behind those of the
        slots, the slots' channels of the pixels before (:func:`spec.rows.lane`)."""
        out = [[self.acts_out[pixel][i] for i in range(self.ic)] for pixel in range(2)]
        for pixel, back, slot in product(range(2), range(1, self.row_taps), range(self.SLOTS)):
            source = self.acts_out[pixel - back] if pixel >= back else self.previous[2 + pixel - back]
            at = lane(slot, back, self.SLOTS, self.ic)
            out[pixel][at] = Mux(self.step_out.in_row, source[slot], self.acts_out[pixel][at])
        return out

    def finish(self, m: Module, totals: Sequence[Value], bias: int) -> None:
        """Accumulate and drain ``totals``: one unsigned sum for each result, ``own_latency`` cycles after the hop
        registers, each ``bias`` too large.
        """
        step = data.View(STEP, delay(m, self.step_out, self.total_latency))
        done = Signal()
        m.d.sync += [done.eq(step.valid & step.last), self.drain_valid.eq(done | self.below_valid)]
        for k, total in enumerate(totals):
            total = delay(m, total, self.total_latency - self.own_latency, plain=True)
            width = (2 * bias - 1).bit_length()     # every total is below twice the bias
            value = Signal(signed(width + 1), name=f"value{k}")
            acc = Signal(signed(self.acc_width), name=f"acc{k}", reset_less=True)
            if bias == 1 << width - 1:
                # Inverting the top bit takes the bias away.
                m.d.comb += value.eq((total[:width] ^ bias).as_signed())
            else:
                m.d.comb += value.eq(total - bias)
            with m.If(step.valid):
                m.d.sync += acc.eq(value + Mux(step.first, 0, acc))
            m.d.comb += self.drain[k].eq(delay(m, Mux(done, acc, self.below[k]), 1, plain=True).as_signed())
