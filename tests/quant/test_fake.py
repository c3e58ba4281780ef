"""Fake quantization: what training does with it."""

import pytest
import torch

from quant.fake import calm


@pytest.mark.parametrize("count", [1, 16, 100])
def test_calm_divides_the_gradient(count):
    """By the root of the count, and changes no value."""
    scale = torch.tensor([0.5, 3.0], requires_grad=True)
    made = calm(scale, count)
    assert torch.allclose(made, scale)
    made.sum().backward()
    assert torch.allclose(scale.grad, torch.full((2,), count ** -0.5))
