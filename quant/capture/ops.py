"""Operations: what a model is when each value is written once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from spec.operators import Layer

__all__ = ["INPUT", "Op", "Apply", "Norm", "Relu", "Add", "Pointwise", "Missing"]

INPUT = "input"


@dataclass(eq=False, kw_only=True)
class Op:
    """One operation, which makes the value ``name`` of the values ``inputs``.

    Attributes
    ----------
    where : "layer NAME (file, line)", for messages.
    module, call : path of the module of ``torch.nn`` that returns it, and in which of its calls.
    end : of the value that the model returns: what it makes of it before (:data:`quant.graph.ENDS`).
    index : where the elements that it returns, of their own shape without the batch, stand in the value.
    """

    name: str
    inputs: tuple[str, ...]
    where: str = ""
    module: str | None = None
    call: int = 0
    index: torch.Tensor | None = None
    end: str | None = None

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        """(C, H, W) of its value for those of its inputs."""
        return shapes[0]

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        """Its value for tensors (N, C, H, W)."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class Apply(Op):
    """A layer; its sources are :attr:`inputs`."""

    layer: Layer

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        return self.layer.shape(*shapes)

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        return self.layer.apply(torch, *x)


@dataclass(eq=False, kw_only=True)
class Norm(Op):
    """``(x - mean) * scale + bias`` of each channel; ``gain`` is the trained weight of a batch norm, by which the
    standard deviation is multiplied, None if it is none."""

    mean: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    gain: torch.Tensor | None = None

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        mean, scale, bias = (values.to(x[0])[:, None, None] for values in (self.mean, self.scale, self.bias))
        return (x[0] - mean) * scale + bias


@dataclass(eq=False, kw_only=True)
class Relu(Op):
    """ReLU, or ReLU6 with a ``cap``."""

    cap: float | None = None

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        return x[0].clamp(0, self.cap)


@dataclass(eq=False, kw_only=True)
class Add(Op):
    """The sum of two values of one shape."""

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        return x[0] + x[1]


@dataclass(eq=False, kw_only=True)
class Missing(Op):
    """What is not supported: a value of ``size`` (C, H, W) stands for it, so that reading can go on."""

    size: tuple[int, int, int]

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        return self.size


@dataclass(eq=False, kw_only=True)
class Pointwise(Op):
    """``function`` of each value alone, or of those of several values at the same place. ``what`` is its name in a
    message."""

    function: Callable[..., torch.Tensor]
    what: str

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        return self.function(*(one.double() for one in x)).float()
