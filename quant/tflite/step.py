"""An operator while it is read, and what its inputs are."""

from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np

from spec.errors import AlloyError

from ..grids.values import Codes, Grid
from .arithmetic import bounds
from .files import Node, Tensor

__all__ = ["Step", "Value", "View", "grid_of", "in_order"]

WAY = ("convert the model with full integer quantization (representative_dataset, supported_ops "
       "TFLITE_BUILTINS_INT8)")


@dataclass(frozen=True, eq=False)
class View:
    """A tensor of the file as values of one of the network.

    Attributes
    ----------
    codes : the tensor of the network. index : of the file's shape, where each value stands in (C, H, W), flat; -1: it
        is the code of 0.
    real : whether these are real numbers in the file. ended : behind what is left out at the end.
    """
    codes: Codes
    index: np.ndarray
    real: bool = False
    ended: bool = False


Value: TypeAlias = View | np.ndarray | None      # constants are arrays, None is left out


def in_order(shape: tuple[int, int, int]) -> np.ndarray:
    """(1, H, W, C): the index of all values of (C, H, W)."""
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape).transpose(1, 2, 0)[None]


class Step:
    """An operator; ``tensors`` are those that it reads, ``made`` those that it makes, ``inputs`` their values."""

    def __init__(self, node: Node, name: str, where: str, tensors: list[Tensor | None], made: list[Tensor],
                 inputs: list[Value]):
        self.op_type, self.name, self.where, self.options = node.op_type, name, where, node.options
        self.tensors, self.made, self.inputs = tensors, made, inputs

    def refuse(self, what: str) -> NoReturn:
        """Raise :class:`AlloyError`: the operator ``what``."""
        raise AlloyError(f"{self.where} {what}")

    def option(self, name: str, default: Any) -> Any:
        """One of its options by the library's name; ``default`` in files that have none."""
        return getattr(self.options, name, default)

    def has(self, index: int) -> bool:
        """Whether there is such an input."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def array(self, index: int) -> np.ndarray:
        """A constant input."""
        value = self.inputs[index] if self.has(index) else None
        if isinstance(value, np.ndarray):
            return value
        self.refuse(f"depends on the image in its input {index}, or has none: only constants are supported there")

    def ints(self, index: int) -> list[int]:
        """The whole numbers of a constant input."""
        return [int(one) for one in self.array(index).ravel()]

    def view(self, index: int) -> View:
        """An input that depends on the image, as codes."""
        value = self.inputs[index] if self.has(index) else None
        if not isinstance(value, View):
            self.refuse(f"reads a constant as its input {index}: a tensor that depends on the image is supported there")
        if value.real:
            self.refuse(f"computes with real numbers, which is not supported: {WAY}")
        return value

    def grid(self, index: int = 0) -> Grid:
        """That of an output."""
        return grid_of(self.made[index], self.where)

    def limits(self) -> tuple[int, int]:
        """Least and largest code of its output behind the fused activation."""
        activation = int(self.option("fusedActivationFunction", 0))
        if activation not in range(4):
            self.refuse("has the activation TANH or SIGN_BIT inside, which is not supported: use RELU, RELU6 or none")
        return bounds(activation, self.grid())

    def grid_in(self, index: int) -> Grid:
        """That of an input."""
        tensor = self.tensors[index]
        assert tensor is not None
        return grid_of(tensor, self.where)


def grid_of(tensor: Tensor, where: str) -> Grid:
    """The codes of a tensor. Raises :class:`AlloyError` for those that the engine has not."""
    if tensor.dtype not in ("INT8", "UINT8"):
        what = "computes with real numbers" if tensor.dtype.startswith("FLOAT") else (
            f"computes with values of type {tensor.dtype}")
        raise AlloyError(f"{where} {what}, which is not supported: {WAY}")
    if tensor.scale.size != 1 or tensor.zero.size > 1 or not tensor.plain:
        raise AlloyError(f"{where} reads or makes {tensor.name} with {tensor.scale.size} scales: activations have one "
                         "scale and one zero point for the whole tensor")
    low = -128 if tensor.dtype == "INT8" else 0
    grid = Grid(float(tensor.scale[0]), int(tensor.zero[0]) if tensor.zero.size else 0, low, low + 255)
    grid.check(where)
    return grid
