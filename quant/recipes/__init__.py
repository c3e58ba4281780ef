"""Published quantization systems, and our own, as interchangeable recipes: each turns a :class:`Request` into a :class:`Plan`."""

from spec.errors import AlloyError

from . import alloy, film_qnn, fixed, hbp, ilmpq, ios_pot, msq, nonuniform
from .plan import Plan, Request

__all__ = ["RECIPES", "Plan", "Request", "make_plan"]

RECIPES = {module.__name__.rsplit(".", 1)[1]: module for module in (fixed, ilmpq, msq, ios_pot, hbp, nonuniform, film_qnn, alloy)}


def make_plan(name, request):
    """The plan of recipe ``name``; :class:`AlloyError` lists the choices."""
    if name not in RECIPES:
        raise AlloyError(f"there is no recipe {name!r}: choose {', '.join(RECIPES)}")
    return RECIPES[name].plan(request)
