"""Zynq UltraScale+ ZU15EG boards."""

from spec.config import EngineConfig

from .board import Board

__all__ = ["ZU15EG"]

ZU15EG = Board(
    name="zu15eg", part="xczu15eg-ffvb1156-2-e", family="xcup",
    budget={"lut": 341_280, "ff": 682_560, "dsp": 3528, "bram36": 744, "uram": 112},
    clock_mhz=150, dram_gbs=19.2,
    processor="zynq_ultra_ps_e",
    config=EngineConfig(name="zu15eg", ic=32, pixels=16, dsp_filters=24, lut_filters=8, dsp_device="dsp48e2",
                        act_depth=1024, row_taps=3, tables=2, weight_depth=512, ports=4, port_bits=128))
