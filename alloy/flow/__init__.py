"""``alloy flow``: from a trained model and a folder of pictures to a simulated engine, in named steps whose results are
kept."""

from .options import FlowOptions
from .run import run_flow

__all__ = ["FlowOptions", "run_flow"]
