"""Texts from the templates beside this file."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["render"]


def render(name: str, **values: Any) -> str:
    """The text of the template ``name``; one that needs what is not among ``values`` is an error."""
    return _environment().get_template(f"{name}.j2").render(**values)


@cache
def _environment():
    return Environment(loader=FileSystemLoader(Path(__file__).with_name("templates")), undefined=StrictUndefined,
                       trim_blocks=True, keep_trailing_newline=True)
