"""``alloy check``: whether a model can run on a board, everything that keeps it from that, and what it would take."""

from .examine import Request, look
from .load import load
from .report import SCHEMA, Report

__all__ = ["SCHEMA", "Report", "Request", "load", "look"]
