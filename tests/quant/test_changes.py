"""Changes in place that nobody sees are resolved without running the exported program again: the same operations, and
never another meaning."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant.capture import changes, reader
from quant.imports import trace
from spec.errors import AlloyError

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """Two convolutions, and what ``function`` makes of their results."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.a, self.n, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.act = nn.ReLU6(inplace=True)
        with torch.no_grad():
            self.n.bias.copy_(torch.linspace(-1, 1, 4))

    def forward(self, x):
        return self.function(self, x)


def residual(net, x):
    x = net.act(net.n(net.a(x)))
    y = torch.relu(net.b(x))
    y += x
    return F.silu(y.relu_() * 2, inplace=True)


def repeated(net, x):
    return net.act(net.b(net.act(net.b(net.act(net.n(net.a(x)))))))


def functional(net, x):
    x = F.hardswish(net.a(x), inplace=True)
    return F.dropout(F.leaky_relu_(net.b(x)).add_(1).mul_(0.5), training=False)


def of_a_view(net, x):
    x = net.a(x)
    x.flatten(1).relu_()
    return net.b(x)


def read_before(net, x):
    x = net.a(x)
    return net.b(x) + x.relu_()


def of_the_image(net, x):
    return net.a(x.mul_(2)) + net.a(x)


def under_no_grad(net, x):
    with torch.no_grad():
        return net.b(net.a(x).relu_())


def operations(net, monkeypatch, plain):
    """What is read by one road or the other."""
    if not plain:
        monkeypatch.setattr(reader, "without_changes", lambda graph: None)
    ops, output, size, refused = reader.capture(net, SHAPE)
    return [(type(op), op.name, op.inputs, op.where, op.module, op.call) for op in ops], output, size, refused


@pytest.mark.parametrize("function", [residual, repeated, functional])
def test_the_same_operations(monkeypatch, function):
    """Names, too: those of the network's file."""
    net, calls = Net(function).eval(), []
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", _counted(calls))
    plain = operations(net, monkeypatch, True)
    assert not calls and plain == operations(net, monkeypatch, False) and len(calls) == 1 and not plain[3]
    trace(net, SHAPE)       # beside the model


def _counted(calls):
    right = torch.export.ExportedProgram.run_decompositions

    def run(program, table):
        calls.append(program)
        return right(program, table)
    return run


@pytest.mark.parametrize("function", [of_a_view, read_before, of_the_image])
def test_what_is_not_plain_is_left_to_pytorch(monkeypatch, function):
    """Other names of the changed tensor see the change."""
    calls: list = []
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", _counted(calls))
    trace(Net(function).eval(), SHAPE)
    assert len(calls) == 1


def test_a_graph_in_the_graph_is_left_to_pytorch(monkeypatch):
    """As which parts without gradients are recorded where there are gradients."""
    calls: list = []
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", _counted(calls))
    assert not operations(Net(under_no_grad).eval(), monkeypatch, True)[3] and len(calls) == 1


def test_what_only_looks_plain_is_found(monkeypatch):
    """The model has the last word: a wrong twin is refused beside it."""
    wrong = torch.ops.aten.neg.default
    right = changes._twin
    monkeypatch.setattr(changes, "_twin", lambda node: right(node) and wrong)
    with pytest.raises(AlloyError, match="computes something else as imported"):
        trace(Net(lambda net, x: net.b(net.a(x).relu_())).eval(), SHAPE)
