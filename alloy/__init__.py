"""The command ``alloy``: the programs of all packages under one name."""

from spec import errors     # first: from here on Ctrl-C while something is imported is one line

__all__ = ["errors"]
