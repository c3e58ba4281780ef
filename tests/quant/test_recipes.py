"""Recipes: what they promise about shares and budgets, and that every layer of the engine agrees on what they make."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import boards
from compiler import compile
from quant import example, trace
from quant.assign import Ratio
from quant.graph import compute
from quant.integers import uncalibrated
from quant.ptq import reconstruct
from quant.ranges import search_range
from quant.recipes import RECIPES, Request, make_plan
from quant.recipes.nonuniform import quantile_levels
from quant.recipes.programs import choose
from quant.rounding import rounded
from quant.sensitivity import SHOWN, SOME, collect, divergences, filter_errors
from rtl.generate import generate
from sim import command_model, verilator
from sim.estimate import layer_cycles
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.numerics import Scheme
from tests.quant.parity import same_as_fake
from tests.verilated import shared_cache

ENGINE = EngineConfig(name="recipes", ic=16, pixels=4, dsp_filters=4, lut_filters=2, act_depth=1024, weight_depth=256,
                      ports=2, port_bits=64, portable_dsp=True, tables=2, decode_lanes=32)


@pytest.fixture(scope="module")
def shipped():
    """(graph, statistics, images to quantize with, test images) of the embedded example."""
    loaded = example.load("fashion_mnist")
    images = example.calibration("fashion_mnist")
    graph = trace(loaded.model, images.shape[1:], logits=True)
    return graph, collect(graph, torch.from_numpy(images[:64]).float() / 255), images, loaded.images


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return verilator.build(generate(ENGINE), ENGINE, shared_cache(tmp_path_factory), report=lambda line: None)


def planned(shipped, name, **options):
    board = boards.get("zcu102")
    return make_plan(name, Request(shipped[0], shipped[1], board.config, options,
                                   torch.from_numpy(shipped[2][:64]).float() / 255,
                                   lambda network: layer_cycles(network, board)))


def shares(plan, scheme):
    return {name: float((s == scheme).mean()) for name, s in plan.schemes.items()}


def test_shares_are_of_weights(shipped):
    """Not of filters, which have more or fewer of them; bits count them alike."""
    graph, plan = shipped[0], planned(shipped, "film_qnn")
    each = np.concatenate([np.repeat(plan.schemes[layer.name], layer.weight[0].numel()) for layer in graph.weighted])
    found = plan.shares(graph)
    assert found == {s.name: pytest.approx((each == s).mean()) for s in (Scheme.FIXED4, Scheme.FIXED8)}
    assert plan.weight_bits(graph) == (sum(4 + 4 * (each == Scheme.FIXED8)), len(each))


def test_film_qnn_takes_the_worst_filters(shipped):
    plan = planned(shipped, "film_qnn")
    for scheme in plan.schemes.values():
        assert (scheme == Scheme.FIXED8).sum() == max(1, round(0.05 * len(scheme)))
        assert set(scheme) <= {Scheme.FIXED4, Scheme.FIXED8}
    assert plan.bits == 5
    assert all((s == Scheme.FIXED4).all() for s in planned(shipped, "film_qnn", share=0).schemes.values())


def test_ilmpq_keeps_the_ratio(shipped):
    for scheme in planned(shipped, "ilmpq").schemes.values():
        counts = [(scheme == s).sum() for s in (Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8)]
        assert counts == list(Ratio(60, 35, 5).counts(len(scheme)))


def test_largest_eigenvalue(shipped):
    stats = shipped[1]["block1_conv1"]
    x, g = stats.windows[0].double(), stats.gradients[0].double()
    found = stats.largest_eigenvalues(rounds=60)
    for f in (0, 7, 15):
        block = (x * g[:, f:f + 1].square()).T @ x / len(x)
        assert found[f] == pytest.approx(float(torch.linalg.eigvalsh(block)[-1]), rel=0.02)


def answers(graph, real, changed, weight, bits):
    """Log probabilities of the float network with one layer's weight or the bits of its output changed."""
    tensors = {graph.input: real}
    for layer in graph.layers:
        out = compute(layer, tensors, **({"weight": weight} if layer.name == changed else {}))
        if layer.name == changed and bits:
            some = out.flatten()[::-(-out.numel() // 100_000)]
            step = search_range(some, some, 0, (1 << bits) - 1)
            out = (out / step + 0.5).floor().clamp(0, (1 << bits) - 1) * step
        tensors[layer.output] = out
    return F.log_softmax(tensors[graph.output].flatten(1), 1)


def four_bits(layer):
    return rounded(layer.weight.flatten(1), np.full(len(layer.weight), Scheme.FIXED4))[1].reshape(layer.weight.shape)


def test_classes_that_few_images_show_are_alike(shipped):
    graph, few, images, _ = shipped
    many, last = collect(graph, torch.from_numpy(images).float() / 255), graph.layers[-1].name
    assert len(images) >= SHOWN * 10 > few[last].images
    assert few[last].gain.std() < 1e-6 * few[last].gain.mean() < 0.1 * many[last].gain.std()
    assert all(s[name].gain.std() > 0.1 * s[name].gain.mean() for s in (few, many) for name in s if name != last)
    assert few[last].gain.sum() == pytest.approx(float(many[last].gain.sum()), rel=0.5)


def test_divergences(shipped):
    """Each change alone, against the whole network computed anew."""
    graph, _, images, _ = shipped
    real = torch.from_numpy(images[:4 * SOME + 9]).float() / 255
    changes = [(layer.name, four_bits(layer), None) for layer in graph.weighted]
    changes += [(layer.name, None, 3) for layer in graph.layers if layer.output in graph.bounded]
    changes += [("conv", None, 8), ("linear", None, None)]
    expected = np.zeros(len(changes))
    for part in real[-SOME:].split(25):
        exact = answers(graph, part, None, None, None)
        expected += [float(F.kl_div(answers(graph, part, *change), exact, log_target=True, reduction="sum")) / SOME
                     for change in changes]
    seen = []
    found = divergences(graph, real, changes, report=lambda *at: seen.append(at))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-7) and seen == [(1, 2), (2, 2)]
    # 8 bits are almost nothing, no change is nothing.
    assert found[:-2].min() > 0 and found[-2] < found[:-2].max() / 100 and found[-1] == 0


def test_predicted_loss_is_that_of_the_network(shipped):
    """What `alloy` minimizes, against the divergence of the answers when one layer after the other is rounded to 4
    bits.

    It leaves out how positions and filters work together, so only the order of magnitude is right; a forgotten number
    of positions would be wrong by up to 784 in this network.
    """
    graph, statistics, images, _ = shipped
    layers = graph.weighted
    losses = divergences(graph, torch.from_numpy(images[:64]).float() / 255,
                         [(layer.name, four_bits(layer), None) for layer in layers])
    ratios = []
    for layer, loss in zip(layers, losses, strict=True):
        stats, positions = statistics[layer.name], np.prod(graph.shapes[layer.output][1:])
        ratios.append(float((filter_errors(layer, stats, Scheme.FIXED4) * stats.gain).sum()) * positions / 2 / loss)
    assert max(ratios) < 40 * min(ratios) and 0.03 < np.median(ratios) < 3


@pytest.mark.slow
def test_hbp_meets_its_budget(shipped):
    graph = shipped[0]
    for average in (3, 4, 5.5):
        bits, weights = planned(shipped, "hbp", average=average).weight_bits(graph)
        assert bits <= average * weights * 1.0001
    assert len({int(s) for scheme in planned(shipped, "hbp").schemes.values() for s in scheme}) > 2
    with pytest.raises(AlloyError, match="no choice of bits"):
        planned(shipped, "hbp", average=1)


def test_hbp_budgets(shipped):
    """Bit operations, or cycles of the cycle model, instead of size; what the budget counts is what the plan keeps."""
    graph, board = shipped[0], boards.get("zcu102")
    layers = graph.weighted
    macs = [layer.weight[0].numel() * np.prod(graph.shapes[layer.output][1:]) for layer in layers]
    schemes = planned(shipped, "hbp", budget="bitops", average=5).schemes
    used = sum(m * schemes[layer.name].sum() for m, layer in zip(macs, layers, strict=True))
    assert used <= 5.0001 * sum(m * len(layer.weight) for m, layer in zip(macs, layers, strict=True))

    def taken(plan):
        found = layer_cycles(uncalibrated(plan.net(graph)), board)
        return sum(found[layer.name] for layer in layers)
    plan = planned(shipped, "hbp", budget="cycles", average=1.2)
    assert {int(s) for scheme in plan.schemes.values() for s in scheme} == {4, 8}, "3 bits cost what 4 do, 5 what 8 do"
    narrow = replace(plan, schemes={name: np.full_like(scheme, Scheme.FIXED4) for name, scheme in plan.schemes.items()})
    assert taken(narrow) < taken(plan) < 1.25 * taken(narrow)
    with pytest.raises(AlloyError, match="no budget 'watts'"):
        planned(shipped, "hbp", budget="watts")


@pytest.mark.parametrize("seed", range(20))
def test_choose_equals_exhaustive_search(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, rng.integers(1, 6))
    costs, uses = [rng.random(n) for n in sizes], [rng.integers(0, 6, (2, n)).astype(float) for n in sizes]
    limits = np.array([u.min(1) for u in uses]).sum(0) + rng.integers(0, 8, 2)
    best = min((sum(c[i] for c, i in zip(costs, pick, strict=True)) for pick in product(*map(range, sizes))
                if (sum(u[:, i] for u, i in zip(uses, pick, strict=True)) <= limits).all()), default=None)
    if best is None:
        with pytest.raises(AlloyError):
            choose(costs, uses, limits, "things")
        return
    pick = choose(costs, uses, limits, "things")
    assert (sum(u[:, i] for u, i in zip(uses, pick, strict=True)) <= limits).all()
    assert sum(c[i] for c, i in zip(costs, pick, strict=True)) == pytest.approx(best, abs=1e-5)


def test_alloy_fills_the_slots_and_no_more(shipped):
    config, graph, plan = boards.get("zcu102").config, shipped[0], planned(shipped, "alloy")
    for layer in graph.layers:
        if layer.weighted:
            scheme = plan.schemes[layer.name]
            tiles = -(-len(scheme) // config.slots)
            assert (scheme == Scheme.POT4).sum() <= tiles * config.lut_filters
            assert (scheme == Scheme.FIXED4).sum() + 2 * (scheme == Scheme.FIXED8).sum() <= tiles * config.dsp_filters
    assert sum((s == Scheme.FIXED8).sum() for s in plan.schemes.values()) > 0 and not plan.wide


@pytest.mark.slow
def test_alloy_spends_cycles(shipped):
    """More cycles, never beyond what was allowed, buy 8-bit filters and tensors; bits that the array joins anyway are
    left alone."""
    graph, board = shipped[0], boards.get("zcu102")

    def taken(plan):
        layers = layer_cycles(uncalibrated(plan.net(graph)), board)
        return sum(layers[layer.name] for layer in graph.weighted)
    fewest, more = (planned(shipped, "alloy", slack=slack) for slack in (0, 0.25))
    assert 1.1 * taken(fewest) < taken(more) < 1.28 * taken(fewest) and not fewest.wide and more.wide
    net = more.net(graph)
    assert all(net.bits[name] == (8 if name in more.wide else 5) for name in graph.bounded)
    assert not planned(shipped, "alloy", slack=0.25, act_bits=8).wide
    with pytest.raises(AlloyError, match="slack of -1"):
        planned(shipped, "alloy", slack=-1)


def test_readers_of_a_tensor():
    """Through max pools, and all of them."""
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d = (torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
            self.pool = torch.nn.MaxPool2d(2)

        def forward(self, x):
            x = self.pool(torch.relu(self.a(x)))
            return self.d(torch.relu(self.c(x) + self.b(x)))
    graph = trace(Net(), (3, 8, 8), logits=True)
    assert sorted(layer.name for layer in graph.readers("a")) == ["b", "c"]
    assert len(graph.bounded) == 2 and not graph.readers("d")
    assert [layer.name for layer in graph.readers(graph.bounded[1])] == ["d"]


def test_nonuniform_activations_and_single_scale(shipped):
    """At most 16 levels for every activation behind a ReLU, multipliers that are powers of two, the same codes
    everywhere."""
    graph, _, images, tests = shipped
    net = planned(shipped, "nonuniform").net(graph)
    reconstruct(net, images[:64])
    network, expected = same_as_fake(net, tests[:20])
    tabled = [node for node in network.nodes if node.kind == "conv" and node.table.size]
    assert len(tabled) > 4
    for node in tabled:
        assert len(np.unique(node.table)) <= 16 and len(np.unique(expected[node.output])) > 8
    for node in network.nodes[:1] + tabled:
        used = np.append(node.mult, node.res_mult)
        assert ((used & used - 1) == 0).all() and used.max() > 0
    program = compile(network, ENGINE)
    got = command_model.run(program, ENGINE, tests[0].astype(int), seed=3)
    assert all((got[name] == expected[name][0]).all() for name in got)


def test_quantile_levels():
    levels = quantile_levels(16)
    assert len(levels) == 16 and (levels == -levels[::-1]).all() and levels.max() == 119


def test_unknown_recipe(shipped):
    with pytest.raises(AlloyError, match="no recipe 'best'"):
        planned(shipped, "best")


def through(shipped, engine, name, **options):
    """Quantize by a recipe; every tensor of three images agrees in PyTorch, golden model and RTL."""
    graph, _, images, tests = shipped
    net = planned(shipped, name, **options).net(graph)
    reconstruct(net, images)
    network, expected = same_as_fake(net, tests[:3])
    program = compile(network, ENGINE, keep="all")
    result = engine.run(program, tests[:3].astype(np.int64))
    assert result.violation == "" and all(run.done for run in result.runs)
    for index, run in enumerate(result.runs):
        for tensor, region in zip(program.outputs, run.regions, strict=True):
            assert (program.unpack(tensor, region) == expected[tensor][index]).all(), (name, tensor, index)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("name, options", [("nonuniform", {}), ("alloy", {"slack": 0.25})])
def test_recipe_on_rtl(shipped, engine, name, options):
    through(shipped, engine, name, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"nonuniform"}))
def test_every_recipe_on_rtl(shipped, engine, name):
    through(shipped, engine, name)
