"""AMD ZC706: Zynq-7045."""

from spec.config import EngineConfig

from .board import Board

__all__ = ["ZC706"]

ZC706 = Board(
    name="zc706", part="xc7z045ffg900-2", family="xc7",
    budget={"lut": 218_600, "ff": 437_200, "dsp": 900, "bram36": 545, "uram": 0},
    clock_mhz=100, dram_gbs=4.3,
    processor="processing_system7", preset="xilinx.com:zc706:part0",
    config=EngineConfig(name="zc706", ic=32, pixels=8, dsp_filters=12, lut_filters=12, dsp_device="dsp48e1",
                        act_depth=1024, row_taps=3, tables=2, weight_depth=512, ports=4, port_bits=64,
                        addr_bits=32))
