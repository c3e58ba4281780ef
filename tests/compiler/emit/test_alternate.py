"""Convolutions by turns: one that keeps the post unit busy and one that keeps the array busy share both, and nothing
comes before what it needs."""

from collections import Counter, deque
from dataclasses import replace
from itertools import groupby
from random import Random

import numpy as np
import pytest

from compiler import compile
from compiler.emit.alternate import Alternation, Job
from compiler.emit.buffers import Buffers
from compiler.emit.listing import Listing
from compiler.emit.order import Task
from compiler.hazards import Access, Groups
from sim import command_model
from sim.cycle_model import model
from spec.commands import Opcode, unpack
from tests.compiler.graphs import engine, layer, network

CONFIG = engine(pixels=16, out_pixels=4, ic=8, dsp_filters=6, lut_filters=2, act_depth=1024, port_bits=64)
POST, ARRAY = (1, 4), (9, 4)        # cycles of array and post unit for a tile of pixels


def job(name, added, touches, units, tiles=4, count=60, words=1):
    """So many filter tiles on ``count`` tiles of pixels; their tasks are ``added`` with its ``name``."""
    return Job(deque(Task(tile, 0, count) for tile in range(tiles)), *units,
               {"weights": words, "params": 1, "taps": 1, "tables": 0}, touches,
               lambda task: added.append((name, task)))


def groups(first, end, low, high, writes):
    return Access(("act", 0), 10 * low, 10 * high, writes, None if writes else "feed", Groups(0, 10, first, end))


def makes(task):
    """A group for each filter tile."""
    return [groups(task.tile, task.tile + 1, task.start, task.start + task.count, True)]


def reads(task):
    """Its own group, and the pixels on either side."""
    return [groups(task.tile, task.tile + 1, task.start - 1, task.start + task.count + 1, False)]


def reads_all(task):
    return [groups(0, 10, task.start, task.start + task.count, False)]


def run(*jobs):
    """``added`` by jobs (touches, units, more) in this order."""
    added = []
    alternation = Alternation(Buffers(Listing(CONFIG), {}), CONFIG)
    made = [job(name, added, *one) for name, one in enumerate(jobs)]
    for one in made:
        alternation.add(one)
    alternation.flush()
    return added


def runs(added):
    """Of each job in turn, how many tasks."""
    return [len(list(tasks)) for _, tasks in groupby(added, key=lambda one: one[0])]


def test_what_fills_the_fifo_alternates_with_what_empties_it():
    """From when the first group is made, and pieces are as large as the FIFO."""
    added = run((makes, POST), (reads, ARRAY))
    assert runs(added) == [3] + [1] * 10 + [4]
    assert {task.count for name, task in added if name == 0} == {30}
    assert {task.count for name, task in added[:-4] if name == 1} == {15}
    first = next(at for at, (name, _) in enumerate(added) if name == 1)
    assert sum(task.count for _, task in added[:first]) < 2 * 60


@pytest.mark.parametrize("units", [(POST, POST), (ARRAY, ARRAY), (ARRAY, (4, 4))])
def test_what_waits_for_the_same_unit_does_not_alternate(units):
    assert runs(run((makes, units[0]), (reads, units[1]))) == [4, 4]


def test_what_needs_all_begins_with_the_last_filters():
    """Rows that are there are read while the last filters make others."""
    added = run((makes, ARRAY, 4, 200), (reads_all, POST, 4, 200))
    first = next(at for at, (name, _) in enumerate(added) if name == 1)
    assert added[first - 1][1].tile == 3 and len(runs(added)) > 4


@pytest.mark.parametrize("words, alternate", [(23, True), (24, False)])
def test_both_need_room(words, alternate):
    """For their weights, and for the next ones."""
    assert CONFIG.weight_depth == 64
    assert (len(runs(run((makes, POST, 4, 60, words), (reads, ARRAY, 4, 60, 9)))) > 2) == alternate


