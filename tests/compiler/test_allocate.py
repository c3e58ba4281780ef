"""Places of values: what a step reads is still there when it reads it. Against memories painted word by word."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

import compiler.allocate as places
from compiler import compile
from compiler.allocate import allocate
from compiler.build import lowered
from compiler.plan import Step
from sim import command_model
from sim.cycle_model import model
from spec.commands import Opcode, unpack
from spec.errors import AlloyError
from tests.compiler.graphs import bottleneck, engine, layer, network, pool, random_graph

TINY = dict(act_depth=12)


def words(place):
    return [(place.mem, address) for address in range(place.base, place.base + place.words)]


def has_its_windows(op, strip):
    """The stored part of the input has all pixels of the tensor that the strip's windows reach."""
    for axis, (low, high, stored, whole) in enumerate((
            (strip.y0, strip.y1, strip.input.height, op.input.height),
            (strip.x0, strip.x1, strip.input.width, op.input.width))):
        reach = [out * op.stride[axis] - op.padding[axis] + k
                 for out in range(low, high) for k in range(op.kernel[axis])]
        first = strip.input_at[axis]
        assert {at for at in reach if 0 <= at < whole} <= set(range(first, first + stored))


def paint(plan, config):
    """Go through the steps with the owner of every word; returns how many steps have operands in DRAM."""
    memory = {(mem, address): None for mem in (0, 1) for address in range(config.act_depth)}

    def write(owner, place):
        for word in words(place):
            assert word in memory
            memory[word] = owner

    def read(owner, place):
        assert all(memory[word] == owner for word in words(place)), owner.name
    if plan.input is not None:
        write(plan.graph.input, plan.input)
    computed = {step: set() for step in plan.steps}
    for turn in plan.turns:
        for step, strip in ((step, step.strips[number]) for number in range(len(turn[0].strips)) for step in turn):
            op = step.op
            operands = [(op.input, strip.input), (op.residual, strip.residual)]
            for value, place in operands:
                if value in step.dram:
                    write(value, place)
            for value, place in operands[:1 + (op.residual is not None)]:
                read(value, place)
            if op.residual is not None:
                assert strip.residual.mem != strip.input.mem
            assert not set(words(strip.output)) & {word for _, place in operands if place for word in words(place)}
            write(op.output, strip.output)
            has_its_windows(op, strip)
            computed[step] |= {*product(range(strip.y0, strip.y1), range(strip.x0, strip.x1),
                                        range(strip.g0, strip.g1))}
    for step, made in computed.items():
        out = step.op.output
        assert made == {*product(range(out.height), range(out.width), range(out.groups(config.ic)))}
    return sum(bool(step.dram) for step in plan.steps)


@pytest.mark.parametrize("seed", range(60))
def test_roomy_memories_hold_everything(seed):
    graph, config = random_graph(seed, act_depth=4096)
    added_to_itself = any(op.residual is op.input for op in graph.ops)
    assert (paint(allocate(graph, config), config) > 0) == added_to_itself


@pytest.mark.parametrize("seed", range(60))
def test_small_memories_are_worked_on_in_strips(seed):
    graph, config = random_graph(seed, **TINY)
    try:
        plan = allocate(graph, config)
    except AlloyError as error:
        assert "does not fit the activation memories even one pixel at a time: raise act_depth (now 12)" in str(error)
        return
    paint(plan, config)


def test_strips_happen():
    strips = 0
    for seed in range(30):
        try:
            strips += paint(allocate(*(case := random_graph(seed, **TINY))), case[1]) > 0
        except AlloyError:
            continue
    assert strips > 5


def test_other_places_are_tried_before_a_value_leaves_the_chip(monkeypatch):
    """Kind: small values in the middle of the space that a large one needs. Block with a residual: first fit leaves
    no 16 words in one piece, although 20 are enough for all that lives at once."""
    net = network({"image": (4, 4, 4), "x": (16, 4, 4), "a": (4, 4, 4), "b": (4, 4, 4), "y": (16, 4, 4)},
                  layer("image", "x", 16, 4), layer("x", "a", 4, 16), layer("a", "b", 4, 4),
                  layer("b", "y", 16, 4, residual="x", res_mult=7))
    graph, config = lowered(net, engine(act_depth=20)), engine(act_depth=20)
    monkeypatch.setattr(places, "BEGIN", 0)
    assert paint(allocate(graph, config), config) == 0
    monkeypatch.setattr(places, "TRIES", 0)
    monkeypatch.setattr(places, "MOVES", 0)
    assert paint(allocate(graph, config), config) > 0


