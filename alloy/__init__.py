"""The command ``alloy``: the programs of all packages under one name. In Python ``quantize``, ``compile`` and
``Engine``, imported when they are asked for: ``from alloy import Engine, compile, quantize``."""

from importlib import import_module
from typing import Any

from spec import errors     # first: from here on Ctrl-C while something is imported is one line

__all__ = ["errors"]

CALLS = ("AlloyError", "Engine", "Network", "Program", "Simulation", "compile", "quantize")


def __getattr__(name: str) -> Any:
    if name not in CALLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *CALLS])
