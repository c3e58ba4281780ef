"""Import: what is accepted computes what the model computes, the model stays as it was, and what is not supported is
one sentence."""

from hypothesis import HealthCheck, given, settings, strategies as st
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from quant import QuantNet, trace
from quant.capture import Apply, Relu
from quant.capture.nodes import whole
from quant.equalize import equalize
from quant.fuse import fuse
from quant.imports import examine
from quant.ptq import reconstruct
from spec.errors import AlloyError
from spec.operators.convolution import ConvLayer

SHAPE = (3, 6, 5)


def conv(channels=3, filters=3, kernel=1, **options):
    return nn.Conv2d(channels, filters, kernel, padding=kernel // 2, **options)


def model(forward, **modules):
    """A model of ``modules`` whose forward has the signature of ``forward``."""
    torch.manual_seed(0)
    made = type("Model", (nn.Module,), {"forward": forward})()
    for name, module in modules.items():
        setattr(made, name, module)
    return made


def same(net, shape=SHAPE, size=1.0):
    """Whether a model's graph computes what the model does in eval mode."""
    graph = trace(net, shape)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(5)) * size
    modes = [m.training for m in net.modules()]
    with torch.no_grad():
        expected = net.eval()(x.clone())
        got = graph.tensors(x)[graph.output]
    for module, mode in zip(net.modules(), modes, strict=True):
        module.training = mode
    return torch.allclose(got.flatten(1), expected.flatten(1), rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


# -- kind: another function than the model's, accepted without a word
# ---------------------------------------------------


@pytest.mark.parametrize(
    "forward, words",
    [
        (lambda self, left, right: self.a(left) + self.b(right), r"2 inputs \(left, right\)"),
        (lambda self, x, *, y: self.a(x) + y, r"2 inputs \(x, y\)"),
    ],
)
def test_models_of_two_inputs(forward, words):
    with pytest.raises(AlloyError, match=words):
        trace(model(forward, a=conv(), b=conv()), SHAPE)


def _skip(self, x, skip=None):
    y = self.a(x)
    return y if skip is None else y + skip


def _scale(self, x, scale=1.0, *rest, twice=False, **more):
    y = self.a(x)
    y = self.b(y) if twice else y
    return y if scale == 1.0 else y * scale


@pytest.mark.parametrize("forward", [_skip, _scale])
def test_arguments_with_defaults_have_them(forward):
    net = model(forward, a=conv(), b=conv())
    assert same(net) and [layer.residual for layer in trace(net, SHAPE).layers] == [None]


@pytest.mark.parametrize(
    "bounds", [(nn.ReLU6(), nn.ReLU()), (nn.ReLU(), nn.ReLU6()), (nn.ReLU6(), nn.ReLU6()), (nn.ReLU(),) * 2]
)
def test_the_smaller_bound_holds(bounds):
    net = nn.Sequential(conv(3, 8), *bounds, conv(8, 4))
    for parameter in net.parameters():
        parameter.data *= 40
    assert same(net)
    assert same(nn.Sequential(conv(3, 8), bounds[0], nn.Identity(), bounds[1]), size=100)


@pytest.mark.parametrize(
    "caps, least", [((6.0, 4.0), 4.0), ((4.0, 6.0), 4.0), ((None, 6.0), 6.0), ((6.0, None), 6.0), ((None, None), None)]
)
def test_bounds_of_any_order(caps, least):
    layer = ConvLayer(name="c", sources=("input",), output="c", weight=torch.ones(2, 3, 1, 1), bias=torch.zeros(2))
    ops = [Apply(name="c", inputs=("input",), layer=layer)]
    for index, cap in enumerate(caps):
        ops.append(Relu(name=f"r{index}", inputs=(ops[-1].name,), cap=cap))
    (layer,) = fuse(ops, "r1", SHAPE).layers
    assert layer.relu and (layer.cap is None if least is None else (layer.cap == least).all())


def _in_place_sum(self, x):
    x = self.a(x)
    out = x
    out += self.b(x)
    return torch.relu(self.c(out) + x)


def _in_place_method(self, x):
    x = self.a(x)
    flat = torch.flatten(x, 1)
    x.add_(self.b(x))
    return self.d(flat)


def _in_place_relu(self, x):
    x = self.a(x)
    F.relu(x, inplace=True)
    return self.c(x) + x


def _in_place_module(self, x):
    x = self.a(x)
    y = self.r(x)
    return self.b(y) + x


def _in_place_twice(self, x):
    x = self.a(x)
    same_as_x = self.i(x)
    x += self.b(same_as_x)
    same_as_x.relu_()
    return self.c(x)


@pytest.mark.parametrize(
    "forward", [_in_place_sum, _in_place_method, _in_place_relu, _in_place_module, _in_place_twice]
)
def test_changes_in_place_are_seen_by_every_name(forward):
    net = model(forward, a=conv(), b=conv(), c=conv(), r=nn.ReLU(inplace=True), i=nn.Identity(), d=nn.Linear(90, 4))
    assert same(net)


@pytest.mark.parametrize(
    "norm",
    [
        lambda m: prune.random_unstructured(m, "weight", 0.5),
        lambda m: prune.ln_structured(m, "weight", 0.5, n=2, dim=0),
        weight_norm,
        spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
    ],
)
def test_weights_that_hooks_make_from_parameters(norm):
    """After load_state_dict the hook has not run: the weights are those of before."""
    torch.manual_seed(0)
    net, trained = nn.Sequential(norm(conv(3, 4, 3))), nn.Sequential(norm(conv(3, 4, 3)))
    trained(torch.rand(1, *SHAPE))
    net.load_state_dict(trained.state_dict())
    assert same(net.eval())


def test_every_module_keeps_its_mode():
    net = nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5)).train()
    net[1].eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for graph in (lambda: trace(net, SHAPE), lambda: trace(nn.Sequential(net, nn.Sigmoid()), SHAPE)):
        try:
            graph()
        except AlloyError:
            pass
        assert [m.training for m in net] == [True, False, True, True] and net.training
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
        assert not any(m._forward_hooks for m in net.modules())