@pytest.mark.parametrize("size, stride, kernel", [(9, 2, 3), (16, 2, 3), (8, 1, 1), (9, 2, 1)])
def test_what_the_next_operation_alone_reads_is_handed_on_in_strips(monkeypatch, size, stride, kernel):
    """Kind: a value larger than the memories between two operations. It needs neither DRAM nor a place as a whole, and
    each strip is there when it is read."""
    monkeypatch.setattr(places, "BEGIN", 0)      # of each strip, which cost more than moving such small values
    config = engine(act_depth=size * size)
    graph = lowered(bottleneck(size, 24, stride, kernel), config)
    plan = allocate(graph, config)
    turns = [[step.op.name for step in turn] for turn in plan.turns if len(turn) > 1]
    assert turns and turns[0][:2] == ["to_wide", "to_deep"]
    assert len(plan.turns[1][0].strips) > 1 and paint(plan, config) == 0
    monkeypatch.setattr(places, "_passed_on", lambda graph: frozenset())
    moved = allocate(graph, config)
    assert paint(moved, config) > 0 and places.cost_of(plan, config) < places.cost_of(moved, config)


def test_single_values_are_moved_to_where_a_plan_costs_less(monkeypatch):
    """Kind: the first plan that fits is taken. Over random networks moves never cost more, and often less; and a value
    that two chains of strips share may be better in DRAM than strips of few rows."""
    less, tried = 0, 0
    for seed in range(60):
        try:
            graph, config = random_graph(seed, act_depth=24)
            moved = places.cost_of(allocate(graph, config), config)
            with monkeypatch.context() as patch:
                patch.setattr(places, "MOVES", 0)
                first = places.cost_of(allocate(graph, config), config)
        except AlloyError:
            continue
        assert moved <= first
        less, tried = less + (moved < first), tried + (first > 0)
    assert tried > 10 and less > 1


def wide_layer():
    """A network too large for the chip, whose layers take longer than their values take to be moved."""
    sizes = {"image": (32, 16, 16), "a": (32, 16, 16), "b": (32, 16, 16), "y": (32, 16, 16)}
    three = dict(kernel=(3, 3), padding=(1, 1))
    return network(sizes, layer("image", "a", 32, 32, **three), layer("a", "b", 32, 32, **three),
                   layer("b", "y", 32, 32, residual="a", res_mult=7, **three))


def test_one_strip_is_moved_while_another_is_worked_on(monkeypatch):
    """Kind: an array that waits for DRAM although there is other work. Strips lie in two places in turn, and the load
    of the second does not wait for the work on the first; where moving takes longer than the work, strips are large."""
    config = engine(act_depth=420)
    graph = lowered(wide_layer(), config)
    plan = allocate(graph, config)
    ahead = [step for step in plan.steps if step.ahead]
    assert ahead and paint(plan, config) > 0
    for step in ahead:
        for one, after in pairwise(step.strips):
            for value, first, second in ((step.op.input, one.input, after.input),
                                         (step.op.residual, one.residual, after.residual),
                                         (step.op.output, one.output, after.output)):
                assert value not in step.dram or not set(words(first)) & set(words(second))
        assert all(strip.output.mem != strip.input.mem for strip in step.strips)        # so that the store can read
    program = compile(wide_layer(), config)
    cycles = sum(layer.cycles for layer in model(program, config))
    codes = np.random.default_rng(0).integers(0, 16, (1, 32, 16, 16))
    got = command_model.run(program, config, codes[0], 0)
    assert (got["y"] == wide_layer().codes(codes)["y"][0]).all()
    first = places._Attempt._first
    monkeypatch.setattr(places._Attempt, "_first", lambda *args: None if any(args[4:]) else first(*args))
    assert cycles < 0.97 * sum(layer.cycles for layer in model(compile(wide_layer(), config), config))


