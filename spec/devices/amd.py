"""AMD: 7-series and UltraScale+: 6-input LUTs, DSP48 slices, block RAMs of 36 kbit (UG474, UG479, UG574, UG579)."""

from .device import Family, Multiplier

__all__ = ["DSP48E1", "DSP48E2", "SERIES7", "ULTRASCALE_PLUS"]

DSP48E1 = Multiplier(name="dsp48e1", wide=25, narrow=18, total=48, joined=25, cell="DSP48E1")
DSP48E2 = Multiplier(name="dsp48e2", wide=27, narrow=18, total=48, joined=27, cell="DSP48E2")

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


def _steps(family):
    """LUTs are mapped for area, by the classic mapper (in abc's words, a comma is a space)."""
    flow = f"synth_xilinx -family {family} -top top_module -noiopad -noclkbuf -run "
    mapper = "+strash;dch,-f;if,-a,-K,6"
    return ("read_verilog {source}", flow + "begin:map_dsp", "techmap -map times.v", flow + "map_dsp:coarse",
            "techmap -map adders.v", flow + "coarse:map_luts", "opt_expr -mux_undef -noclkinv",
            f"abc -exe ./yosys-abc -lut 6 -script {mapper}", "clean", "xilinx_srl -fixed -minlen 3",
            "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6", "xilinx_dffopt",
            "opt_lut_ins -tech xilinx", "clean")


def _vivado(part, mhz, files, top):
    """A project beside the script, wherever that is called from (``vivado -mode batch -source``)."""
    reads = "\n".join(f"add_files [list [file join $here {{{name}}}]]" for name in files)
    return (f"set here [file dirname [file normalize [info script]]]\n"
            f"create_project -force {{{top}}} [file join $here vivado] -part {{{part}}}\n{reads}\n"
            f"set_property top {{{top}}} [current_fileset]\n"
            "set constraints [open [file join $here clock.xdc] w]\n"
            f"puts $constraints {{create_clock -period {1000 / mhz:.3f} -name aclk [get_ports aclk]}}\n"
            "close $constraints\nadd_files -fileset constrs_1 [list [file join $here clock.xdc]]\n"
            f"synth_design -top {{{top}}} -part {{{part}}} -mode out_of_context\n"
            "report_utilization -file [file join $here utilization.rpt]\n")


def _family(name, multiplier):
    return Family(name=name, multiplier=multiplier, steps=_steps(name), cells=CELLS, state=STATE, script="vivado.tcl",
                  project=_vivado)


SERIES7, ULTRASCALE_PLUS = _family("xc7", DSP48E1), _family("xcup", DSP48E2)
