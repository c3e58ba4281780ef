"""TUL PYNQ-Z2: Zynq-7020, four 64-bit HP ports."""

from spec.config import EngineConfig

from .board import Board

__all__ = ["PYNQ_Z2"]

PYNQ_Z2 = Board(
    name="pynq-z2", part="xc7z020clg400-1", family="xc7",
    budget={"lut": 53_200, "ff": 106_400, "dsp": 220, "bram36": 140, "uram": 0},
    clock_mhz=100, dram_gbs=2.1,
    processor="processing_system7", preset="tul.com.tw:pynq-z2:part0",
    config=EngineConfig(name="pynq-z2", ic=16, pixels=4, dsp_filters=10, lut_filters=6, dsp_device="dsp48e1",
                        act_depth=2048, row_taps=3, tables=2, weight_depth=1024, ports=4, port_bits=64, addr_bits=32))
