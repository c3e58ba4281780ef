"""A broken pass is named, and what is wrong, before anything stumbles over its work.

Kind: a pass that forgets something.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler import build
from compiler.allocate import allocate
from compiler.graph import Graph
from compiler.lower import lower
from compiler.passes import PASSES, choose_columns, join_parts, order_channels
from compiler.verify import verify
from spec.errors import AlloyError
from spec.operators.concat import Concat
from spec.program import HOLE
from tests.compiler.graphs import bottleneck, engine, layer, network, pool, random_graph

NETWORK = network({"image": (3, 8, 8), "a": (6, 8, 8), "b": (6, 4, 4), "c": (6, 4, 4), "d": (6, 4, 4), "e": (6, 2, 2)},
                  layer("image", "a", 6, 3), pool("a", "b"), layer("b", "c", 6, 6, (3, 3), padding=(1, 1)),
                  layer("c", "d", 6, 6, residual="b", res_mult=30), pool("d", "e"))
CONFIG = engine(act_depth=256)


def change(graph: Graph, index: int, **values):
    """The graph with fields of one operation changed."""
    return replace(graph, ops=tuple(replace(op, **values) if i == index else op for i, op in enumerate(graph.ops)))


def of(graph, name):
    return next(value for value in graph.values if value.name == name)


def only(graph, name, **values):
    """The graph with fields of one value changed, wherever it is."""
    return graph.mapped(lambda value: replace(value, **values) if value.name == name else value)


BROKEN = {
    "forgets an operation": (lambda g: replace(g, ops=g.ops[1:]), "to_b reads a before anything makes it"),
    "changes a value where it is made": (
        lambda g: change(g, 0, output=replace(of(g, "a"), zero=1)), "to_b reads a as another pass left it"),
    "does an operation twice": (lambda g: replace(g, ops=(*g.ops, g.ops[-1])), "to_e makes e once more"),
    "forgets the output": (lambda g: replace(g, ops=g.ops[:-1]), "nothing makes the output e"),
    "pads too much": (lambda g: change(g, 2, padding=(2, 2)), "to_c makes 6x6 pixels, but c has 4x4"),
    "loses filters": (lambda g: change(g, 2, weight=g.ops[2].weight[:3]), "to_c has 3 filters, but c has 6 channels"),
    "loses channels": (
        lambda g: change(g, 2, weight=g.ops[2].weight[:, :4]), "to_c has filters of 4 channels, but b has 6"),
    "loses multipliers": (
        lambda g: change(g, 2, mult=g.ops[2].mult[:5]), r"to_c has 6 filters and mult of shape \(5,\)"),
    "adds what has another shape": (
        lambda g: change(g, 3, residual=of(g, "a")), r"to_d adds a residual of shape \(6, 8, 8\)"),
    "changes codes in a maximum": (
        lambda g: only(g, "b", bits=3), r"to_b makes \(6, 3, 0\) of \(6, 4, 0\): channels, bits and zero point stay"),
}
PARTS = {        # of a value that several operations make
    "makes a channel twice": (lambda g: change(g, 1, at=4), "to_b makes out once more"),
    "leaves a channel out": (lambda g: change(g, 1, at=6), r"to_b makes channels 6\.\.8 of the 7 of out"),
    "leaves a part out": (lambda g: replace(g, ops=g.ops[:1]), "nothing makes some channels of the output out"),
    "reads a part": (lambda g: replace(g, ops=(g.ops[0], replace(g.ops[0], name="early", input=g.output, at=0,
                                                                weight=np.ones((2, 7, 1, 1), np.int64)))),
                     "early reads out before all of its channels are made"),
    "adds to a part": (lambda g: change(g, 1, residual=g.input), "to_b adds image to a part of out"),
    "forgets what is kept": (lambda g: replace(g, kept=g.kept | {replace(g.input, name="kept")}),
                             "nothing makes kept, which is to be kept"),
}
LATE = {        # after the last pass
    "orders too few channels": (lambda g: only(g, "a", order=tuple(range(5))), "to_b needs a and b in one order"),
    "takes a channel twice": (
        lambda g: g.mapped(lambda v: replace(v, order=(0,) * v.channels)), "order that is none of its 3 channels"),
    "orders one of two that are added": (
        lambda g: only(g, "d", order=(1, 0, 2, 3, 4, 5)), "to_d needs b and d in one order of channels"),
    "forgets an order": (lambda g: only(g, "c", order=None), "c and image do not both have order"),
    "forgets the phases of one": (lambda g: only(g, "e", phases=None), "e and image do not both have phases"),
    "splits for another stride": (
        lambda g: only(g, "a", phases=(2, 1)), r"to_b reads planes \(2, 2\), but a has \(2, 1\)"),
    "loses columns": (lambda g: change(g, 2, columns=np.zeros(1)), "to_c has 6 filters and columns of shape"),
}


def run(monkeypatch, number, broken):
    """Compile with a pass that breaks the graph after the first ``number`` passes."""
    def forgetful(graph, config):
        return broken(graph)
    monkeypatch.setattr(build, "PASSES", (*PASSES[:number], forgetful, *PASSES[number:]))
    return build.compile(NETWORK, CONFIG)


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("number", range(len(PASSES) + 1))
def test_a_broken_pass_is_named(monkeypatch, number, name):
    broken, words = BROKEN[name]
    with pytest.raises(AlloyError, match=f"pass forgetful is broken: {words}.*; this is a defect of Alloy, please"):
        run(monkeypatch, number, broken)


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_checked(name):
    net = network({"image": (3, 4, 4), "a": (5, 4, 4), "b": (2, 4, 4), "out": (7, 4, 4)}, layer("image", "a", 5, 3),
                  layer("image", "b", 2, 3), Concat(name="cat", input="a", others=("b",), output="out", shift=15,
                                                    mult=np.array([1 << 15] * 2)))
    graph = join_parts(lower(net), CONFIG)
    broken, words = PARTS[name]
    assert verify(graph, "none") is graph
    with pytest.raises(AlloyError, match=words):
        verify(broken(graph), "some")


@pytest.mark.parametrize("name", LATE)
def test_what_only_late_passes_set_is_checked(monkeypatch, name):
    broken, words = LATE[name]
    with pytest.raises(AlloyError, match=f"the compiler's pass forgetful is broken: .*({words})"):
        run(monkeypatch, len(PASSES), broken)


def test_depthwise_convolutions_keep_the_order_but_for_holes():
    net = network({"image": (3, 4, 4), "a": (6, 4, 4), "out": (6, 4, 4)}, layer("image", "a", 6, 3),
                  layer("a", "out", 6, 1, (3, 3), padding=(1, 1)))
    graph = order_channels(choose_columns(lower(net), CONFIG), CONFIG)
    for order in ((0, 1, 2, 3, 4, 5), (0, 1, HOLE, HOLE, 2, 3, 4, HOLE, 5)):
        verify(only(graph, "a", order=order), "some")
    with pytest.raises(AlloyError, match="to_out needs a and out in one order of channels, but for holes"):
        verify(only(graph, "a", order=(1, 0, HOLE, 2, 3, 4, 5)), "some")


def test_passes_that_break_nothing_are_silent(monkeypatch):
    for number in range(len(PASSES) + 1):
        assert run(monkeypatch, number, lambda graph: graph).image == build.compile(NETWORK, CONFIG).image


def strips(plan, index, *new):
    """The plan with other strips of one step."""
    wrong = list(plan.steps)[index]
    return replace(plan, turns=tuple(tuple(replace(step, strips=tuple(new)) if step is wrong else step
                                           for step in turn) for turn in plan.turns))


PLANS = {
    "forgets rows": (lambda p, s: strips(p, 2, replace(s[2], y1=3)), "to_c has strips of 24 words, its output has 32"),
    "goes too far": (
        lambda p, s: strips(p, 2, replace(s[2], y1=5)), "to_c has a strip outside its 4x4 pixels of 2 channel groups"),
    "forgets filters": (
        lambda p, s: strips(p, 2, replace(s[2], g1=1)), "to_c has strips of 16 words, its output has 32"),
    "has too many filters": (
        lambda p, s: strips(p, 2, replace(s[2], g1=3)), "to_c has a strip outside its 4x4 pixels of 2 channel groups"),
    "has no place for some filters": (
        lambda p, s: strips(p, 2, replace(s[2], output=replace(s[2].output, groups=1))),
        r"to_c has groups 0\.\.1 of its output"),
    "puts filters elsewhere": (
        lambda p, s: strips(p, 3, replace(s[3], residual=replace(s[3].residual, first=1))),
        r"to_d has groups 1\.\.3 of its residual"),
    "leaves the memory": (
        lambda p, s: strips(p, 2, replace(s[2], output=replace(s[2].output, base=250))),
        r"to_c has its output at 250\.\.2\d\d of 256"),
    "puts both operands into one memory": (
        lambda p, s: strips(p, 3, replace(s[3], residual=replace(s[3].residual, mem=s[3].input.mem))),
        "to_d has its residual in the memory of its input"),
    "writes over an operand": (
        lambda p, s: strips(p, 2, replace(s[2], output=s[2].input)), "to_c writes its output over what it reads"),
    "writes over what is still needed": (
        lambda p, s: strips(p, 2, replace(s[2], output=s[1].output, input=replace(s[1].output, base=200))),
        "to_c writes over b, which to_d needs"),
}


@pytest.mark.parametrize("name", PLANS)
def test_wrong_places_are_named(monkeypatch, name):
    broken, words = PLANS[name]
    right = build.planned(build.lowered(NETWORK, CONFIG), CONFIG)
    plan = broken(right, [step.strips[0] for step in right.steps])
    monkeypatch.setattr(build, "allocate", misplace(plan))
    with pytest.raises(AlloyError, match=f"the compiler's pass misplace is broken: {words}.*defect of Alloy"):
        build.compile(NETWORK, CONFIG)


TURNS = {
    "one strip less": (1, lambda s, t: None, "to_wide and to_y take turns with different numbers of strips"),
    "elsewhere": (1, lambda s, t: replace(s, input=replace(s.input, base=s.input.base - 1)),
                  "to_deep reads wide elsewhere than it is made"),
    "too few rows": (0, lambda s, t: replace(s, y1=s.y1 - 1), r"to_deep reads rows 0\.\.\d of wide, of which"),
    "forgotten pixels": (2, lambda s, t: replace(s, x1=s.x1 - 1), r"to_y has strips of \d\d words, its output has 64"),
    "over what is handed on": (2, lambda s, t: replace(s, output=t[0].strips[0].output) if s.y0 else s,
                               "to_y writes over wide, which is handed on"),
}


@pytest.mark.parametrize("name", TURNS)
def test_wrong_turns_are_named(monkeypatch, name):
    """Steps that take turns: what one makes is where the next one reads it, whole, and stays there."""
    index, wrong, words = TURNS[name]
    config, net = engine(act_depth=64), bottleneck(8, 24, 1, 1)
    plan = allocate(build.lowered(net, config), config)
    at, turn = next((at, turn) for at, turn in enumerate(plan.turns) if len(turn) == 3)
    first, second, *rest = turn[index].strips
    changed = (wrong(first, turn), second if wrong(first, turn) is not first else wrong(second, turn))
    step = replace(turn[index], strips=tuple(strip for strip in (*changed, *rest) if strip is not None))
    turns = (*plan.turns[:at], (*turn[:index], step, *turn[index + 1:]), *plan.turns[at + 1:])
    monkeypatch.setattr(build, "allocate", misplace(replace(plan, turns=turns)))
    with pytest.raises(AlloyError, match=f"the compiler's pass misplace is broken: .*{words}"):
        build.compile(net, config)


def misplace(plan):
    def misplace(graph, config):
        return plan
    return misplace


@pytest.mark.parametrize("seed", range(30))
def test_good_plans_pass(seed):
    graph, config = random_graph(seed)
    assert build.planned(graph, config).graph is graph
