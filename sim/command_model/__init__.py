"""Executes the emitted commands on NumPy, as docs/architecture.md says, in a random legal order of the three queues."""

from .memories import EMPTY
from .model import CommandModel, run

__all__ = ["EMPTY", "CommandModel", "run"]
