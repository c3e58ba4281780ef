"""Packed multipliers and their chains: DSP48E2, DSP48E1 and portable bodies behind one function.

Latency of all bodies: :data:`spec.latency.CHAIN` (operands, product, sum).
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed

from spec.config import EngineConfig
from spec.devices import MULTIPLIERS
from spec.packing import Packing

from .block import Block
from .share import Library

__all__ = ["packed_chain", "explicit"]

# Signals have the bits of the widest ports, whatever the device; the packing keeps the values within its own.
PORTS = MULTIPLIERS["dsp48e2"]
A_BITS = 30         # port A of both slices, of which the multiplier takes the lower ones
ENABLES = ("A1", "A2", "AD", "ALUMODE", "B1", "B2", "C", "CARRYIN", "CTRL", "D", "INMODE", "M", "P")
RESETS = ("A", "ALLCARRYIN", "ALUMODE", "B", "C", "CTRL", "D", "INMODE", "M", "P")


def explicit(config: EngineConfig | Block, platform: Library | None) -> bool:
    """True if the slices are instantiated: conversion to Verilog for a device that has them; the simulator has none.

    ``config`` has ``dsp_device`` and ``portable_dsp`` of the configuration.
    """
    return platform is not None and not config.portable_dsp and MULTIPLIERS[config.dsp_device].cell is not None


def packed_chain(m: Module, config: EngineConfig | Block, packing: Packing,
                 operands: Sequence[tuple[Value, Value, Value, Value | None]], platform: Library | None) -> Value:
    """Biased sum of the packed products of one chain, ``packing.products * packing.field`` bits.

    ``operands`` is one ``(low, high, single, shared)`` for each slice: the wide port is ``low + high*2^shift``
    (pre-adder), with ``shift`` 2f for weights (four products) and f for activations (two products); the narrow port is
    ``single`` plus ``shared*2^f`` (four products) or the weight alone (``shared`` is None). ``config`` as in
    :func:`explicit`.
    """
    body = _dsp48 if explicit(config, platform) else _portable
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
    total = Signal(PORTS.total, reset_less=True)
    m.d.sync += total.eq(sum(products, Const(packing.bias, PORTS.total)))
    return total


def _dsp48(m, config, packing, operands):
    e2 = MULTIPLIERS[config.dsp_device].cell == "DSP48E2"
    cascade, total = Const(0, PORTS.total), None
    for index, operand in enumerate(operands):
        d, a, b, wires = _ports(packing, *operand)
        m.d.comb += wires
        last = index == len(operands) - 1
        p, pcout = Signal(PORTS.total), Signal(PORTS.total)
        # Z multiplexer: C (the bias) at the head of the chain, PCIN behind it; X and Y are the product.
        opmode = 0b0110101 if index == 0 else 0b0010101
        common = dict(
            p_ACASCREG=0, p_ADREG=1, p_ALUMODEREG=0, p_AREG=0, p_BCASCREG=1, p_BREG=1, p_CARRYINREG=0,
            p_CARRYINSELREG=0, p_CREG=0, p_DREG=0, p_INMODEREG=0, p_MREG=1, p_OPMODEREG=0, p_PREG=1 if last else 0,
            p_A_INPUT="DIRECT", p_B_INPUT="DIRECT", p_USE_MULT="MULTIPLY", p_USE_SIMD="ONE48",
            i_CLK=ClockSignal(), i_A=Cat(a, a[-1].replicate(A_BITS - PORTS.wide)), i_B=b,
            i_C=Const(packing.bias, PORTS.total),
            i_ALUMODE=Const(0, 4), i_CARRYIN=Const(0, 1), i_CARRYINSEL=Const(0, 3), i_INMODE=Const(0b00100, 5),
            i_PCIN=cascade, i_ACIN=Const(0, A_BITS), i_BCIN=Const(0, PORTS.narrow), i_CARRYCASCIN=Const(0, 1),
            i_MULTSIGNIN=Const(0, 1), **{f"i_CE{n}": Const(1, 1) for n in ENABLES},
            **{f"i_RST{n}": Const(0, 1) for n in RESETS},
            o_P=p, o_PCOUT=pcout)
        if e2:
            m.submodules += Instance("DSP48E2", p_AMULTSEL="AD", p_BMULTSEL="B", p_PREADDINSEL="A", i_D=d,
                                     i_OPMODE=Const(opmode, 9), **common)
        else:
            m.submodules += Instance("DSP48E1", p_USE_DPORT="TRUE", i_D=d[:MULTIPLIERS["dsp48e1"].wide],
                                     i_OPMODE=Const(opmode, 7), **common)
        cascade, total = pcout, p
    return total
