"""What is made of a design: Verilog, resources by synthesis, reports, register map."""

from .ecp5 import PART, PROJECT, bitstream, find_nextpnr, placed
from .package import PACKAGE, Port, banner, memory_groups, ports_of, write_package
from .paths import longest_paths
from .regmap import PAGES, SOFTWARE, write_pages, write_software
from .render import render
from .report import report_of, report_text
from .samples import PLAN, arrays, built, plan, sample, sample_array
from .synth import find_yosys, split_modules, synthesize
from .verilog import to_verilog

__all__ = ["PACKAGE", "PAGES", "PART", "PLAN", "PROJECT", "Port", "SOFTWARE", "arrays", "banner", "bitstream", "built",
           "find_nextpnr", "find_yosys", "longest_paths", "memory_groups", "placed", "plan", "ports_of", "render",
           "report_of", "report_text", "sample", "sample_array", "split_modules", "synthesize", "to_verilog",
           "write_package", "write_pages", "write_software"]
