"""What a function that stands for an ONNX operator gets, and the table of them: each module of this folder that has
functions enters them there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np

from spec.errors import AlloyError

__all__ = ["FUNCTIONS", "Function", "Given", "function", "LARGEST"]

LARGEST = 1 << 28       # elements of one value


@dataclass(frozen=True, eq=False)
class Given:
    """One node of an ONNX graph.

    Attributes
    ----------
    where : names it in messages. op_type : its operator. opset : version of the operators that the file is written in.
    attributes : by name, those of the operator's schema with their defaults included.
    constants : for each input its value, if that depends on weights alone; else None.
    outputs : how many results are read. batch : the size of the first dimension that the file gives its image, None if
        it leaves that open.
    """

    where: str
    op_type: str
    opset: int
    attributes: Mapping[str, Any]
    constants: Sequence[np.ndarray | None]
    outputs: int
    batch: int | None

    def refuse(self, what: str) -> NoReturn:
        """Raise :class:`AlloyError`: the node ``what``."""
        raise AlloyError(f"{self.where} {what}")

    def constant(self, index: int) -> np.ndarray | None:
        """The value of an input; None if it is left out or empty."""
        if index >= len(self.constants):
            return None
        value = self.constants[index]
        if value is None:
            self.refuse(f"depends on the image in its input {index}: only constants are supported there")
        return value if value.size else None

    def ints(self, index: int, name: str = "") -> list[int] | None:
        """The whole numbers of input ``index``, or those of the attribute ``name`` that older operators have in its
        place; None if they are left out."""
        if name in self.attributes:
            return [int(value) for value in self.attributes[name]]
        value = self.constant(index)
        return None if value is None else [int(one) for one in value.flat]

    def number(self, index: int, name: str = "") -> float | None:
        """The same for one number."""
        if name in self.attributes:
            return float(self.attributes[name])
        value = self.constant(index)
        return None if value is None else float(value.flat[0])


Function: TypeAlias = Callable[..., Any]
FUNCTIONS: dict[str, Function] = {}


def function(*op_types: str) -> Callable[[Function], Function]:
    """Decorator: computes the operators of these names. It is called with the node (:class:`Given`) and its inputs,
    tensors or None, and returns a tensor, or a tuple of one for each output."""
    def enter(one):
        FUNCTIONS.update(dict.fromkeys(op_types, one))
        return one
    return enter