def test_what_forward_counts_is_put_back():
    def forward(self, x):
        self.seen += len(self.seen)
        return self.a(x)

    net = model(forward, a=conv())
    net.register_buffer("seen", torch.zeros(1))
    assert same(net) and trace(net, SHAPE) and int(net.seen) == 1, "once by the test itself"


def test_the_model_has_the_last_word(monkeypatch):
    """Whatever makes the layers compute something else, the model's own answer is compared, and the first layer that
    differs is named."""

    def hooked(module):
        net = nn.Sequential(conv(), module, conv())
        net[1].register_forward_hook(lambda module, given, out: 2 * out)
        return net

    assert same(hooked(conv()))
    assert same(hooked(nn.ReLU()))
    with pytest.raises(AlloyError, match="layer 1 mixes images"):
        trace(nn.Sequential(conv(), nn.Flatten(0)), SHAPE)
    net = model(lambda self, x: self.b(self.a(x)), a=conv(), b=conv())
    right = Apply.apply
    monkeypatch.setattr(Apply, "apply", lambda op, *x: 1.01 * right(op, *x))
    with pytest.raises(AlloyError, match="layer a computes something else"):
        trace(net, SHAPE)


@pytest.mark.parametrize("behind", [[], [nn.ReLU()], [nn.BatchNorm1d(4)]])
def test_sums_that_cancel_are_rounded_otherwise(monkeypatch, behind):
    """As in linear layers of VGG: what large products add up to is near 0, and the order of adding them decides it. A
    difference that order does not explain is one."""
    shape, random = (3, 40, 40), torch.Generator().manual_seed(5)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).flatten(1).double()
    row = torch.randn(images.shape[1], generator=random).double() * 30
    row -= torch.linalg.lstsq(images.T, row[:, None]).solution[:, 0] @ images
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(row), 4), *behind).eval()
    net[1].weight.data[0], net[1].bias.data[0] = row.float(), 0.0
    assert net[1](images.float())[:, 0].abs().max() < 1e-6 * (images.abs() @ row.abs()).min()
    assert trace(net, shape)
    right = ConvLayer.apply
    monkeypatch.setattr(ConvLayer, "apply", lambda layer, *given, **more: right(layer, *given, **more) + 0.5)
    with pytest.raises(AlloyError, match="something else"):
        trace(net, shape)


