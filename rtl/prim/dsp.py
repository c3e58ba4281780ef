"""Chains of packed multipliers, and the scaled sums of requantizers: vendor and portable bodies behind one function.

Latency of all bodies: :data:`spec.latency.CHAIN` (operands, product, sum), :data:`spec.latency.SCALE`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value, signed

from spec.config import EngineConfig
from spec.devices import MULTIPLIERS
from spec.packing import Packing
from spec.systems import DIGIT_BITS

from .block import Block
from .share import Library

__all__ = ["Scaled", "explicit", "packed_chain", "scaled_sum"]

# Signals have the bits of the widest ports, whatever the device; the packing keeps the values within its own.
PORTS = MULTIPLIERS["dsp48e2"]
A_BITS = 30         # port A of both slices, of which the multiplier takes the lower ones
CUT = MULTIPLIERS["mult18"].wide - 1      # bits, all without a sign, that a multiplier takes of a wider factor
ENABLES = ("A1", "A2", "AD", "ALUMODE", "B1", "B2", "C", "CARRYIN", "CTRL", "D", "INMODE", "M", "P")
RESETS = ("A", "ALLCARRYIN", "ALUMODE", "B", "C", "CTRL", "D", "INMODE", "M", "P")
PRODUCT, Z_CASCADE, Z_C, W_C = 0b0101, 0b001 << 4, 0b011 << 4, 0b11 << 7      # of OPMODE


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """What goes into a :func:`scaled_sum`; ``acc``, ``bias`` and ``high`` are signed, the others are not. ``bias``,
    ``takes`` and ``gives`` are those of what came in :data:`spec.latency.ADDED` cycles ago."""
    acc: Value
    mult: Value
    bias: Value
    res: Value
    res_mult: Value
    high: Value
    takes: Value
    gives: Value


def explicit(config: EngineConfig | Block, platform: Library | None) -> bool:
    """True if the cells are instantiated: conversion to Verilog; the simulator has none.

    ``config`` has ``dsp_device`` and ``portable_dsp`` of the configuration.
    """
    return platform is not None and not config.portable_dsp


def _cell(config, platform):
    """The name of what is instantiated, or an empty one."""
    return MULTIPLIERS[config.dsp_device].cell if explicit(config, platform) else ""


def packed_chain(m: Module, config: EngineConfig | Block, packing: Packing,
                 operands: Sequence[tuple[Value, Value, Value, Value | None]], platform: Library | None) -> Value:
    """Biased sum of the packed products of one chain, ``packing.products * packing.field`` bits.

    ``operands`` is one ``(low, high, single, shared)`` for each slice: the wide port is ``low + high*2^shift``
    (pre-adder), with ``shift`` 2f for weights (four products) and f for activations (two products); the narrow port is
    ``single`` plus ``shared*2^f`` (four products) or the weight alone (``shared`` is None). ``config`` as in
    :func:`explicit`.
    """
    body = {"": _portable, "MULT18X18D": _multipliers}.get(_cell(config, platform), _dsp48)
    return body(m, config, packing, operands)[:packing.products * packing.field]


def _ports(packing, low, high, single, shared):
    """The three port values: D, A (shifted), B."""
    shift = packing.field * (2 if packing.products == 4 else 1)
    d = Signal(signed(PORTS.wide))
    a = Signal(signed(PORTS.wide))
    b = Signal(signed(PORTS.narrow))
    return d, a, b, [d.eq(low), a.eq(high << shift),
                     b.eq(single if shared is None else Cat(single, Const(0, packing.field - len(single)), shared))]


def _portable(m, config, packing, operands):
    products = []
    for operand in operands:
        d, a, b, wires = _ports(packing, *operand)
        m.d.comb += wires
        wide, narrow = signed(PORTS.wide), signed(PORTS.narrow)
        sum_reg, b_reg = Signal(wide, reset_less=True), Signal(narrow, reset_less=True)
        product = Signal(signed(PORTS.wide + PORTS.narrow), reset_less=True)
        m.d.sync += [sum_reg.eq(d + a), b_reg.eq(b), product.eq(sum_reg * b_reg)]
        products.append(product)
    return _added(m, packing, products)


def _added(m, packing, products):
    total = Signal(PORTS.total, reset_less=True)
    m.d.sync += total.eq(sum(products, Const(packing.bias, PORTS.total)))
    return total


def _multipliers(m, config, packing, operands):
    """The products have registers of the fabric, so that only those are far from the multipliers, and not the adders
    behind them."""
    products = []
    for operand in operands:
        d, a, b, wires = _ports(packing, *operand)
        m.d.comb += wires
        product = Signal(signed(MULTIPLIERS["mult18"].total), reset_less=True)
        m.d.sync += product.eq(_mult18(m, d + a, b, output=False))
        products.append(product)
    return _added(m, packing, products)


def _mult18(m, x, y, *, output):
    """``x * y`` of a cycle before, or of two if the ``output`` has a register too; both are signed."""
    bits = MULTIPLIERS["mult18"]
    p = Signal(signed(bits.total))
    ports = (("i_A", x, bits.wide), ("i_B", y, bits.narrow), ("i_C", Const(0, 1), bits.wide))
    factors = {f"{port}{n}": value[min(n, len(value) - 1)] for port, value, count in ports for n in range(count)}
    m.submodules += Instance(
        "MULT18X18D", p_REG_INPUTA_CLK="CLK0", p_REG_INPUTB_CLK="CLK0", p_REG_OUTPUT_CLK="CLK0" if output else "NONE",
        p_GSR="DISABLED", i_CLK0=ClockSignal(), i_CE0=Const(1, 1), i_RST0=Const(0, 1), i_SIGNEDA=Const(1, 1),
        i_SIGNEDB=Const(1, 1), i_SOURCEA=Const(0, 1), i_SOURCEB=Const(0, 1), **factors,
        **{f"o_P{n}": p[n] for n in range(bits.total)})
    return p


def _dsp48(m, config, packing, operands):
    e2 = MULTIPLIERS[config.dsp_device].cell == "DSP48E2"
    cascade, total = Const(0, PORTS.total), None
    for index, operand in enumerate(operands):
        d, a, b, wires = _ports(packing, *operand)
        m.d.comb += wires
        # Z multiplexer: C (the bias) at the head of the chain, PCIN behind it; X and Y are the product.
        opmode = PRODUCT | (Z_C if index == 0 else Z_CASCADE)
        common = dict(a=a, b=b, c=Const(packing.bias, PORTS.total), cascade=cascade, inmode=0b00100, a_registers=0,
                      b_registers=1, last=index == len(operands) - 1)
        if e2:
            total, cascade = _slice(m, "DSP48E2", **common, p_AMULTSEL="AD", p_BMULTSEL="B", p_PREADDINSEL="A", i_D=d,
                                    i_OPMODE=Const(opmode, 9))
        else:
            total, cascade = _slice(m, "DSP48E1", **common, p_USE_DPORT="TRUE", i_D=d[:MULTIPLIERS["dsp48e1"].wide],
                                    i_OPMODE=Const(opmode, 7))
    return total


def _slice(m, cell, a, b, c, cascade, inmode, a_registers, b_registers, last, **more):
    """P and PCOUT of a slice whose product goes into its adder; the ``last`` of a chain has an output register."""
    p, pcout = Signal(PORTS.total), Signal(PORTS.total)
    m.submodules += Instance(
        cell, **more, p_ACASCREG=a_registers, p_ADREG=1, p_ALUMODEREG=0, p_AREG=a_registers, p_BCASCREG=b_registers,
        p_BREG=b_registers, p_CARRYINREG=0, p_CARRYINSELREG=0, p_CREG=0, p_DREG=0, p_INMODEREG=0, p_MREG=1,
        p_OPMODEREG=0, p_PREG=1 if last else 0, p_A_INPUT="DIRECT", p_B_INPUT="DIRECT", p_USE_MULT="MULTIPLY",
        p_USE_SIMD="ONE48", i_CLK=ClockSignal(), i_A=Cat(a, a[-1].replicate(A_BITS - len(a))), i_B=b, i_C=c,
        i_ALUMODE=Const(0, 4), i_CARRYIN=Const(0, 1), i_CARRYINSEL=Const(0, 3), i_INMODE=Const(inmode, 5),
        i_PCIN=cascade, i_ACIN=Const(0, A_BITS), i_BCIN=Const(0, PORTS.narrow), i_CARRYCASCIN=Const(0, 1),
        i_MULTSIGNIN=Const(0, 1), **{f"i_CE{n}": Const(1, 1) for n in ENABLES},
        **{f"i_RST{n}": Const(0, 1) for n in RESETS}, o_P=p, o_PCOUT=pcout)
    return p, pcout


def scaled_sum(m: Module, config: EngineConfig | Block, terms: Scaled, platform: Library | None) -> tuple[Value, Value]:
    """``(total, product)``: ``acc*mult + bias + res*res_mult`` and, if it ``takes`` it, ``2**DIGIT_BITS * high``: the
    ``product`` of a sum that ``gives`` it, of an ``acc`` of the same cycle; the ``total`` of that one means nothing.

    ``total`` comes :data:`spec.latency.SCALE` cycles after ``acc`` and ``res``, ``product`` when it is taken, whatever
    the body. ``config`` as in :func:`explicit`.
    """
    body = {"DSP48E2": _scaled_dsp48e2, "MULT18X18D": _scaled_mult18}.get(_cell(config, platform), _scaled)
    return body(m, terms)


def _scaled(m, terms):
    acc, mult, res, res_mult = (Signal.like(value, reset_less=True)
                                for value in (terms.acc, terms.mult, terms.res, terms.res_mult))
    product = Signal(signed(len(acc) + len(mult)), reset_less=True)
    res_product = Signal(len(res) + len(res_mult), reset_less=True)
    biased, more, total = (Signal(signed(PORTS.total), name=name, reset_less=True)
                           for name in ("biased", "more", "total"))
    m.d.sync += [
        acc.eq(terms.acc), mult.eq(terms.mult), product.eq(acc * mult), biased.eq(product + terms.bias),
        res.eq(terms.res), res_mult.eq(terms.res_mult), res_product.eq(res * res_mult),
        more.eq(res_product + Mux(terms.takes, terms.high << DIGIT_BITS, 0)), total.eq(biased + more)]
    return total, product


def _scaled_mult18(m, terms):
    """Two multipliers take the parts of the wide factor. What they give is added where the bias is, so that the product
    is given, and taken, one cycle later."""
    acc = Signal(signed(CUT + MULTIPLIERS["mult18"].wide))
    m.d.comb += acc.eq(terms.acc)
    low, high = (_mult18(m, part, _positive(terms.mult), output=True)
                 for part in (_positive(acc[:CUT]), acc[CUT:].as_signed()))
    res_product = _mult18(m, _positive(terms.res), _positive(terms.res_mult), output=True)
    biased, more, total = (Signal(signed(PORTS.total), name=name, reset_less=True)
                           for name in ("biased", "more", "total"))
    takes = Signal()
    m.d.sync += [
        biased.eq(low + (high << CUT) + Mux(terms.gives, 0, terms.bias)), more.eq(res_product), takes.eq(terms.takes),
        total.eq(biased + more + Mux(takes, terms.high << DIGIT_BITS, 0))]
    return total, biased


def _positive(value):
    return Cat(value, Const(0, 1))


def _scaled_dsp48e2(m, terms):
    """Two slices. The first adds the bias, unless its product goes to another sum; the second adds the residual to
    that, and what it takes from another one through the W multiplexer."""
    common = dict(cell="DSP48E2", inmode=0, last=True, p_AMULTSEL="A", p_BMULTSEL="B", p_PREADDINSEL="A",
                  i_D=Const(0, PORTS.wide))
    mult, res_mult = (Cat(value, Const(0, PORTS.narrow - len(value))) for value in (terms.mult, terms.res_mult))
    bias, high = (Signal(signed(PORTS.total), name=name) for name in ("bias", "high"))
    takes = Signal()
    m.d.comb += [bias.eq(terms.bias), high.eq(terms.high << DIGIT_BITS)]
    m.d.sync += takes.eq(terms.takes)
    product, cascade = _slice(
        m, **common, a=terms.acc, b=mult, c=bias, cascade=Const(0, PORTS.total), a_registers=1, b_registers=1,
        i_OPMODE=Mux(terms.gives, Const(PRODUCT, 9), Const(PRODUCT | Z_C, 9)))
    total, _ = _slice(
        m, **common, a=Cat(terms.res, Const(0, 1)), b=res_mult, c=high, cascade=cascade, a_registers=2, b_registers=2,
        i_OPMODE=Mux(takes, Const(PRODUCT | Z_CASCADE | W_C, 9), Const(PRODUCT | Z_CASCADE, 9)))
    return total.as_signed(), product.as_signed()
