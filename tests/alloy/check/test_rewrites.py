"""Ways out: nobody is advised against what is supported, which the readers' own table tells."""

import pytest
import torch
from torch import nn

from alloy.check.rewrites import PARTLY, REWRITES
from quant.capture import is_read
from quant.imports import examine
from quant.onnx.given import FUNCTIONS
from quant.onnx.quantized import READERS

from .test_check import ask


@pytest.mark.parametrize("name", [name for name in REWRITES if name not in PARTLY])
def test_no_advice_against_what_is_read(name):
    assert not is_read(name) and name not in FUNCTIONS and name not in READERS


class Call(nn.Module):
    """A function in the middle of a network."""

    def __init__(self, function):
        super().__init__()
        self.function, self.a, self.b = function, nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.b(self.function(self.a(x)))


FORMS = {"matmul": lambda x: x @ x, "bmm": lambda x: torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2))[..., None],
         "argmax": lambda x: x.argmax(1, True) + x,
         "einsum": lambda x: torch.einsum("nchw,nchv->nchv", x, x),
         "batch_norm": lambda x: nn.functional.batch_norm(x, None, None, training=True),
         "upsample_bilinear2d": lambda x: nn.functional.interpolate(x, scale_factor=2, mode="bilinear",
                                                                    align_corners=True),
         "mul": lambda x: x.relu() * x.roll(1, 1), "div": lambda x: x / (x.roll(1, 1).abs() + 1),
         "softmax": lambda x: x.softmax(1), "log_softmax": lambda x: x.log_softmax(1)}


@pytest.mark.parametrize("name", PARTLY)
def test_what_is_read_in_some_forms_only(name):
    """It is read, and there is a form that is refused, with this advice."""
    assert is_read(name)
    refused = ask(Call(FORMS[name]), (4, 8, 8)).refused
    found = [one for one in refused if name in (one.operation or "") or one.operation == "matmul"]
    assert found and found[0].rewrite == PARTLY[name]


@pytest.mark.parametrize("function, name", [
    (nn.GroupNorm(2, 4), "group_norm"), (nn.LayerNorm(8), "layer_norm"), (nn.InstanceNorm2d(4), "instance_norm"),
    (lambda x: x.cumsum(1), "cumsum"), (lambda x: nn.functional.interpolate(x, scale_factor=2, mode="bicubic"),
                                        "upsample_bicubic2d"),
    (lambda x: nn.functional.scaled_dot_product_attention(x, x, x), "scaled_dot_product_attention"),
    (lambda x: x.topk(4, 1)[0], "topk"), (lambda x: nn.functional.max_pool3d(x[:, :, None], (1, 1, 1))[:, :, 0], None)])
def test_advice_reaches_its_function(function, name):
    """The names are those that PyTorch records."""
    refused = ask(Call(function), (4, 8, 8)).refused
    assert refused and (name is None or refused[0].rewrite == REWRITES[name])


@pytest.mark.parametrize("function", [nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.PReLU(4), nn.Tanh(), torch.exp,
                                      lambda x: x.pow(2), lambda x: x.abs().sqrt(),
                                      lambda x: nn.functional.interpolate(x, scale_factor=2),
                                      lambda x: nn.functional.interpolate(x, scale_factor=2, mode="bilinear"),
                                      nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 4, 2, 1),
                                      nn.AdaptiveMaxPool2d(2)])
def test_supported_after_all(function):
    """What was advised against once."""
    _, refused, compare = examine(Call(function).eval(), (4, 8, 8))
    assert refused == []
    compare()
