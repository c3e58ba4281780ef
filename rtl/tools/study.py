"""Alternatives of single blocks compared by synthesis, on both families: the page docs/results/blocks.md."""

from dataclasses import replace

from amaranth.back import rtlil

import boards
from spec import latency
from spec.coding import LANE_BITS, LONGEST

from ..array import DspPE, LutPE
from ..memory import CodeTable
from ..move import WeightDecoder
from ..prim import Library
from .synth import synthesize
from .verilog import to_verilog

__all__ = ["measure", "page"]

BOARDS = ("zcu102", "pynq-z2")
HEAD = """# Blocks by synthesis

Written by `python -m rtl.study` with Yosys, from the Verilog of the engine's own modules. Depth: cells on the longest path between registers (LUTs
and carry chains) within one module.

## Processing elements

One LUT element: 1 power-of-two filter x 2 pixels x `ic` channels. `shift_add` shifts the activation; `product_lookup` selects among the products of
the activation with all levels (IOS-PoT). Both read 4 bits per weight from the same buffer, so weight memory does not differ between them; coded
weights (below) lower what is stored and moved, for both alike. The DSP element, 2 filters x 2 pixels, is there to compare.

| board | element | LUT | FF | DSP | depth | MACs per cycle | LUT/MAC |
|---|---|---|---|---|---|---|---|
"""
DECODER = f"""
## Decoder of coded weights

Huffman codes of at most {LONGEST} bits; each lane decodes one nibble in each cycle and holds {LANE_BITS} bits. LUT share: of the board.

| board | lanes | bits per lane and beat | LUT | FF | LUT per lane | LUT share |
|---|---|---|---|---|---|---|
"""
TABLES = """
## Tables of codes

Two tables of 256 codes behind every requantizer (levels of activations that are not uniform).

| board | LUT | FF | requantizers | LUT of all | LUT share |
|---|---|---|---|---|---|
"""


def measure(component, family):
    """Resources of a component (``total`` of :func:`synthesize`) and its depth."""
    library = Library()
    text = rtlil.convert(component, name="block", platform=library, emit_src=False)
    result = synthesize(to_verilog(library.rtlil() + "\n" + text), "block", family, report=lambda line: None)
    return result["total"], max(module["depth"] for module in result["modules"].values())


def page(say):
    """Text of the page; ``say`` hears what is being measured."""
    elements, decoders, tables = [], [], []
    for board in map(boards.get, BOARDS):
        for name, make, config in (("LUT, shift_add", LutPE, replace(board.config, lut_form="shift_add")),
                                   ("LUT, product_lookup", LutPE, replace(board.config, lut_form="product_lookup")), ("DSP", DspPE, board.config)):
            say(f"{board.name}: {name}")
            used, depth = measure(make.of(config, total_latency=latency.totals(config)), board.family)
            macs = config.ic * (2 if make is LutPE else 4)
            elements.append(f"| {board.name} | {name} | {used['lut']} | {used['ff']} | {used['dsp']} | {depth} | {macs} | {used['lut'] / macs:.2f} |")
        for width in (4, 8, 16):
            config = replace(board.config, decode_lanes=8 * board.config.wide_bytes // width)
            say(f"{board.name}: decoder of {config.decode_lanes} lanes")
            used, _ = measure(WeightDecoder.of(config), board.family)
            decoders.append(f"| {board.name} | {config.decode_lanes} | {width} | {used['lut']} | {used['ff']} | "
                            f"{used['lut'] / config.decode_lanes:.0f} | {used['lut'] / board.budget['lut']:.1%} |")
        used, _ = measure(CodeTable(tables=2), board.family)
        lut = used["lut"] * board.config.slots
        tables.append(f"| {board.name} | {used['lut']} | {used['ff']} | {board.config.slots} | {lut} | {lut / board.budget['lut']:.1%} |")
    parts = ((HEAD, elements), (DECODER, decoders), (TABLES, tables))
    return "".join(head + "\n".join(rows) + "\n" for head, rows in parts)
