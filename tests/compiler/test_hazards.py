"""Semaphores order whatever two queues must not do in another order: against all pairs of commands."""

from random import Random

import numpy as np
import pytest

from compiler import compile, steps
from compiler.hazards import SEMAPHORE, Access, Hazards, Item
from compiler.schedule import in_time, schedule
from spec.commands import Opcode
from tests.networks import random_config, random_network

TINY = dict(act_depth=24, weight_depth=24, tap_depth=12)
SOURCE = {number: pair for pair, number in SEMAPHORE.items()}


def known_at_start(items, commands):
    """For each command, how far it knows each queue (and the feeder) to be when it starts: {queue: last number}."""
    given = {number: [] for number in SOURCE}           # what each semaphore has been given for, in order
    taken = dict.fromkeys(SOURCE, 0)
    state, out = {}, []
    at = [sum(other.queue == item.queue for other in items[:i]) for i, item in enumerate(items)]
    for index, (item, (_, fields)) in enumerate(zip(items, commands, strict=True)):
        knows = dict(state.get(item.queue, {"load": -1, "compute": -1, "store": -1, "feed": -1}))
        for semaphore, (source, queue) in SOURCE.items():
            if fields["wait"] >> semaphore & 1:
                assert queue == item.queue, "a queue waits for a semaphore of another"
                giver, before = given[semaphore][taken[semaphore]]     # IndexError: it is given later, or never
                taken[semaphore] += 1
                knows = {name: max(knows[name], before[name]) for name in knows}
                for name in {"feed": ["feed"], "compute": ["feed", "compute"]}.get(source, [source]):
                    knows[name] = max(knows[name], giver)
        state[item.queue] = knows
        out.append(knows)
        for mask, kind in (("give", item.queue), ("release", "feed")):
            for semaphore, (source, _) in SOURCE.items():
                if fields.get(mask, 0) >> semaphore & 1:
                    assert source == kind, "a semaphore of another queue is given"
                    given[semaphore].append((at[index], knows))
    assert {s: len(g) for s, g in given.items()} == taken, "semaphores are left over"
    return at, out


def check(items, commands):
    """Every pair of commands that touch the same words, one of them writing, is ordered."""
    at, knows = known_at_start(items, commands)
    pairs = 0
    for b, later in enumerate(items):
        for a, earlier in enumerate(items[:b]):
            for one in earlier.accesses:
                for two in later.accesses:
                    apart = one.resource != two.resource or one.hi <= two.lo or two.hi <= one.lo
                    if apart or not (one.writes or two.writes):
                        continue
                    # A queue is in order by itself, except that a CONV is fed before the one before it has written.
                    if earlier.queue == later.queue and not (
                            later.queue == "compute" and one.writes and not two.writes):
                        continue
                    stage, pairs = one.stage or earlier.queue, pairs + 1
                    assert knows[b][stage] >= at[a], f"{later.opcode.name} {b} overtakes {earlier.opcode.name} {a}"
    return pairs


# Of each command, what it may touch: resources, whether it writes them, at which stage.
TOUCHES = {
    Opcode.LOAD_ACT: [("ab", True, None), ("d", False, None)], Opcode.LOAD_WEIGHTS: [("w", True, None)],
    Opcode.CONV: [("ab", False, "feed"), ("w", False, "feed"), ("ab", False, None), ("ab", True, None)],
    Opcode.POOL: [("ab", False, None), ("ab", True, None)], Opcode.STORE_ACT: [("ab", False, None), ("d", True, None)]}


def random_items(dice, count):
    """Commands that touch ranges of few resources."""
    out = []
    for _ in range(count):
        opcode, accesses = dice.choice([*TOUCHES, Opcode.CONV]), []
        for resources, writes, stage in TOUCHES[opcode]:
            low = dice.randrange(8)
            accesses.append(Access((dice.choice(resources),), low, low + dice.randrange(1, 5), writes, stage))
        out.append(Item(opcode, tuple(accesses), {}))
    return out


@pytest.mark.parametrize("seed", range(60))
def test_random_commands_are_ordered(seed):
    items, hazards = random_items(Random(seed), 40), Hazards()
    for item in items:
        hazards.add(item)
    assert check(items, hazards.commands) > 20


@pytest.mark.parametrize("seed", range(12))
def test_compiled_programs_are_ordered(monkeypatch, seed):
    """The same for what the compiler emits, in the order that the schedule gives it."""
    seen = []
    monkeypatch.setattr(steps, "schedule", lambda items, config: seen.append(items) or schedule(items, config))
    rng = np.random.default_rng(seed)
    network, config = random_network(rng), random_config(rng, **TINY if seed % 2 else {})
    compile(network, config)
    assert check(in_time(seen[0], config), schedule(seen[0], config)) > 20


def test_nothing_waits_for_what_is_known():
    """A second command that needs the same load waits for nothing more."""
    load = Item(Opcode.LOAD_WEIGHTS, (Access(("weights",), 0, 4, True),), {})
    uses = [Item(Opcode.CONV, (Access(("weights",), 0, 4, False, "feed"),), {}) for _ in range(2)]
    hazards = Hazards()
    for item in (load, *uses):
        hazards.add(item)
    assert [fields["wait"] for _, fields in hazards.commands] == [0, 1 << SEMAPHORE["load", "compute"], 0]
    assert [fields["give"] for _, fields in hazards.commands] == [1 << SEMAPHORE["load", "compute"], 0, 0]


def test_what_the_feeder_has_read_is_free_before_the_outputs_are_written():
    """New weights wait for the feeder, new parameters for the post unit."""
    use = Item(Opcode.CONV, (Access(("weights",), 0, 4, False, "feed"), Access(("params",), 0, 6, False)), {})
    loads = [Item(opcode, (Access((name,), 0, 2, True),), {})
             for opcode, name in ((Opcode.LOAD_WEIGHTS, "weights"), (Opcode.LOAD_PARAMS, "params"))]
    hazards = Hazards()
    for item in (use, *loads):
        hazards.add(item)
    (_, conv), (_, weights), (_, params) = hazards.commands
    assert conv["release"] == weights["wait"] == 1 << SEMAPHORE["feed", "load"]
    assert conv["give"] == params["wait"] == 1 << SEMAPHORE["compute", "load"]
