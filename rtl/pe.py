"""What both kinds of processing element share: hop registers, accumulators and drain."""

from amaranth.hdl import Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

__all__ = ["STEP", "TREE_LATENCY", "PE_LATENCY", "act_layout", "pe_members", "hop", "finish"]

STEP = data.StructLayout({"valid": 1, "first": 1, "last": 1})
TREE_LATENCY = 3                    # from the hop registers to the operands of :func:`finish`
PE_LATENCY = 1 + TREE_LATENCY + 3   # from the inputs of an element to its drain register


def act_layout(config):
    """Digits of one pixel pair: 2 x ic."""
    return data.ArrayLayout(data.ArrayLayout(config.act_digit_bits, config.ic), 2)


def pe_members(config, slots):
    """Ports of an element with ``slots`` filter slots: activations and step hop right, weights hop down, results leave up.

    Order of the results: ``[2*slot + pixel]``. Each cycle ``drain`` takes the row below or the accumulators just complete.
    """
    results = data.ArrayLayout(signed(config.acc_width), 2 * slots)
    weights = 4 * slots * config.ic
    return {"step": In(STEP), "acts": In(act_layout(config)), "weights": In(weights),
            "step_out": Out(STEP), "acts_out": Out(act_layout(config)), "weights_out": Out(weights),
            "below": In(results), "below_valid": In(1), "drain": Out(results), "drain_valid": Out(1)}


def hop(m, pe):
    """The hop registers; everything else in the element works on their outputs."""
    m.d.sync += [pe.step_out.eq(pe.step), pe.acts_out.eq(pe.acts), pe.weights_out.eq(pe.weights)]


def finish(m, config, pe, totals, bias):
    """Accumulate and drain ``totals``: one unsigned sum for each result, each ``bias`` too large."""
    step = pe.step_out
    for _ in range(TREE_LATENCY + 1):
        later = Signal(STEP)
        m.d.sync += later.eq(step)
        step = later
    done = Signal()
    m.d.sync += [done.eq(step.valid & step.last), pe.drain_valid.eq(done | pe.below_valid)]
    for k, total in enumerate(totals):
        width = len(total)
        held = Signal(width, name=f"total{k}", reset_less=True)
        value = Signal(signed(width + 1), name=f"value{k}")
        acc = Signal(signed(config.acc_width), name=f"acc{k}", reset_less=True)
        m.d.sync += held.eq(total)
        if bias == 1 << width - 1:
            m.d.comb += value.eq((held ^ bias).as_signed())     # inverting the top bit takes the bias away
        else:
            m.d.comb += value.eq(held - bias)
        with m.If(step.valid):
            m.d.sync += acc.eq(value + Mux(step.first, 0, acc))
        m.d.sync += pe.drain[k].eq(Mux(done, acc, pe.below[k]))
