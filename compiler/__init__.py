"""Compiler: integer network to commands and memory image for one engine configuration."""

from spec import errors     # first: from here on Ctrl-C while something is imported is one line
from spec.program import Program

from .build import compile

__all__ = ["compile", "errors", "Program"]
