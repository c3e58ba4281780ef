"""The Verilated engine: builds the model of generated Verilog and runs programs on it against a DRAM model in C++."""

from .model import LIMIT, Model, Result, Run, Window
from .verilate import CXXFLAGS, HERE, build, link, tool

__all__ = ["CXXFLAGS", "HERE", "build", "link", "LIMIT", "Model", "Result", "Run", "Window", "tool"]
