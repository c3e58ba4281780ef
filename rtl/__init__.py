"""The engine in Amaranth: ``top.py`` over one folder for each block of the diagram; programs that write it out."""

from spec import errors     # first: from here on Ctrl-C while something is imported is one line

__all__ = ["errors"]