def test_of_places_that_cost_the_same_the_store_reads_where_the_array_does_not(monkeypatch):
    """If there is room, wherever the dice put the input."""
    config = engine(act_depth=420)
    graph = lowered(wide_layer(), config)
    spilled = frozenset(value for step in allocate(graph, config).steps for value in step.dram)
    monkeypatch.setattr(places, "_turn_costs",
                        lambda graph, turn, *_: {step.op: float(not step.ahead) for step in turn})
    memories = set()
    for seed in range(20):
        steps = [step for step in places._Attempt(graph, config, places.Homes(spilled, seed=seed)).plan().steps
                 if step.ahead and step.op.output in step.dram]
        memories |= {strip.input.mem for step in steps for strip in step.strips}
        assert all(strip.output.mem != strip.input.mem for step in steps for strip in step.strips)
    assert memories == {0, 1}


def test_what_strips_cost(monkeypatch):
    """By hand, of a maximum in strips in DRAM: each needs a command; moved ahead, the store alone is waited for, which
    reads when the pool unit does not."""
    config = engine(act_depth=90)
    graph = lowered(network({"image": (4, 16, 16), "a": (32, 16, 16), "y": (32, 8, 8)}, layer("image", "a", 32, 4),
                            pool("a", "y")), config)
    op = graph.ops[-1]
    one = allocate(graph, config).steps
    strip = next(step for step in one if step.op.name == graph.ops[0].name).strips[0]
    parts = tuple(replace(strip, y0=row, y1=row + 1, x0=0, x1=8) for row in range(8))
    step = Step(op, parts, frozenset({op.input, op.output}))
    groups, beats = 8, config.group_beats
    loads, stores, work = 256 * groups * beats / config.act_lanes, 64 * groups * beats, 64 * op.effort(config)[0]

    def cost(**values):
        return places._turn_costs(graph, (replace(step, **values),), config, (), begin)[op]
    begin = 0
    assert cost() == loads + stores
    assert cost(ahead=True) == max(stores, loads + stores - work, (loads + stores) / 8)
    begin = work / 8 + 10
    assert cost() == loads + stores + 80
    monkeypatch.setattr(type(op), "gathers", lambda *_: 0.0)
    assert cost(ahead=True) == 80 + max(loads + stores - work, (loads + stores) / 8)


@pytest.mark.parametrize("more, again", [(-1, 3), (0, 0), (1, 0)])
def test_weights_that_the_buffer_does_not_hold_are_loaded_for_each_strip(more, again):
    """By hand, of a convolution in four strips: all but the first load its words once more."""
    config = engine(weight_depth=512)
    graph = lowered(network({"image": (4, 16, 16), "y": (16, 16, 16)}, layer("image", "y", 16, 4, (3, 3),
                                                                            padding=(1, 1))), config)
    op, = graph.ops
    strip = next(iter(allocate(graph, config).steps)).strips[0]
    parts = tuple(replace(strip, y0=row, y1=row + 4, x0=0, x1=16) for row in range(0, 16, 4))
    words = op.effort(config)[1]
    small = engine(weight_depth=words + more)
    assert places._turn_costs(graph, (Step(op, parts, frozenset()),), small, (), 0)[op] == (
        again * words * small.weight_beats)


@pytest.mark.parametrize("depth, apart", [(64, True), (60, False)])
def test_an_operation_beside_another_leaves_its_input_alone(depth, apart):
    """If there is other room."""
    config = engine(act_depth=depth)
    plan = allocate(lowered(bottleneck(8, 12, 1), config), config)
    (expand,), (deepen,) = ([step for step in plan.steps if step.op.name == name] for name in ("to_wide", "to_deep"))
    assert deepen.op.beside(expand.op, config) and len(deepen.strips) == len(expand.strips) == 1
    before, made = expand.strips[0].input, deepen.strips[0].output
    assert (before.mem == made.mem and made.base < before.base + before.words) != apart


def test_what_is_read_again_is_not_handed_on():
    """Two readers, a residual, or the network's output: the value is needed as a whole."""
    net = network({"image": (4, 6, 6), "a": (4, 6, 6), "b": (4, 6, 6), "c": (4, 6, 6), "y": (4, 6, 6)},
                  layer("image", "a", 4, 4), layer("a", "b", 4, 4), layer("b", "c", 4, 4, residual="a", res_mult=7),
                  layer("c", "y", 4, 4))
    names = {value.name for value in places._passed_on(lowered(net, engine()))}
    assert names == {"b", "c"}


