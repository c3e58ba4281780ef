"""The cycle model: complete accounts, sensible reactions; against the RTL of a small engine."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from rtl.generate import generate
from sim import cycle_model, verilator
from sim.cycle_model import CAUSES, ERROR, model
from sim.run import layer_network, rtl_layer_cycles
from spec.commands import Opcode, unpack
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.operators.max_pool import MaxPool
from tests.compiler import graphs
from tests.networks import random_config, random_network, separable_network
from tests.verilated import shared_cache

CONFIG = EngineConfig(name="cycles", ic=8, pixels=4, dsp_filters=4, lut_filters=2, act_depth=512, out_pixels=2,
                      row_taps=3, tables=1, weight_depth=128, ports=2, port_bits=64, portable_dsp=True)


def test_every_cycle_is_accounted_for():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        network, config = random_network(rng), random_config(rng)
        layers = model(compile(network, config), config)
        assert {layer.tag for layer in layers} <= set(range(len(network.nodes)))
        for layer in layers:
            assert set(layer.losses) == set(CAUSES) and abs(sum(layer.losses.values()) - layer.cycles) < 1e-6
            assert 0 <= layer.macs <= layer.cycles * (config.macs_dsp + config.macs_lut)


@pytest.mark.parametrize("text", ["1x1,8,6,1", "3x3,16,24,8"])
def test_a_program_that_waits_for_ever(monkeypatch, text):
    """Nothing gives what its commands wait for: no hang, and no cycles of a part."""
    program = compile(layer_network(text, CONFIG), CONFIG)
    monkeypatch.setattr(cycle_model._Engine, "_give", lambda *_: [])
    with pytest.raises(AlloyError, match="waits for a semaphore that no command gives"):
        model(program, CONFIG)


def test_bandwidth_matters():
    program = compile(layer_network("3x3,32,24,6", CONFIG), CONFIG)
    fast, slow = (model(program, CONFIG, bytes_per_cycle=rate)[0] for rate in (8, 0.5))
    assert slow.cycles > 2 * fast.cycles and slow.losses["weights"] > fast.losses["weights"]
    shared = model(program, CONFIG, all_bytes_per_cycle=1)[0]       # by the two ports
    assert shared.cycles == pytest.approx(slow.cycles, rel=0.2)


def test_spilled_tensors_take_as_long_as_their_bytes():
    """On the way out, and in again, of what is read twice: else it would be handed on in strips."""
    spilled = graphs.network({"image": (8, 24, 24), "mid": (64, 24, 24), "one": (8, 24, 24), "out": (8, 24, 24)},
                             graphs.layer("image", "mid", 64, 8), graphs.layer("mid", "one", 8, 64),
                             graphs.layer("mid", "out", 8, 64, residual="one", res_mult=30))
    out, back, _ = model(compile(spilled, CONFIG), CONFIG, bytes_per_cycle=0.5)
    assert out.cycles > 0.9 * 64 * 24 * 24 / 0.5 and back.cycles > 0.9 * 64 * 24 * 24 / 0.5


@pytest.mark.parametrize("first, bursts", [(0, 2), (1, 3), (CONFIG.burst_beats, 2), (CONFIG.burst_beats + 3, 3)])
def test_bursts_end_at_multiples_of_their_length(first, bursts):
    """What begins within one takes one more."""
    found = cycle_model._Engine(CONFIG, CONFIG.port_bytes, CONFIG.port_bytes, 40, cycle_model.Timing())
    found._deliver(1, 0.0, [(first * CONFIG.port_bytes, 2 * CONFIG.burst_beats)], 1.0)
    assert len(found.bursts[1]) == bursts


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return verilator.build(generate(CONFIG), CONFIG, shared_cache(tmp_path_factory), report=lambda line: None)


def errors(engine, network, **bus):
    """Relative error of the model for each layer by tag, and for all of them together."""
    program = compile(network, CONFIG)
    run = engine.run(program, np.zeros((1, *network.tensors["image"].shape), int), **bus).runs[0]
    measured, modelled = rtl_layer_cycles(run.trace), {x.tag: x.cycles for x in model(program, CONFIG, **bus)}
    whole = sum(modelled.values()) / sum(measured.values()) - 1
    return {tag: modelled[tag] / cycles - 1 for tag, cycles in measured.items()}, whole


@pytest.mark.parametrize("bus", [
    dict(bytes_per_cycle=8), dict(bytes_per_cycle=4), dict(all_bytes_per_cycle=6)], ids=str)
@pytest.mark.parametrize("text", ["3x3,32,24,10", "1x1,64,40,8", "3x3,8,60,12"])
def test_layers_on_rtl(engine, text, bus):
    assert abs(errors(engine, layer_network(text, CONFIG), **bus)[1]) < 0.065


def test_spilled_tensors_on_rtl(engine):
    """Loads, stores and weights at once, of a memory that gives all of them together less than their ports take."""
    spilled = graphs.network({"image": (8, 24, 24), "mid": (64, 24, 24), "one": (8, 24, 24), "out": (8, 24, 24)},
                             graphs.layer("image", "mid", 64, 8), graphs.layer("mid", "one", 8, 64),
                             graphs.layer("mid", "out", 8, 64, residual="one", res_mult=30))
    for rate, most in ((12, 0.05), (6, 0.04), (3, 0.02)):
        assert abs(errors(engine, spilled, all_bytes_per_cycle=rate)[1]) < most


def test_a_store_gets_what_reads_leave(engine):
    """Sums of which strips are loaded and stored at once, of a memory that gives three quarters of what both take:
    8 % too short if they did not know of each other."""
    shapes = {"image": (8, 24, 24), "x": (64, 24, 24), "a": (16, 24, 24), "y": (64, 24, 24), "b": (16, 24, 24),
              "z": (16, 24, 24)}
    network = graphs.network(
        shapes, graphs.layer("image", "x", 64, 8), graphs.layer("x", "a", 16, 64),
        graphs.layer("a", "y", 64, 16, residual="x", res_mult=30), graphs.layer("y", "b", 16, 64),
        graphs.layer("y", "z", 16, 64, residual="b", res_mult=30))
    assert abs(errors(engine, network, all_bytes_per_cycle=12)[1]) < 0.06


def test_a_pool_lets_the_store_of_the_one_before_it_pass():
    """So that its visits are counted with the words that are stored meanwhile."""
    found = cycle_model._Engine(CONFIG, CONFIG.port_bytes, CONFIG.port_bytes, 40, cycle_model.Timing())
    some = dict(wait=0, give=0, tag=0, dram=0, stride=0, mem_in=0, mem_out=1, rows=4, cols=16, out_groups=2)
    pool = some | dict(opcode=Opcode.POOL, res_phase_x=0, out_phase_x=0, out_par_x=0, groups=2, taps=9)
    found.waiting["compute"] += [(pool | dict(give=8), 5.0), (pool, 5.0)]
    found.waiting["store"].append((some | dict(opcode=Opcode.STORE_ACT, wait=8), 5.0))
    while found._step(float("inf")):
        pass
    first, second = (end for end, _ in found.completed)
    visits = 4 * 16 // CONFIG.out_pixels * 2
    assert abs(first - visits * 9 - (second - first - visits * 10)) < 10


@pytest.mark.parametrize("channels", [24, 32])
def test_a_layer_that_reads_what_is_gathered_from(engine, channels):
    """It begins when the sums before it are through, whose residual lies in the memory of its input: each layer by
    itself. Its pieces and those of the sums alternate."""
    shapes = {"image": (8, 32, 32), **dict.fromkeys("bcde", (channels, 16, 16))}
    kernel = dict(kernel=(3, 3), padding=(1, 1))
    network = graphs.network(
        shapes, graphs.layer("image", "b", channels, 8, stride=(2, 2), **kernel),
        graphs.layer("image", "c", channels, 8, stride=(2, 2), residual="b", res_mult=30),
        graphs.layer("c", "d", channels, channels, **kernel),
        graphs.layer("d", "e", channels, channels, residual="c", res_mult=30, **kernel))
    found, whole = errors(engine, network)
    assert abs(whole) < 0.01 and max(map(abs, found.values())) < 0.02


@pytest.mark.parametrize("middle, channels, size, most", [
    (16, 48, 40, 0.02), (24, 24, 28, 0.1), (40, 48, 28, 0.03), (64, 32, 28, 0.03)])
def test_transfers_beside_convolutions_of_the_same_memory(engine, middle, channels, size, most):
    """Strips of a spilled tensor wait while outputs are written to their memory, stores while one is read: without that
    layers were up to 28 % too short."""
    half = channels, size // 2, size // 2
    shapes = {"image": (8, size, size), "a": (middle, size, size), "b": half, "c": half}
    network = graphs.network(
        shapes, graphs.layer("image", "a", middle, 8),
        graphs.layer("a", "b", channels, middle, kernel=(3, 3), padding=(1, 1), stride=(2, 2)),
        graphs.layer("a", "c", channels, middle, stride=(2, 2), residual="b", res_mult=30))
    first, *others = errors(engine, network)[0].values()
    assert abs(first) < most and max(map(abs, others)) < 0.03


@pytest.mark.parametrize("size, wide, middle", [(14, 200, 48), (12, 250, 40), (10, 300, 64)])
def test_filters_in_parts_on_rtl(engine, size, wide, middle):
    """Of some channel groups and all pixels: what is moved of each pixel makes bursts of its own, and a store waits
    while the input and the residual are read. Cycles, and every code."""
    shapes = {"image": (8, size, size), "x": (wide, size, size), "a": (middle, size, size), "y": (wide, size, size),
              "b": (middle, size, size), "z": (middle, size, size)}
    network = graphs.network(
        shapes, graphs.layer("image", "x", wide, 8), graphs.layer("x", "a", middle, wide),
        graphs.layer("a", "y", wide, middle, residual="x", res_mult=200), graphs.layer("y", "b", middle, wide),
        graphs.layer("y", "z", middle, wide, residual="b", res_mult=200))
    found, whole = errors(engine, network)
    program, codes = compile(network, CONFIG), np.random.default_rng(size).integers(0, 16, (1, 8, size, size))
    assert any(c["opcode"] == Opcode.STORE_ACT and c["rows"] == size * size for c in map(unpack, program.commands))
    run = engine.run(program, codes, stall=0.3, seed=size).runs[0]
    assert (program.unpack("z", run.regions[0]) == network.codes(codes)["z"][0]).all()
    assert abs(whole) < 0.01 and max(map(abs, found.values())) < 0.05


@pytest.mark.parametrize("text, most", [
    ("1x1,64,64,1", 0.05), ("1x1,8,6,1", 0.03), ("1x1,256,10,1", 0.03), ("1x1,8,8,2", 0.04), ("1x1,32,64,3", 0.08)])
def test_linear_and_small_layers_on_rtl(engine, text, most):
    """Kind: a claim that holds for the example only. These were 12 to 26 % optimistic: commands came too fast."""
    assert abs(errors(engine, layer_network(text, CONFIG))[1]) < most


@pytest.mark.parametrize("kernel, stride, channels, size", [
    (3, 2, 20, (11, 14)), (2, 2, 8, (8, 9)), (3, 1, 24, (7, 7)), (5, 3, 5, (13, 12))])
def test_pools_on_rtl(engine, kernel, stride, channels, size):
    """A maximum behind a convolution, and one behind it that reads its output in planes: cycles, and every code."""
    first, rng = layer_network(f"3x3,6,{channels},{max(size)}", CONFIG).nodes[0], np.random.default_rng(channels)
    names, shapes, nodes = ["image", "t0", "t1", "t2"], [(6, *size), (channels, *size)], []
    for name, kernel_, stride_ in (("one", kernel, stride), ("two", 2, 2)):
        pad, (_, *before) = kernel_ // 2, shapes[-1]
        shapes.append((channels, *((n + 2 * pad - kernel_) // stride_ + 1 for n in before)))
        nodes.append(MaxPool(name=name, input=names[len(shapes) - 2], output=names[len(shapes) - 1], lo=0, hi=31,
                             kernel=(kernel_, kernel_), stride=(stride_, stride_), padding=(pad, pad)))
    tensors = {n: Tensor(name=n, channels=c, height=h, width=w, bits=5)
               for n, (c, h, w) in zip(names, shapes, strict=True)}
    network = Network(name="pools", input="image", output="t2", tensors=tensors,
                      nodes=[replace(first, input="image", output="t0"), *nodes])
    found, whole = errors(engine, network)
    assert abs(found[1]) < 0.02 and abs(whole) < 0.05
    codes, program = rng.integers(0, 32, (2, *shapes[0])), compile(network, CONFIG, keep="all")
    for stall in (0, 0.4):
        result, expected = engine.run(program, codes, stall=stall, seed=channels), network.codes(codes)
        for number, run in enumerate(result.runs):
            assert run.done and result.violation == ""
            for name, data in zip(program.outputs, run.regions, strict=True):
                assert (program.unpack(name, data) == expected[name][number]).all(), (stall, number, name)


def random_layers(engine, seed, count):
    """Errors of layers that nobody planned, on buses of different speed: sorted."""
    rng, out = np.random.default_rng(seed), []
    while len(out) < count:
        kernel, size = int(rng.choice([1, 1, 1, 2, 3, 5])), int(rng.choice([1, 1, 2, 4, 7, 12, 16]))
        wide = 200 if size < 3 else 48
        channels, filters, bus = int(rng.integers(1, wide)), int(rng.integers(1, wide)), dict(
            bytes_per_cycle=float(rng.choice([8, 6, 4, 2])), latency=int(rng.choice([10, 40, 100])))
        if kernel <= size + kernel // 2 * 2:
            try:
                network = layer_network(f"{kernel}x{kernel},{channels},{filters},{size}", CONFIG)
                out.append(errors(engine, network, **bus)[1])
            except AlloyError as error:
                assert "raise" in str(error)
    return np.sort(out)


def inside(found):
    """The errors keep what :data:`sim.cycle_model.ERROR` says, and use it."""
    low, high, most = ERROR
    return low <= found[0] and found[-1] <= high and np.quantile(np.abs(found), 0.9) <= most


def test_random_layers_on_rtl(engine):
    """Kind: a claim that holds for the example only. What is printed beside an estimate is what random layers show."""
    assert inside(random_layers(engine, 1, 50))


@pytest.mark.slow
def test_many_random_layers_on_rtl(engine):
    found = np.sort(np.concatenate([random_layers(engine, seed, 100) for seed in range(2, 8)]))
    assert inside(found) and found[0] < 0.6 * ERROR[0] and found[-1] > 0.6 * ERROR[1]


@pytest.mark.parametrize("widths", [(64, 64, 64, 64, 10), (200, 100, 50, 10), (16,) * 6], ids=str)
@pytest.mark.parametrize("rate", [8, 4])
def test_linear_networks_on_rtl(engine, widths, rate):
    """A network of linear layers as a whole; single layers of less than a hundred cycles lend cycles to others."""
    names, nodes = ["image", *(f"t{n}" for n in range(1, len(widths)))], []
    for source, out, channels, filters in zip(names[:-1], names[1:], widths[:-1], widths[1:], strict=True):
        node = layer_network(f"1x1,{channels},{filters},1", CONFIG, len(nodes)).nodes[0]
        nodes.append(replace(node, name=out, input=source, output=out))
    tensors = {n: Tensor(name=n, channels=c, height=1, width=1, bits=5) for n, c in zip(names, widths, strict=True)}
    network = Network(name="linear", input="image", output=names[-1], tensors=tensors, nodes=nodes)
    assert abs(errors(engine, network, bytes_per_cycle=rate)[1]) < 0.07


def test_taps_in_a_row_on_rtl(engine):
    """Depthwise convolutions of any window between others: cycles, and every code, with stalls too."""
    happens = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        network = separable_network(rng, channels=(6, 40), size=(5, 20))
        program = compile(network, CONFIG, keep="all")
        happens += any(unpack(record).get("in_row") for record in program.commands)
        assert abs(errors(engine, network)[1]) < 0.06
        codes = rng.integers(0, 256, (2, *network.tensors["image"].shape))
        for stall in (0, 0.4):
            result, expected = engine.run(program, codes, stall=stall, seed=seed), network.codes(codes)
            for number, run in enumerate(result.runs):
                assert run.done and result.violation == ""
                for name, data in zip(program.outputs, run.regions, strict=True):
                    assert (program.unpack(name, data) == expected[name][number]).all(), (seed, stall, number, name)
    assert happens > 6


@pytest.mark.parametrize("text", ["1x1,16,24,12", "3x3,16,12,8"])
def test_codes_of_two_digits_on_rtl(engine, text):
    """Twice the tiles of pixels, half of the pixels in each."""
    network = layer_network(text, CONFIG)
    wide = replace(network, tensors={**network.tensors, "image": replace(network.tensors["image"], bits=8)})
    assert abs(errors(engine, wide)[1]) < 0.06
    assert 1.3 < sum(one.cycles for one in model(compile(wide, CONFIG), CONFIG)) / sum(
        one.cycles for one in model(compile(network, CONFIG), CONFIG))
