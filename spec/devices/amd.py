"""AMD: 7-series and UltraScale+: 6-input LUTs, DSP48 slices, block RAMs of 36 kbit (UG474, UG479, UG574, UG579)."""

from .device import Family, MemoryPort, Multiplier, Processor

__all__ = ["DSP48E1", "DSP48E2", "SERIES7", "ULTRASCALE_PLUS", "ZYNQ", "ZYNQ_MPSOC"]

DSP48E1 = Multiplier(name="dsp48e1", wide=25, narrow=18, total=48, joined=25, cell="DSP48E1", ternary=True)
DSP48E2 = Multiplier(name="dsp48e2", wide=27, narrow=18, total=48, joined=27, cell="DSP48E2", ternary=True)

# LUTs of one LUTRAM cell; those that are not here are refused rather than guessed.
LUTRAM = {"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8,
          "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8,
          "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM32X16DR8": 8, "RAM64X8SW": 8}
FREE = ("CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "BUFG", "IBUF", "OBUF", "VCC", "GND")
CELLS: dict[str, tuple[str | None, float]] = {
    **{f"LUT{n}": ("lut", 1) for n in range(1, 7)},
    **dict.fromkeys(("LUT6_2", "INV", "SRL16E", "SRLC32E", "SRLC16E"), ("lut", 1)),
    **{name: ("lut", count) for name, count in LUTRAM.items()},
    "FD*": ("ff", 1), "LD*": ("ff", 1), "DSP48*": ("dsp", 1),
    "RAMB18*": ("bram36", 0.5), "RAMB*": ("bram36", 1), "URAM*": ("uram", 1),
    **dict.fromkeys(FREE, (None, 0))}
STATE = ("FD*", "LD*", "SRL*", "RAM*", "DSP*", "URAM*")


# Flip-flops that ask not to become shift registers, which the pass that makes them hears in this way only.
FLOPS = "setattr -set keep 1 a:shreg_extract=no %ci1 t:$_*DFF* t:FD* %u %i"
# Scripts of the classic mapper (in abc's words, a comma is a space).
AREA, DELAY = "+strash;dch,-f;if,-a,-K,6", "+strash;dch,-f;if,-K,6"


def _steps(family):
    flow = f"synth_xilinx -family {family} -top top_module -noiopad -noclkbuf -run "
    return ("read_verilog {source}", flow + "begin:map_dsp", "techmap -map times.v", flow + "map_dsp:coarse",
            "techmap -map adders.v", flow + "coarse:map_luts", "opt_expr -mux_undef -noclkinv",
            "abc -exe ./yosys-abc -lut 6 -script {mapper}", "clean", FLOPS, "xilinx_srl -fixed -minlen 3",
            "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6", "xilinx_dffopt",
            "opt_lut_ins -tech xilinx", "clean")


def _family(name, multiplier):
    return Family(name=name, multiplier=multiplier, steps=_steps(name), area=AREA, delay=DELAY, cells=CELLS,
                  state=STATE, script="vivado.tcl")


SERIES7, ULTRASCALE_PLUS = _family("xc7", DSP48E1), _family("xcup", DSP48E2)

# Zynq-7000 (UG585, PG082) and Zynq UltraScale+ (UG1085, PG201): four ports to DRAM beside the caches, and on the latter
# two more through them.
ZYNQ = Processor(
    core="processing_system7", clock="FCLK_CLK0", reset="FCLK_RESET0_N", interrupt="IRQ_F2P", control="M_AXI_GP0",
    automation='make_external "FIXED_IO, DDR" apply_board_preset "{preset}" Master "Disable" Slave "Disable"',
    control_clock="M_AXI_GP0_ACLK", base=0x4000_0000, mhz="PCW_FPGA0_PERIPHERAL_FREQMHZ", widest=64,
    settings={"PCW_USE_M_AXI_GP0": 1, "PCW_USE_M_AXI_GP1": 0, "PCW_USE_FABRIC_INTERRUPT": 1, "PCW_IRQ_F2P_INTR": 1,
              "PCW_EN_CLK0_PORT": 1, "PCW_EN_RST0_PORT": 1},
    memory=tuple(MemoryPort(
        interface=f"S_AXI_HP{n}", clock=f"S_AXI_HP{n}_ACLK", use=f"PCW_USE_S_AXI_HP{n}",
        width=f"PCW_S_AXI_HP{n}_DATA_WIDTH", segments=(f"S_AXI_HP{n}/HP{n}_DDR_LOWOCM",)) for n in range(4)))
ZYNQ_MPSOC = Processor(
    core="zynq_ultra_ps_e", clock="pl_clk0", reset="pl_resetn0", interrupt="pl_ps_irq0", control="M_AXI_HPM0_FPD",
    automation='apply_board_preset "{preset}"', control_clock="maxihpm0_fpd_aclk", base=0xA000_0000,
    mhz="PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ", widest=128,
    settings={"PSU__USE__M_AXI_GP0": 1, "PSU__USE__M_AXI_GP1": 0, "PSU__USE__M_AXI_GP2": 0, "PSU__USE__IRQ0": 1,
              "PSU__FPGA_PL0_ENABLE": 1},
    memory=tuple(MemoryPort(
        interface=f"S_AXI_{name}_FPD", clock=f"saxi{name.lower()}_fpd_aclk", use=f"PSU__USE__S_AXI_GP{n}",
        width=f"PSU__SAXIGP{n}__DATA_WIDTH", segments=tuple(f"SAXIGP{n}/{name}_{part}" for part in ("DDR_LOW",
                                                                                                "DDR_HIGH")),
        others=tuple(f"SAXIGP{n}/{name}_{part}" for part in ("LPS_OCM", "QSPI", "PCIE_LOW", "PCIE_HIGH1",
                                                             "PCIE_HIGH2")))
        for n, name in ((2, "HP0"), (3, "HP1"), (4, "HP2"), (5, "HP3"), (0, "HPC0"), (1, "HPC1"))))
