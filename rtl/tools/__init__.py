"""What is made of a design: Verilog, resources by synthesis, reports, register map."""

from .package import PACKAGE, Port, banner, ports_of, write_package
from .regmap import PAGES, SOFTWARE, write_pages, write_software
from .report import report_of, report_text
from .synth import find_yosys, split_modules, synthesize
from .verilog import to_verilog

__all__ = ["PACKAGE", "PAGES", "Port", "SOFTWARE", "banner", "find_yosys", "ports_of", "report_of", "report_text",
           "split_modules", "synthesize", "to_verilog", "write_package", "write_pages", "write_software"]
