"""Alternatives of single blocks compared by synthesis, on both families: the page docs/results/blocks.md."""

from collections.abc import Callable
from dataclasses import replace

from amaranth.back import rtlil
from amaranth.lib import wiring

import boards
from spec import latency
from spec.coding import LANE_BITS, LONGEST

from ..array import DspPE, LutPE
from ..memory import CodeTable
from ..move import WeightDecoder
from ..prim import Library
from .render import render
from .synth import synthesize
from .verilog import to_verilog

__all__ = ["measure", "page"]

BOARDS = ("zcu102", "pynq-z2")
WIDTHS = (4, 8, 16)     # of a lane of the decoder


def measure(component: wiring.Component, family: str) -> tuple[dict, int]:
    """Resources of a component (``total`` of :func:`synthesize`) and its depth."""
    library = Library()
    text = rtlil.convert(component, name="block", platform=library, emit_src=False)
    result = synthesize(to_verilog(library.rtlil() + "\n" + text), "block", family, report=lambda line: None)
    return result["total"], max(module["depth"] for module in result["modules"].values())


def page(say: Callable[[str], object]) -> str:
    """Text of the page; ``say`` hears what is being measured."""
    elements, decoders, tables = [], [], []
    for board in map(boards.get, BOARDS):
        for name, make, form in (("LUT, shift_add", LutPE, "shift_add"),
                                 ("LUT, product_lookup", LutPE, "product_lookup"),
                                 ("DSP", DspPE, board.config.lut_form)):
            say(f"{board.name}: {name}")
            config = replace(board.config, lut_form=form)
            used, depth = measure(make.of(config, total_latency=latency.totals(config)), board.family)
            macs = config.ic * (2 if make is LutPE else 4)
            elements.append({"board": board, "name": name, "used": used, "depth": depth, "macs": macs})
        for width in WIDTHS:
            config = replace(board.config, decode_lanes=8 * board.config.wide_bytes // width)
            say(f"{board.name}: decoder of {config.decode_lanes} lanes")
            used, _ = measure(WeightDecoder.of(config), board.family)
            decoders.append({"board": board, "lanes": config.decode_lanes, "width": width, "used": used})
        used, _ = measure(CodeTable(tables=2), board.family)
        tables.append({"board": board, "used": used, "slots": board.config.slots})
    return render("blocks.md", elements=elements, decoders=decoders, tables=tables, LONGEST=LONGEST,
                  LANE_BITS=LANE_BITS)
