"""Published quantization systems, and our own, as interchangeable recipes: each turns a :class:`Request` into a
:class:`Plan`."""

from spec.errors import AlloyError

from . import alloy, film_qnn, fixed, hbp, ilmpq, ios_pot, msq, nonuniform, ratio
from .plan import Plan, Request
from .variants import VARIANTS, Variant

__all__ = ["RECIPES", "VARIANTS", "Plan", "Request", "Variant", "make_plan", "outline", "variant"]

MODULES = fixed, ratio, ilmpq, msq, ios_pot, hbp, nonuniform, film_qnn, alloy
RECIPES = {module.__name__.rsplit(".", 1)[1]: module for module in MODULES}


def make_plan(name: str, request: Request) -> Plan:
    """The plan of recipe ``name``; :class:`AlloyError` lists the choices."""
    _known(name, RECIPES)
    return RECIPES[name].plan(request)


def outline(name: str, request: Request) -> Plan:
    """A plan without statistics and images that takes what that of recipe ``name`` takes, as far as that can be
    known."""
    _known(name, RECIPES)
    return getattr(RECIPES[name], "outline", RECIPES[name].plan)(request)


def variant(name: str | Variant) -> Variant:
    """The variant called ``name``, or one itself; :class:`AlloyError` lists the choices."""
    if isinstance(name, Variant):
        _known(name.recipe, RECIPES)
        return name
    _known(name, VARIANTS)
    return VARIANTS[name]


def _known(name, choices):
    if not isinstance(name, str) or name not in choices:
        raise AlloyError(f"there is no recipe {name!r}: choose {', '.join(choices)}")
