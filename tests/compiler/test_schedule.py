"""The order of commands: loads and work keep their own, and nothing overtakes what it conflicts with."""

from random import Random

import pytest

from compiler.hazards import Access, Item
from compiler.schedule import duration, in_time
from spec.commands import Opcode
from tests.compiler.graphs import engine

FIELDS = dict(count=4, rows=2, cols=3, out_groups=2, tiles=5, taps=9, depth=2, groups=3)


def command(opcode, *accesses):
    return Item(opcode, tuple(Access(*access) for access in accesses), dict(FIELDS))


@pytest.mark.parametrize("seed", range(40))
def test_order(seed):
    dice, items = Random(seed), []
    for _ in range(60):
        opcode = dice.choice([Opcode.LOAD_ACT, Opcode.LOAD_TAPS, Opcode.CONV, Opcode.POOL, Opcode.STORE_ACT])
        low = dice.randrange(6)
        items.append(command(opcode, ((dice.choice("abc"),), low, low + 2, dice.random() < 0.5)))
    out = in_time(items, engine(queue_depth=dice.choice([1, 2, 4])))
    assert sorted(map(id, out)) == sorted(map(id, items))
    for load in (True, False):
        kept, given = ([item for item in order if (item.queue == "load") == load] for order in (out, items))
        assert kept == given
    place = {item: i for i, item in enumerate(out)}
    for i, later in enumerate(items):
        for earlier in items[:i]:
            one, two = earlier.accesses[0], later.accesses[0]
            meet = one.resource == two.resource and one.lo < two.hi and two.lo < one.hi
            if meet and (one.writes or two.writes) and earlier.queue != later.queue:
                assert place[earlier] < place[later]


def test_loads_run_ahead_where_the_queue_of_the_work_is_full():
    """Six loads and six convolutions that have nothing to do with each other, and queues of one command."""
    items = [command(Opcode.CONV) for _ in range(6)] + [command(Opcode.LOAD_TAPS) for _ in range(6)]
    names = [item.opcode.name for item in in_time(items, engine(queue_depth=1))]
    assert names[0] == "CONV" and names[-1] == "CONV" and names.index("LOAD_TAPS") < 4
    roomy = [item.opcode.name for item in in_time(items, engine(queue_depth=16))]
    assert roomy == ["CONV"] * 6 + ["LOAD_TAPS"] * 6


@pytest.mark.parametrize("opcode, cycles", [
    (Opcode.LOAD_WEIGHTS, 4 * 3), (Opcode.LOAD_PARAMS, 4 * 4), (Opcode.LOAD_TABLES, 4 * 4),
    (Opcode.LOAD_ACT, 2 * 3 * 2), (Opcode.STORE_ACT, 2 * 3 * 2), (Opcode.CONV, 5 * 9 * 2),
    (Opcode.POOL, 2 * 3 * 9 * 3)])
def test_duration(opcode, cycles):
    """One port of 4 bytes: a k-word of 24 nibbles takes 3 beats, a record 4, a channel group 1."""
    assert duration(command(opcode), engine()) == cycles