def slow_image(channels):
    """An image whose load takes longer than the first layer, and a second layer that needs no more than it."""
    return network({"image": (channels, 24, 24), "a": (4, 24, 24), "y": (4, 24, 24)}, layer("image", "a", 4, channels),
                   layer("a", "y", 4, 4, (3, 3), padding=(1, 1)))


def test_the_second_layer_begins_before_the_whole_image_is_there():
    """Kind: the array waits for a load although there is other work. Strips of both layers in turn, the image loaded
    as they go; not where the first layer takes as long as the load."""
    config = engine(act_depth=4096)
    slow, = allocate(lowered(slow_image(48), config), config).turns
    assert [step.op.name for step in slow] == ["to_a", "to_y"] and len(slow[0].strips) >= places.EARLY
    quick = allocate(lowered(slow_image(4), config), config)
    assert [len(turn) for turn in quick.turns] == [1, 1] and [len(step.strips) for step in quick.steps] == [1, 1]
    program = compile(slow_image(48), config)
    commands = [unpack(record) for record in program.commands]
    loads = [at for at, c in enumerate(commands) if c["opcode"] == Opcode.LOAD_ACT]
    first = min(at for at, c in enumerate(commands) if c["opcode"] == Opcode.CONV and c["tag"] == 1)
    assert len(loads) >= places.EARLY and loads[-1] > first
    codes = np.random.default_rng(0).integers(0, 16, (1, 48, 24, 24))
    got = command_model.run(program, config, codes[0], 0)
    assert (got["y"] == slow_image(48).codes(codes)["y"][0]).all()


@pytest.mark.parametrize("size, act_depth", [(6, 256), (6, 10), (66, 4096)])
def test_the_whole_image_is_loaded_for_those_who_read_it_later(size, act_depth):
    """Its last row and column are none of the first layer's windows, but of the second one's; of many tiles, too."""
    half, config = size // 2, engine(act_depth=act_depth)
    net = network({"image": (4, size, size), "a": (4, half, half), "y": (4, half, half)},
                  layer("image", "a", 4, 4, stride=(2, 2)),
                  layer("image", "y", 4, 4, (3, 3), stride=(2, 2), padding=(1, 1), residual="a", res_mult=300))
    codes = np.random.default_rng(0).integers(0, 16, (1, 4, size, size))
    got = command_model.run(compile(net, config), config, codes[0], 0)
    assert (got["y"] == net.codes(codes)["y"][0]).all()


@pytest.mark.parametrize("seed", range(12))
def test_the_cheaper_of_strips_and_dram_is_taken(monkeypatch, seed):
    """Strips of a few rows make the rows between them again and again, which can cost more than DRAM."""
    rng = np.random.default_rng(seed)
    size, kernel, wide = int(rng.integers(6, 14)), int(rng.choice([1, 3, 5, 7])), int(rng.integers(8, 40))
    net = network({"image": (4, size, size), "wide": (wide, size, size), "y": (4, size, size)},
                  layer("image", "wide", wide, 4),
                  layer("wide", "y", 4, wide, (kernel, kernel), padding=(kernel // 2, kernel // 2)))
    config = engine(act_depth=int(rng.integers(60, 400)), weight_depth=2048, tap_depth=64)
    graph = lowered(net, config)
    mine = places.cost_of(allocate(graph, config), config)
    monkeypatch.setattr(places, "_passed_on", lambda graph: frozenset())
    assert mine <= places.cost_of(allocate(graph, config), config)


@pytest.mark.parametrize("phases", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_pixels_lie_within_their_placement_and_apart(phases):
    size = tuple((7 - 1) // count + 1 for count in phases)
    net = network({"image": (9, 7, 7), "a": (9, *size), "out": (9, *size)}, layer("image", "a", 9, 9, stride=phases),
                  layer("image", "out", 9, 9, stride=phases, residual="a", res_mult=3))
    place = allocate(lowered(net, engine()), engine()).input
    assert place.phases == phases
    split = [divmod(n, count) for count in phases for n in range(7)]
    rows, cols = split[:7], split[7:]
    spots = [place.spot(py, px, row, col, group) for row, py in rows for col, px in cols for group in range(3)]
    assert len(set(spots)) == len(spots) == 7 * 7 * 3
    assert all(place.base <= address < place.base + place.words and 0 <= bank < 4 for address, bank in spots)
