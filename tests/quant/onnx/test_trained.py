"""Trained networks as ONNX files, float and quantized by onnxruntime."""

import warnings

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
import pytest
import torch

from alloy.flow import FlowOptions, run_flow
from quant import quantize, trace
from quant.bench import data
from quant.normalize import Normalization
from quant.onnx import load
from spec.errors import AlloyError

from .graphs import check_same, run
from .test_quantized import input_codes


class Pictures(CalibrationDataReader):
    """Of a task, as its model reads them."""

    def __init__(self, images):
        self._left = iter([{"x": one[None]} for one in images])

    def get_next(self):
        return next(self._left, None)


def task_of(name):
    try:
        return data.load(name)
    except AlloyError as error:
        pytest.skip(str(error))


def export(task, path, way="older"):
    """The path of what an exporter of PyTorch writes: "default", as it is called, "older", or "unfolded", the same with
    batch norms left as they are."""
    image = Normalization.of(task.mean, task.std, 3).real(task.train[0][:1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way == "default":
            torch.onnx.export(task.model, (image,), str(path), verbose=False)
        else:
            more = {} if way == "older" else {
                "do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
            torch.onnx.export(task.model, (image,), str(path), dynamo=False, input_names=["x"],
                              dynamic_axes={"x": {0: "n"}}, **more)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "resnet18", "resnet50"])
def test_both_doors_lead_to_the_same_graph(tmp_path, name):
    """Layer by layer and bit by bit, however the file was exported; what is made of it is a function of it alone. The
    older exporter folds the norms of ResNet-20 with another root."""
    task = task_of(name)
    shape = task.train[0].shape[1:]
    for way in ("default", "unfolded", *(["older"] if name != "resnet20" else [])):
        found = load(export(task, tmp_path / f"{way}.onnx", way))
        one, two = trace(task.model, shape, logits=True), trace(found.module, shape, logits=True)
        assert [layer.name for layer in one.weighted] == [layer.name for layer in two.weighted]
        names = {one.input: two.input}
        for first, second in zip(one.layers, two.layers, strict=True):
            names[first.output] = second.output
            assert type(first) is type(second) and names.get(first.residual) == second.residual
            assert [names[source] for source in first.sources] == [*second.sources]
            for key in vars(first).keys() - {"name", "sources", "output", "residual", "moments"}:
                value, other = getattr(first, key), getattr(second, key)
                same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
                assert same, (way, first.name, key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "resnet18", "resnet50"])
def test_both_doors_lead_to_the_same_integer_network(tmp_path, name):
    """Every field of every layer and tensor, and so the logits."""
    task = task_of(name)
    models = task.model, load(export(task, tmp_path / "net.onnx", "default")).module
    one, two = (quantize(model, task.train[0][:16], mean=task.mean, std=task.std, recipe="fixed8", report=None)
                for model in models)
    check_same(one, two)
    assert np.array_equal(one.logits(task.test[0][:4]), two.logits(task.test[0][:4]))


@pytest.mark.slow
def test_both_doors_of_the_flow(tmp_path):
    """ResNet-20 as module and weights, and as a file: the program is the same, byte for byte."""
    task = task_of("resnet20")
    torch.save(task.model.state_dict(), tmp_path / "net.pth")
    np.savez(tmp_path / "images.npz", images=task.train[0][:96], labels=task.train[1][:96])
    made = []
    for model in ({"model": "quant.bench.models:CifarResNet", "weights": str(tmp_path / "net.pth")},
                  {"model": str(export(task, tmp_path / "net.onnx", "default"))}):
        options = FlowOptions(**model, name="resnet20", images=str(tmp_path / "images.npz"), mean="imagenet",
                              calibration=48, platform="pynq-z2", simulate=1)
        out = tmp_path / str(len(made))
        results = run_flow(options, out, last="compile", say=lambda text: None)
        made.append(((out / "program.alloy").read_bytes(), results["quantize"]["lines"]))
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2", "resnet18", "resnet20"])
def test_quantized_by_onnxruntime(tmp_path, name):
    """The network answers as onnxruntime does."""
    task = task_of(name)
    images = Normalization.of(task.mean, task.std, 3).real(task.train[0][:24]).numpy()
    quantize_static(export(task, tmp_path / "f.onnx"), tmp_path / "q.onnx", Pictures(images[:16]), per_channel=True,
                    quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    found, expected = load(tmp_path / "q.onnx"), run(tmp_path / "q.onnx", images[16:], precise=True)
    assert all(one.share < 0.01 and one.most <= 1 for one in found.findings)
    got = found.network.logits(input_codes(found.network, images[16:])).reshape(expected.shape)
    step = found.network.tensors[found.network.output].scale
    assert np.abs(got - expected).mean() < step and (got.argmax(1) == expected.argmax(1)).mean() >= 0.7
