"""What both kinds of processing element share: hop registers, accumulators and drain."""

from amaranth.hdl import Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from spec.packing import solve

from ..prim import CHAIN_LATENCY, STEP, delay, tree_levels

__all__ = ["total_latency", "pe_latency", "act_layout", "pe_members", "hop", "finish"]

def total_latency(config):
    """Cycles from the hop registers to the totals of every element: products, then the adder tree."""
    packing = solve(config.dsp_device, config.act_digit_bits)
    dsp = CHAIN_LATENCY + tree_levels(-(-config.ic // packing.chain)) if config.dsp_filters else 0
    return max(dsp, 1 + tree_levels(config.ic) if config.lut_filters else 0)


def pe_latency(config):
    """Cycles from the inputs of an element to its drain register."""
    return 1 + total_latency(config) + 2


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


def finish(m, config, pe, totals, bias, latency):
    """Accumulate and drain ``totals``: one unsigned sum for each result, ``latency`` cycles after the hop registers, each ``bias`` too large."""
    wait = total_latency(config)
    step = data.View(STEP, delay(m, pe.step_out, wait))
    done = Signal()
    m.d.sync += [done.eq(step.valid & step.last), pe.drain_valid.eq(done | pe.below_valid)]
    for k, total in enumerate(totals):
        total = delay(m, total, wait - latency, plain=True)
        width = (2 * bias - 1).bit_length()     # every total is below twice the bias
        value = Signal(signed(width + 1), name=f"value{k}")
        acc = Signal(signed(config.acc_width), name=f"acc{k}", reset_less=True)
        if bias == 1 << width - 1:
            # Inverting the top bit takes the bias away.
            m.d.comb += value.eq((total[:width] ^ bias).as_signed())
        else:
            m.d.comb += value.eq(total - bias)
        with m.If(step.valid):
            m.d.sync += acc.eq(value + Mux(step.first, 0, acc))
        m.d.sync += pe.drain[k].eq(Mux(done, acc, pe.below[k]))