@pytest.mark.parametrize("seed", range(40))
def test_conflicts_keep_their_order(seed):
    """Random jobs: every task is there once, and those that touch the same words stand in the order of the program."""
    dice, jobs = Random(seed), []
    for _ in range(5):
        shift, wide, writes = dice.randrange(4), dice.randrange(1, 4), dice.random() < 0.6

        def touches(task, shift=shift, wide=wide, writes=writes):
            first = min(task.tile + shift, 9)
            return [groups(first, min(10, first + wide), task.start - 1, task.start + task.count + 1, writes)]
        jobs.append((touches, dice.choice([POST, ARRAY]), dice.randrange(1, 7), dice.randrange(1, 90)))
    added = run(*jobs)
    for name, (_, _, tiles, count) in enumerate(jobs):
        done = Counter((task.tile, at) for one, task in added if one == name
                       for at in range(task.start, task.start + task.count))
        assert done == Counter((tile, at) for tile in range(tiles) for at in range(count))
        assert [one for one in added if one[0] == name] == sorted(
            (one for one in added if one[0] == name), key=lambda one: (one[1].tile, one[1].start))
    for at, (name, task) in enumerate(added):
        for later, other in added[at + 1:]:
            assert later >= name or not any(
                one.meets(two) for one in jobs[later][0](other) for two in jobs[name][0](task))


def expanded(size, wide, stride, kernel=3):
    """Two blocks that expand, filter by channel and project, behind two other layers; the second adds its input."""
    out, rng = -(-size // stride), np.random.default_rng(size * wide)

    def filters(source, to, count, channels, kernel=(1, 1), **more):
        weight = rng.integers(-7, 8, (count, channels, *kernel)).astype(np.int16)
        return layer(source, to, count, channels, weight=weight, bias=3000, **more)
    deep = {"kernel": (kernel, kernel), "padding": (kernel // 2, kernel // 2)}
    return network(
        {"image": (4, size, size), "w": (4, size, size), "x": (8, size, size), "wide": (wide, size, size),
         "deep": (wide, out, out), "y": (8, out, out), "wider": (wide, out, out), "deeper": (wide, out, out),
         "z": (8, out, out)},
        filters("image", "w", 4, 4), filters("w", "x", 8, 4), filters("x", "wide", wide, 8),
        filters("wide", "deep", wide, 1, stride=(stride, stride), **deep), filters("deep", "y", 8, wide),
        filters("y", "wider", wide, 8), filters("wider", "deeper", wide, 1, **deep),
        filters("deeper", "z", 8, wide, residual="y", res_mult=40))


@pytest.mark.parametrize("size, wide, stride, depth", [
    (32, 24, 2, 1024), (36, 24, 1, 1024), (30, 30, 2, 300), (32, 48, 1, 350), (40, 16, 2, 200)])
def test_blocks_alternate(size, wide, stride, depth):
    """Also in strips; the codes are those of the golden model in whatever order the units finish their work."""
    net, config = expanded(size, wide, stride), replace(CONFIG, act_depth=depth)
    program = compile(net, config)
    tags = [c["tag"] for c in map(unpack, program.commands) if c["opcode"] == Opcode.CONV]
    turns = Counter(zip(tags[:-1], tags[1:], strict=True))
    assert turns[2, 3] > 2 and turns[3, 2] > 1
    codes = np.random.default_rng(size).integers(0, 16, (1, 4, size, size))
    expected = net.codes(codes)["z"][0]
    for seed in range(6):
        assert (command_model.run(program, config, codes[0], seed)["z"] == expected).all()


def test_blocks_are_quicker(monkeypatch):
    """By the cycle model, than one convolution after the other."""
    net = expanded(36, 24, 1)
    cycles = [sum(one.cycles for one in model(compile(net, CONFIG, weights=False), CONFIG))]
    monkeypatch.setattr(Alternation, "_alternate", lambda *_: False)
    cycles.append(sum(one.cycles for one in model(compile(net, CONFIG, weights=False), CONFIG)))
    assert cycles[0] < 0.92 * cycles[1]
