"""Models and benches: golden integers, command-level, cycles, Amaranth's simulator and Verilator."""

from spec import errors     # first: from here on Ctrl-C while something is imported is one line

__all__ = ["errors"]
