"""Trained networks as ONNX files, float and quantized by onnxruntime."""

import warnings

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
import pytest
import torch

from quant import trace
from quant.bench import data
from quant.normalize import Normalization
from quant.onnx import load
from spec.errors import AlloyError

from .graphs import run
from .test_quantized import input_codes


class Pictures(CalibrationDataReader):
    """Of a task, as its model reads them."""

    def __init__(self, images):
        self._left = iter([{"x": one[None]} for one in images])

    def get_next(self):
        return next(self._left, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2", "resnet18", "resnet20"])
def test_trained_networks(tmp_path, name):
    """The layers of the float graph are the model's; the quantized network answers as onnxruntime does."""
    try:
        task = data.load(name)
    except AlloyError as error:
        pytest.skip(str(error))
    images = Normalization.of(task.mean, task.std, 3).real(task.train[0][:24]).numpy()
    model, shape = task.model.eval(), images.shape[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.from_numpy(images[:1]),), str(tmp_path / "f.onnx"), dynamo=False,
                          input_names=["x"], dynamic_axes={"x": {0: "n"}})
    found = load(tmp_path / "f.onnx")
    one, two = trace(model, shape, logits=True), trace(found.module, shape, logits=True)
    assert [layer.name for layer in one.weighted] == [layer.name for layer in two.weighted]
    for first, second in zip(one.weighted, two.weighted, strict=True):
        torch.testing.assert_close(first.weight, second.weight, rtol=1e-3, atol=1e-5)
    quantize_static(tmp_path / "f.onnx", tmp_path / "q.onnx", Pictures(images[:16]), per_channel=True,
                    quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    found, expected = load(tmp_path / "q.onnx"), run(tmp_path / "q.onnx", images[16:], precise=True)
    assert all(one.share < 0.01 and one.most <= 1 for one in found.findings)
    got = found.network.logits(input_codes(found.network, images[16:])).reshape(expected.shape)
    step = found.network.tensors[found.network.output].scale
    assert np.abs(got - expected).mean() < step and (got.argmax(1) == expected.argmax(1)).mean() >= 0.7
