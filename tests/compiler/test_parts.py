"""Strips of all pixels and some of the channel groups: filters that work in parts."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import compiler.allocate as places
from compiler import compile, steps
from compiler.allocate import allocate
from compiler.build import lowered
from compiler.plan import Step
from compiler.schedule import schedule
from sim import command_model
from sim.cycle_model import model
from spec.commands import Opcode, unpack
from tests.compiler.graphs import engine, layer, network, pool
from tests.compiler.test_allocate import paint


def deep_block(size=8, wide=96, source=4):
    """A block with a residual, of few pixels and many filters: its sums, which are read twice, do not fit, and neither
    do its weights."""
    wide_map, small = (wide, size, size), (16, size, size)
    return network({"image": (source, size, size), "x": wide_map, "a": small, "y": wide_map, "b": small, "z": small},
                   layer("image", "x", wide, source), layer("x", "a", 16, wide),
                   layer("a", "y", wide, 16, residual="x", res_mult=200), layer("y", "b", 16, wide),
                   layer("y", "z", 16, wide, residual="b", res_mult=200))


DEEP = dict(act_depth=160, weight_depth=48)


def test_filters_in_parts_load_their_weights_once(monkeypatch):
    """Kind: an array that waits for the same weights again and again. Strips of some of the channel groups, but of all
    pixels, need each of them once; the codes are right, and it is sooner done."""
    net, config = deep_block(), engine(**DEEP)
    plan = allocate(lowered(net, config), config)
    assert paint(plan, config) > 0
    step = next(step for step in plan.steps if step.op.name == "to_y")
    parts = [(strip.g0, strip.g1) for strip in step.strips]
    assert len(parts) > 1 and parts[0][0] == 0 and parts[-1][1] == 24
    assert all(one[1] == after[0] for one, after in pairwise(parts))
    assert all((strip.y0, strip.y1, strip.x0, strip.x1) == (0, 8, 0, 8) for strip in step.strips)
    codes = np.random.default_rng(0).integers(0, 16, (1, 4, 8, 8))

    def weights():
        program = compile(net, config, keep="all")
        got = command_model.run(program, config, codes[0], 0)
        assert all((got[name] == net.codes(codes)[name][0]).all() for name in got)
        commands = [unpack(record) for record in program.commands]
        tag = next(layer.tag for layer in program.layers if layer.output == "y")
        return (sum(c["count"] for c in commands if c["opcode"] == Opcode.LOAD_WEIGHTS and c["tag"] == tag),
                sum(layer.cycles for layer in model(program, config)))
    loaded, cycles = weights()
    assert loaded == 24 * 4         # of the tiles of 4 filters that read 4 channel groups
    monkeypatch.setattr(type(step.op), "divisible", False)
    more, longer = weights()
    assert more >= 2 * loaded and longer > 1.02 * cycles


@pytest.mark.parametrize("seed", range(20))
def test_filters_in_parts_make_the_same_codes(seed):
    """Whatever the sizes, filters that fill no groups, kinds of slots; whether residual, output or both are in DRAM."""
    rng = np.random.default_rng(seed)
    size, wide, source = int(rng.integers(4, 10)), int(rng.integers(50, 130)), int(rng.integers(3, 12))
    net, config = deep_block(size, wide, source), engine(**DEEP | dict(
        act_depth=int(rng.integers(120, 260)), dsp_filters=int(rng.choice([2, 4, 6])),
        lut_filters=int(rng.integers(0, 4)), pixels=int(rng.choice([2, 4])), ports=int(rng.choice([1, 2]))))
    codes = rng.integers(0, 16, (1, source, size, size))
    graph = lowered(net, config)
    paint(allocate(graph, config), config)
    got = command_model.run(compile(net, config), config, codes[0], seed)
    assert (got["z"] == net.codes(codes)["z"][0]).all()


def test_what_is_not_cut_into_parts():
    """Taps of a row, whose tiles are those of the input's groups, what makes some channels of a value, and what the
    array does not make."""
    op = lowered(deep_block(), engine(**DEEP)).ops[0]
    assert op.divisible
    assert not replace(op, row_taps=3).divisible and not replace(op, at=0).divisible
    pooled = lowered(network({"image": (4, 8, 8), "a": (4, 8, 8), "y": (4, 4, 4)}, layer("image", "a", 4, 4),
                             pool("a", "y")), engine())
    assert [op.divisible for op in pooled.ops] == [True, False]


def test_what_commands_touch_are_groups_of_the_part(monkeypatch):
    """Kind: commands that seem not to touch what they do. Groups count from the first one that lies there."""
    seen = []

    def listen(items, config):
        seen.extend(access.groups for item in items for access in item.accesses if access.groups)
        return schedule(items, config)
    monkeypatch.setattr(steps, "schedule", listen)
    config = engine(**DEEP)
    compile(deep_block(), config)
    assert any(groups.period not in (4, 24) for groups in seen)         # those of a part
    assert all(0 <= groups.first < groups.end <= groups.period for groups in seen)


def test_parts_happen():
    """The property above is not vacuous, and parts lie at borders of groups that tiles would else straddle."""
    found = []
    for seed in range(6):
        config = engine(**DEEP | dict(act_depth=130 + 20 * seed, lut_filters=seed % 3))
        found += [step for step in allocate(lowered(deep_block(wide=90 + seed), config), config).steps
                  if any(strip.g0 for strip in step.strips)]
    assert len(found) > 3


def test_the_image_has_no_parts():
    """As a residual: its channels come from windows."""
    small = 16, 8, 8
    net = network({"image": (48, 8, 8), "a": small, "y": (48, 8, 8), "b": small, "z": small},
                  layer("image", "a", 16, 48), layer("a", "y", 48, 16, residual="image", res_mult=200),
                  layer("y", "b", 16, 48), layer("y", "z", 16, 48, residual="b", res_mult=200))
    config, codes = engine(**DEEP), np.random.default_rng(0).integers(0, 16, (1, 48, 8, 8))
    steps = allocate(lowered(net, config), config).steps
    assert any(step.op.name == "to_y" and len(step.strips) > 1 and {strip.g0 for strip in step.strips} == {0}
               for step in steps)
    got = command_model.run(compile(net, config), config, codes[0], 0)
    assert (got["z"] == net.codes(codes)["z"][0]).all()


def test_what_parts_cost(monkeypatch):
    """By hand, of sums in two parts, or in strips of rows: each pixel of what is moved in parts takes a few cycles
    more, and an input that is not on the chip comes for each part; weights and parameters that strips load again take
    DRAM from what is moved ahead; a store finds no time to read in the memory of the input, and less beside a
    residual."""
    fields = DEEP | dict(out_pixels=2)
    config = engine(**fields)
    graph = lowered(deep_block(), config)
    op = next(op for op in graph.ops if op.name == "to_y")
    made = next(step for step in allocate(graph, config).steps if step.op is op).strips[0]
    other = replace(made, output=replace(made.output, mem=1 - made.input.mem))
    same = replace(made, output=replace(made.output, mem=made.input.mem))
    array, post = op.spent(config)
    pixels, groups, work = 64, 24, 64 * op.effort(config)[0]
    loads, stores = (pixels * groups * config.group_beats / lanes for lanes in (config.act_lanes, 1))
    short = places.SHORT * pixels * (1 + 1 / config.act_lanes)

    def cost(strip, count, ahead, tall=False, dram=(op.residual, op.output), **values):
        strips = tuple(replace(strip, y0=8 // count * at, y1=8 // count * (at + 1), g0=0, g1=groups) if tall else
                       replace(strip, g0=groups // count * at, g1=groups // count * (at + 1)) for at in range(count))
        step = Step(op, strips, frozenset(dram), ahead)
        return places._turn_costs(graph, (step,), engine(**fields | values), (), 0)[op]
    moved = loads + stores + short
    assert cost(other, 2, False) == moved
    assert cost(other, 2, False, dram=(op.input, op.residual, op.output)) == moved + (
        2 * pixels * 4 * config.group_beats / config.act_lanes)
    alone = stores + places.SHORT * pixels
    assert stores > alone - work and cost(same, 2, True, dram=(op.output,)) == stores
    assert cost(other, 2, True, dram=(op.output,)) == max(
        alone - work, alone / 2, stores - work * (1 - post / max(array, post))) < stores
    assert cost(same, 2, True) == max(moved - work, moved / 2, stores)
    assert cost(other, 2, True) == max(moved - work, moved / 2, stores - work * (1 - post / max(array, post)))
    moved, tiles, words = loads + stores, op.commands(config), op.effort(config)[1]
    params = tiles * config.slots * 16 / config.port_bytes
    again = words * config.weight_beats
    assert cost(other, 2, False, True, weight_depth=words - 1) == moved + again
    assert cost(other, 2, False, True, weight_depth=words, param_depth=tiles) == moved
    little = max(moved / 2, stores - work * (1 - post / max(array, post)))
    for held, params_held, more in ((places.ENTRIES, 1024, 0), (tiles - 1, 1024, again + params), (
            places.ENTRIES, tiles - 1, params)):
        monkeypatch.setattr(places, "ENTRIES", held)
        assert cost(other, 2, True, True, weight_depth=words, param_depth=params_held) == max(
            moved + more - work, little)
