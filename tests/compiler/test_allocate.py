"""Places of values: what a step reads is still there when it reads it. Against memories painted word by word."""

import pytest

import compiler.allocate as places
from compiler.allocate import allocate
from compiler.build import lowered
from spec.errors import AlloyError
from tests.compiler.graphs import engine, layer, network, random_graph

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
    for step in plan.steps:
        op, computed = step.op, set()
        for strip in step.strips:
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
            computed |= {(y, x) for y in range(strip.y0, strip.y1) for x in range(strip.x0, strip.x1)}
        assert computed == {(y, x) for y in range(op.output.height) for x in range(op.output.width)}
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
    assert paint(allocate(graph, config), config) == 0
    monkeypatch.setattr(places, "TRIES", 0)
    assert paint(allocate(graph, config), config) > 0


@pytest.mark.parametrize("phases", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_pixels_lie_within_their_placement_and_apart(phases):
    size = tuple((7 - 1) // count + 1 for count in phases)
    net = network({"image": (9, 7, 7), "out": (9, *size)}, layer("image", "out", 9, 9, stride=phases))
    place = allocate(lowered(net, engine()), engine()).input
    assert place.phases == phases
    split = [divmod(n, count) for count in phases for n in range(7)]
    rows, cols = split[:7], split[7:]
    spots = [place.spot(py, px, row, col, group) for row, py in rows for col, px in cols for group in range(3)]
    assert len(set(spots)) == len(spots) == 7 * 7 * 3
    assert all(place.base <= address < place.base + place.words and 0 <= bank < 4 for address, bank in spots)
