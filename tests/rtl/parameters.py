"""What every block owes its parameters."""

import pytest

from .axi_models import refusal, unused


def check_parameters(block, good, refusals):
    """A block keeps what it was given under its names and takes no other names; ``refusals`` are refused.

    ``good`` are legal values of all parameters, ``refusals`` are ``(name, value, way out)``, at least one for each.
    """
    made = unused(block, **good)
    assert {name: getattr(made, name) for name in good} == good
    for name in good:
        with pytest.raises(AttributeError, match=f"{name} of a {block.__name__} cannot be changed"):
            setattr(made, name, good[name])
    lacking = dict(list(good.items())[1:])
    for wrong in (lacking, {**good, "colour": 1}):
        with pytest.raises(TypeError, match=f"a {block.__name__} takes .*; given: "):
            unused(block, **wrong)
    assert {name for name, _, _ in refusals} == set(good)
    for name, value, way in refusals:
        assert refusal(block, **{**good, name: value}) == f"no {block.__name__} has {name} {value!r}: give {way}"