def test_a_small_difference_in_a_small_channel_counts(monkeypatch):
    """One masked class of -1e4 must not hide that the others are wrong."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(90, 4))
    net[1].bias.data[2] = -1e4
    assert same(net)
    right = ConvLayer.apply
    monkeypatch.setattr(ConvLayer, "apply", lambda layer, *given, **more: right(layer, *given, **more) + 0.05)
    with pytest.raises(AlloyError, match="something else"):
        trace(net, SHAPE)


SIDES = {
    "plain": lambda m, x: m,
    "relu": lambda m, x: torch.relu(m),
    "relu_": lambda m, x: m.relu_(),
    "add": lambda m, x: m + x,
    "iadd": lambda m, x: m.add_(x),
    "method": lambda m, x: m.add(other=x),
    "torch": lambda m, x: torch.add(x, m, alpha=1),
    "six": lambda m, x: F.relu6(m, inplace=True),
    "both": lambda m, x: F.relu(input=torch.add(m, x)),
}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(SIDES)), st.booleans(), st.booleans(), st.integers(0, 3)),
        min_size=1,
        max_size=5,
    )
)
def test_any_graph_is_the_models_or_refused(steps):
    """Random chains with old names read again, in place or not."""

    def forward(self, x):
        names = [x, self.first(x)]
        for index, (side, normal, again, pick) in enumerate(steps):
            y = getattr(self, f"conv{index}")(names[-1])
            y = getattr(self, f"norm{index}")(y) if normal else y
            names.append(SIDES[side](y, names[pick % len(names)] if again else names[-1]))
        return self.last(torch.flatten(self.pool(names[-1]), 1))

    modules = {f"conv{i}": conv(3, 3, 3) for i in range(len(steps))} | {
        f"norm{i}": nn.BatchNorm2d(3) for i in range(len(steps))
    }
    net = model(forward, first=conv(), pool=nn.AdaptiveAvgPool2d(1), last=nn.Linear(3, 2), **modules)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    try:
        assert same(net)
    except AlloyError as error:
        assert "something else" not in str(error), "what cannot be imported is known before it is compared"


# -- kind: a traceback where a sentence is due
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made, words",
    [
        (lambda: nn.Sequential(conv()).state_dict(), "OrderedDict is not a model"),
        (lambda: torch.jit.script(nn.Sequential(conv())), "ScriptModule is not a model"),
        (lambda: nn.Sequential, "the class Sequential is not a model"),
        (lambda: "model.pth", "a str is not a model"),
        (lambda: nn.Sequential(conv()).half(), "0.weight is float16: call model.float"),
        (lambda: nn.Sequential(conv()).double(), "0.weight is float64: call model.float"),
        (lambda: nn.Sequential(conv()).to("meta"), "on the device meta: call model.cpu"),
        (lambda: nn.Sequential(conv(4)), "cannot run on images of 3x6x5 .*4 channels"),
        (lambda: nn.Identity(), "returns its input"),
        (lambda: model(lambda self, x: self.a(x) if x.sum() > 0 else x, a=conv()), "cannot be traced"),
        (
            lambda: model(lambda self, x: self.a(x) + self.b(x), a=conv(), b=conv(3, 1)),
            "adds tensors of 3x6x5 and 1x6x5",
        ),
        (lambda: model(lambda self, x: self.a(x) + x.mean(), a=conv()), "mean over dimensions|not supported"),
        (lambda: model(lambda self, x: {"y": self.a(x)}, a=conv()), "return one tensor"),
        (lambda: model(lambda self, x: self.a(x) * self.b(x), a=conv(), b=conv()), "mul .*is not supported"),
        (lambda: nn.Sequential(conv(), nn.Softmax(1), conv()), "layer 1 is softmax, which is not supported"),
        (lambda: nn.Sequential(conv(), nn.MaxPool2d(2, return_indices=True)), "one tensor"),
        (lambda: model(lambda self, x: self.b(self.a(x)[1].float()), a=nn.MaxPool2d(2, return_indices=True), b=conv()),
         "reads a further result"),
    ],
)
def test_what_is_no_model_that_can_run(made, words):
    with pytest.raises(AlloyError, match=words) as caught:
        trace(made(), SHAPE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "shape, words",
    [
        ((1, 3, 6, 5), "leave out the batch"),
        ((6, 5), "cannot run on images of 6x5"),
        (3, "cannot run on images of 3 "),
        ((3, 6.0, 5), "not channels"),
        ((3, 0, 5), "not channels"),
        ((3, -6, 5), "not channels"),
        ((5, 6, 3), "cannot run on images of 5x6x3"),
    ],
)
def test_shapes(shape, words):
    with pytest.raises(AlloyError, match=words):
        trace(nn.Sequential(conv()), shape)


@pytest.mark.parametrize(
    "names", [("keys", "values"), ("copy", "get"), ("items", "of_keys"), ("input", "output"), ("weights", "pop")]
)
def test_layers_may_have_any_name(names):
    net = model(
        lambda self, x: getattr(self, names[1])(input=getattr(self, names[0])(x)), **{name: conv() for name in names}
    )
    assert same(net)
    graph = trace(net, SHAPE)
    quantized = QuantNet(equalize(graph, torch.rand(12, *SHAPE)))
    reconstruct(quantized, torch.randint(0, 256, (12, *SHAPE), dtype=torch.uint8).numpy())
    assert len(quantized.export().nodes) == 2 and quantized.training


@pytest.mark.parametrize(
    "images, words",
    [
        (torch.randint(0, 256, (4, *SHAPE), dtype=torch.uint8), "uint8, not real inputs"),
        (torch.rand(0, *SHAPE), "at least one"),
        (torch.rand(4, 1, 6, 5), "4x1x6x5, but the network reads Nx3x6x5"),
        (torch.full((4, *SHAPE), float("nan")), "NaN"),
        ([1.0], "list, not real inputs"),
        (torch.rand(4, *SHAPE).double(), "float64"),
    ],
)
def test_images_to_equalize_with(images, words):
    with pytest.raises(AlloyError, match=words):
        equalize(trace(nn.Sequential(conv(), nn.ReLU(), conv()), SHAPE), images)


def test_one_output_is_no_logits():
    with pytest.raises(AlloyError, match="one output, which tells no classes apart"):
        trace(nn.Sequential(nn.Flatten(), nn.Linear(90, 1)), SHAPE, logits=True)


def test_values_that_no_number_holds():
    net = nn.Sequential(conv())
    net[0].weight.data.fill_(3e38)
    with pytest.raises(AlloyError, match="NaN or infinite values of random images of size 1: look at its weights"):
        trace(net, SHAPE)


@pytest.mark.parametrize("image, size", [(0, 1), (1, 50)])
def test_each_image_counts(monkeypatch, image, size):
    """A small image beside a large one, too."""
    right = ConvLayer.apply

    def wrong(layer, *given, **more):
        out = right(layer, *given, **more)
        out[image] *= 1.01
        return out
    monkeypatch.setattr(ConvLayer, "apply", wrong)
    with pytest.raises(AlloyError, match=rf"something else as imported .*random images of size {size}\)"):
        trace(nn.Sequential(nn.Identity(), conv()), SHAPE)


def test_large_images_beyond_all_numbers():
    """An exponential of them: what the small ones make is compared alone."""
    class Sharp(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv()

        def forward(self, x):
            return torch.exp(self.conv(x) * 9)
    assert not torch.isfinite(Sharp()(torch.randn(1, *SHAPE) * 50)).all()
    trace(Sharp(), SHAPE)


def test_layers_of_another_shape(monkeypatch):
    """The model's shape has the last word, too."""
    right = ConvLayer.apply
    monkeypatch.setattr(ConvLayer, "apply", lambda layer, *given, **more: right(layer, *given, **more)[:, :1])
    with pytest.raises(AlloyError, match="is 2x1x6x5 as imported, but the model makes 2x3x6x5 of it"):
        trace(nn.Sequential(nn.Identity(), conv()), SHAPE)


