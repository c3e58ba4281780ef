"""Tensors of all images, in little memory, and layers on them, batch after batch."""

from collections.abc import Callable, Mapping
from contextlib import suppress
import ctypes
from dataclasses import dataclass
from typing import Any

import torch

from spec.operators import Layer

__all__ = ["Coded", "VALUES", "applied", "batches", "each", "finished", "give_back"]

VALUES = 1 << 24        # of the images that a layer reads at once


@dataclass(frozen=True, eq=False)
class Coded:
    """A quantized tensor of all images as its codes, uint8 (N, C, H, W): real values would take four times the memory.

    Slices of it, and what is picked of it, are real: ``(code - zero) * step``.
    """
    codes: torch.Tensor
    zero: int
    step: float

    @property
    def shape(self) -> torch.Size:
        return self.codes.shape

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, images: slice) -> torch.Tensor:
        return self._real(self.codes[images])

    def _real(self, codes):
        return codes.float().sub_(self.zero).mul_(self.step)

    def at(self, images: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Real values of all channels at ``positions`` (M,) of the map of ``images`` (M,): (M, C)."""
        return self._real(self.codes.flatten(2)[images, :, positions])

    def mean(self) -> torch.Tensor:
        """Of each channel: (C,). Image after image, as PyTorch adds them up."""
        if self.codes.numel() <= VALUES:
            return self[:].mean((0, 2, 3))
        total = torch.zeros(self.shape[1])
        for some in batches(self):
            for image in self[some]:
                total += image.sum((1, 2))
        return total / (len(self) * self.shape[2:].numel())


def give_back() -> None:
    """Leave free memory to the operating system: glibc keeps what lies between allocations, gigabytes after large
    statistics."""
    with suppress(OSError, AttributeError):     # another C library
        ctypes.CDLL(None).malloc_trim(0)


def batches(x: torch.Tensor | Coded) -> list[slice]:
    """Slices of the images ``x`` (N, C, H, W): temporary tensors of so many are small, where those of all might take
    gigabytes."""
    count = max(1, VALUES // x.shape[1:].numel())
    return [slice(at, at + count) for at in range(0, len(x), count)]


def each(function: Callable[..., Any], *tensors: Any, out: torch.Tensor | None = None) -> torch.Tensor:
    """``function`` of the images of ``tensors`` (or None), batch after batch; into ``out`` if given."""
    for some in batches(tensors[0]):
        part = function(*(t if t is None else t[some] for t in tensors))
        if out is None:     # in the order of memory of the parts
            out = part.new_empty_strided((len(tensors[0]), *part.shape[1:]), (part[0].numel(), *part.stride()[1:]))
        out[some] = part
    assert out is not None
    return out


def applied(layer: Layer, tensors: Mapping[str, Any], **other: torch.Tensor) -> torch.Tensor:
    """A layer on the ``tensors`` that it reads, before addition and ReLU; ``other`` weight and bias."""
    return each(lambda *x: layer.apply(torch, *x, **other), *(tensors[name] for name in layer.sources))


def finished(layer: Layer, out: torch.Tensor, tensors: Mapping[str, Any]) -> None:
    """Addition and ReLU of a layer on ``out``, in place."""
    each(layer.finish, out, tensors[layer.residual] if layer.residual else None, out=out)
