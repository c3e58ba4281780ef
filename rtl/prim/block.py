"""Blocks: components with parameters that are named, checked and read-only."""

from typing import Any, Self

from amaranth.lib import wiring
from amaranth.lib.wiring import Member

from spec.config import EngineConfig, leaves
from spec.errors import AlloyError

__all__ = ["Block", "Parameter", "WithFilters", "check_out_pixels"]


class Parameter:
    """A parameter of a :class:`Block`: a whole number, at least ``low`` (and ``even``), or one of ``choices``."""

    def __init__(self, low=1, *, high=None, even=False, choices=()):
        self.low, self.high, self.even, self.choices = low, high, even, choices

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, block, owner=None):
        return self if block is None else getattr(block, f"_{self.name}")

    def __set__(self, block, value):
        raise AttributeError(f"{self.name} of a {type(block).__name__} cannot be changed")

    def check(self, block: str, value: Any) -> None:
        """Raise :class:`AlloyError` unless ``block`` can have ``value``."""
        if self.choices:
            right, way = value in self.choices, f"one of {', '.join(map(str, self.choices))}"
        else:
            right = type(value) is int and self.low <= value <= (value if self.high is None else self.high)
            right, way = right and not (self.even and value % 2), "an even number, " * self.even
            way += f"{self.low} or more" if self.high is None else f"{self.low} to {self.high}"
        if not right:
            raise AlloyError(f"no {block} has {self.name} {value!r}: give {way}")


class Block(wiring.Component):
    """A component with one keyword for each :class:`Parameter` of its class, and read-only attributes of these names.

    A class says what else its values have to keep in ``check``, and which ports come of them in ``members``.

    Raises
    ------
    AlloyError : a value is none that the block can have.
    TypeError : a parameter is missing, or there is none of a name.
    """

    def __init__(self, **values):
        cls, parameters = type(self), self.parameters()
        if values.keys() != parameters.keys():
            raise TypeError(f"a {cls.__name__} takes {', '.join(parameters)}; given: {', '.join(values) or 'nothing'}")
        for name, parameter in parameters.items():
            parameter.check(cls.__name__, values[name])
            setattr(self, f"_{name}", values[name])
        self.check()
        super().__init__(self.members())

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Name to :class:`Parameter`, in order, those of what the class is made from first."""
        return {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()
                if isinstance(value, Parameter)}

    @classmethod
    def of(cls, config: "EngineConfig | Block", **more: Any) -> Self:
        """A block with the values of ``config`` that have the names of its parameters; ``more`` has the others."""
        return cls(**{name: getattr(config, name) for name in cls.parameters() if name not in more}, **more)

    def check(self) -> None:
        """Raise :class:`AlloyError` for values that do not go together."""

    def members(self) -> dict[str, Member]:
        """The ports."""
        raise NotImplementedError


class WithFilters(Block):
    """A block that knows the filter slots of the array: first those of DSP columns, then those of LUT columns."""
    dsp_filters = Parameter(0, even=True)
    lut_filters = Parameter(0)

    @property
    def slots(self) -> int:
        """Filters that the array works on at once."""
        return self.dsp_filters + self.lut_filters


def check_out_pixels(name: str, block: Any) -> None:
    """Raise :class:`AlloyError` unless ``out_pixels`` of ``pixels`` pixels can leave a block ``name`` together."""
    if not leaves(block.out_pixels, block.pixels):
        raise AlloyError(f"no {name} of {block.pixels} pixels has out_pixels {block.out_pixels}: give 1, or an even "
                         "number whose square divides pixels")