@pytest.mark.parametrize("size, kind", [(1, "AveragePoolLayer"), ((3, 5), "AveragePoolLayer"),
                                        ((None, 1), "AveragePoolLayer"), ((6, 5), "none"),
                                        (2, "AveragePoolLayer"), (4, "ConvLayer"), ((7, 2), "ConvLayer"),
                                        ((12, 10), "ConvLayer")])
def test_adaptive_pools(size, kind):
    """Windows of one size, the whole map or nothing at all, at one distance; others are filters."""
    net = nn.Sequential(conv(), nn.AdaptiveAvgPool2d(size))
    assert same(net)
    assert [type(layer).__name__ for layer in trace(net, SHAPE).layers[1:2]] == [kind] * (kind != "none")


def test_lazy_modules():
    lazy = nn.Sequential(nn.LazyConv2d(4, 1), nn.LazyBatchNorm2d())
    with pytest.raises(AlloyError, match="the model's 0.weight has no shape yet: call the model once with an image"):
        trace(lazy, SHAPE)
    lazy(torch.zeros(2, *SHAPE))
    assert len(trace(lazy, SHAPE).layers) == 1


def test_a_layer_that_is_torchscript():
    with pytest.raises(AlloyError, match="layer 1 is TorchScript, which cannot be traced: leave out torch.jit there"):
        trace(nn.Sequential(conv(), torch.jit.trace(conv(), torch.zeros(1, *SHAPE))), SHAPE)


def test_no_values():
    """Nothing is left of the map."""
    with pytest.raises(AlloyError, match=r"shows a part \(3, 0, 5\) of a tensor without values: give larger images"):
        trace(model(lambda self, x: self.a(x)[:, :, 6:].relu(), a=conv()), SHAPE)


@pytest.mark.parametrize("end", [nn.Identity(), nn.LayerNorm(4)])
def test_indices_of_whole_values_are_forgotten(end):
    """They are kept while a model is read, and are as large as its values."""
    examine(nn.Sequential(nn.Conv2d(3, 4, 1), end), (3, 4, 4))
    assert whole.cache_info().currsize == 0
