"""Semaphores order whatever two queues must not do in another order: against all pairs of commands."""

from functools import cache
from random import Random

import numpy as np
import pytest

from compiler import compile, steps
from compiler.hazards import SEMAPHORE, Access, Groups, Hazards, Item
from compiler.schedule import in_time, schedule
from spec.commands import SEMAPHORE_MAX, Opcode
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


@cache
def words(access):
    """Those that an access touches."""
    groups = access.groups or Groups(access.lo, 1, 0, 1)
    return {at for at in range(access.lo, access.hi)
            if groups.first <= (at - groups.base) % groups.period < groups.end}


def check(items, commands):
    """Every pair of commands that touch the same words, one of them writing, is ordered."""
    at, knows = known_at_start(items, commands)
    pairs = 0
    for b, later in enumerate(items):
        for a, earlier in enumerate(items[:b]):
            for one in earlier.accesses:
                for two in later.accesses:
                    if one.resource != two.resource or not (one.writes or two.writes) or not words(one) & words(two):
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
            low, groups = dice.randrange(8), None
            if resources == "ab" and dice.random() < 0.7:
                base, count = dice.choice([(0, 2), (0, 3), (1, 3)])
                first = dice.randrange(count)
                groups = Groups(base, count, first, dice.randrange(first, count) + 1)
            accesses.append(Access((dice.choice(resources),), low, low + dice.randrange(1, 7), writes, stage, groups))
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


def conv(reads, writes, count):
    """One that reads and writes a channel group each, of so many."""
    return Item(Opcode.CONV, tuple(Access((where,), 0, 2 * count, writes, stage, Groups(0, count, group, group + 1))
                                   for where, group, writes, stage in (("a", reads, False, "feed"),
                                                                       ("b", writes, True, None))), {})


def test_groups_that_others_make_are_not_waited_for():
    """What reads one group waits for the command that made it, and not for the one that makes the next one."""
    hazards, read = Hazards(), Access(("b",), 0, 8, False, "feed", Groups(0, 4, 1, 2))
    for item in (*(conv(0, group, 4) for group in range(4)), Item(Opcode.CONV, (read,), {})):
        hazards.add(item)
    assert [fields["give"] for _, fields in hazards.commands] == [0, 1 << SEMAPHORE["compute", "compute"], 0, 0, 0]


@pytest.mark.parametrize("count", [SEMAPHORE_MAX, SEMAPHORE_MAX + 40])
def test_a_semaphore_counts_all_that_is_waited_for(count):
    """Each of many groups is made by a command and read by one after all of these."""
    items = [conv(0, group, count) for group in range(count)]
    items += [Item(Opcode.CONV, (Access(("b",), 0, 2 * count, False, "feed", Groups(0, count, group, group + 1)),), {})
              for group in range(count)]
    hazards, bit, open_, most = Hazards(), 1 << SEMAPHORE["compute", "compute"], 0, 0
    for item in items:
        hazards.add(item)
    for _, fields in hazards.commands:
        open_ += bool(fields["give"] & bit) - bool(fields["wait"] & bit)
        most = max(most, open_)
    assert open_ == 0 and min(count, SEMAPHORE_MAX) - 1 <= most <= SEMAPHORE_MAX
