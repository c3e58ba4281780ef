"""Compiler: integer network to commands and memory image for one engine configuration."""

from spec.program import Program

from .build import compile

__all__ = ["compile", "Program"]
