"""RTLIL to Verilog, with the Yosys that Amaranth itself uses."""

from amaranth._toolchain.yosys import find_yosys

__all__ = ["to_verilog"]

ATTRIBUTES = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")


def to_verilog(rtlil):
    """Verilog of all modules in ``rtlil`` (text); one Yosys start whatever their number."""
    remove = " ".join(f"-remove {name}" for name in ATTRIBUTES)
    script = [f"read_rtlil <<rtlil\n{rtlil}\nrtlil", "proc -nomux -norom", "memory_collect",
              f"attrmap {remove}", f"attrmap -modattr {remove}", "write_verilog -norename"]
    return find_yosys(lambda version: version >= (0, 40)).run(["-q", "-"], "\n".join(script), ignore_warnings=True)
