"""The Verilated engine: builds the model of generated Verilog and runs programs on it against a DRAM model in C++."""

from .model import LIMIT, Model, Result, Run, Window
from .verilate import CXXFLAGS, build, tool

__all__ = ["CXXFLAGS", "build", "LIMIT", "Model", "Result", "Run", "Window", "tool"]
