"""AMD ZCU102: Zynq UltraScale+ ZU9EG, four 128-bit HP ports and two coherent ones (HPC)."""

from spec.config import EngineConfig

from .board import Board

__all__ = ["ZCU102"]

ZCU102 = Board(
    name="zcu102", part="xczu9eg-ffvb1156-2-e", family="xcup",
    budget={"lut": 274_080, "ff": 548_160, "dsp": 2520, "bram36": 912, "uram": 0},
    clock_mhz=150, dram_gbs=19.2,
    processor="zynq_ultra_ps_e", preset="xilinx.com:zcu102:part0",
    config=EngineConfig(name="zcu102", ic=32, pixels=16, dsp_filters=16, lut_filters=8, dsp_device="dsp48e2",
                        act_depth=2048, out_pixels=4, row_taps=3, tables=2, weight_depth=512, ports=6,
                        port_bits=128))
