"""AMD Kria KV260: Zynq UltraScale+ K26."""

from spec.config import EngineConfig

from .board import Board

__all__ = ["KV260"]

KV260 = Board(
    name="kv260", part="xck26-sfvc784-2LV-c", family="xcup",
    budget={"lut": 117_120, "ff": 234_240, "dsp": 1248, "bram36": 144, "uram": 64},
    clock_mhz=150, dram_gbs=19.2,
    processor="zynq_ultra_ps_e", preset="xilinx.com:kv260_som:part0",
    config=EngineConfig(name="kv260", ic=32, pixels=8, dsp_filters=16, lut_filters=6, dsp_device="dsp48e2",
                        act_depth=4096, act_ram="ultra", out_pixels=2, tables=2, weight_depth=512, ports=4,
                        act_ports=1, port_bits=128))
