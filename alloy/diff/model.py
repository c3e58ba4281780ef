"""The model against its float network: whether that has the model's weights and computes what it computes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from quant.graph import FloatNet
from quant.quantize import real_graph

from .subject import Subject

__all__ = ["ModelError", "compare_model"]


@dataclass(frozen=True)
class ModelError:
    """Of the outputs, at most, of the standard deviation of the model's.

    Attributes
    ----------
    off : how far the float network is from the model, but for what ``border`` says.
    border : how far zero padding of the image moves them: it is one pixel for all channels, ``pixel``, and the model's
        is the mean of each.
    """
    off: float
    border: float
    pixel: int


@torch.no_grad()
def compare_model(subject: Subject, count: int, outputs: np.ndarray) -> ModelError:
    """For the first ``count`` test images, of which the float network makes ``outputs`` (N, features).

    The model's graph as it is is compared with the model, and the same graph where it reads pixels with the float
    network.
    """
    job = subject.job
    assert isinstance(job.model, nn.Module)
    given, graph = real_graph(job.model, job.shape, job.mean, job.std, job.options.logits)
    codes = torch.from_numpy(subject.codes(count).reshape(-1, *graph.shapes[graph.input]))
    real = FloatNet(graph)(given.real(codes)).numpy()
    read = FloatNet(given.folded(graph))((codes.float() - given.zero) / 255).numpy()
    spread = real.std() or 1.0

    def apart(one, other):
        return float(abs(one - other).max() / spread)
    off, border = apart(read, outputs), apart(read, real)
    if graph.end is None:
        model = subject.outputs(count)
        off = max(off, apart(model, real) if model.shape == real.shape else 0.0)
    return ModelError(max(off, border) if given.padded else off, 0.0 if given.padded else border, given.zero)
