"""What a ring says it holds is there, whole: against a buffer that is written as the ring says."""

from random import Random

import pytest

from compiler.emit.rings import ENTRIES, Ring


@pytest.mark.parametrize("seed", range(60))
def test_what_is_held_is_there(seed):
    dice = Random(seed)
    size = dice.randrange(1, 24)
    ring, buffer, hits = Ring(size), [None] * size, 0
    for _ in range(300):
        key = dice.randrange(12)
        count = key % size + 1
        first, held = ring.take(key, count)
        assert 0 <= first <= first + count <= size
        if not held:
            buffer[first:first + count] = [(key, i) for i in range(count)]
        hits += held
        assert buffer[first:first + count] == [(key, i) for i in range(count)]
    assert hits > 0


@pytest.mark.parametrize("seed", range(40))
def test_what_is_still_there_is_found(seed):
    """A ring that always loads again would be right, and slow."""
    dice, ring = Random(seed), Ring(100)
    keys = dice.sample(range(1000), 10)
    for key in keys:
        assert ring.take(key, 10) == (10 * keys.index(key), False)
    assert all(ring.take(key, 10) == (10 * i, True) for i, key in enumerate(keys))
    assert ring.take("new", 10) == (0, False)           # over the first
    assert ring.take(keys[1], 10) == (10, True) and ring.take(keys[0], 10) == (10, False)


@pytest.mark.parametrize("size, count, before", [(10, 3, 0), (10, 3, 4), (10, 10, 0), (7, 2, 5), (9, 4, 1)])
def test_room(size, count, before):
    """So many ranges are taken before the first of them is overwritten."""
    ring = Ring(size)
    if before:
        ring.take("before", before)
    room = ring.room(count)
    places = [ring.take(i, count)[0] for i in range(room)]
    assert len(set(places)) == room and all(ring.take(i, count)[1] for i in range(room))
    assert not ring.take("one more", count)[1] and not all(i in ring._held for i in range(room))


def test_a_round_is_short():
    """So that the semaphore between loads and their readers cannot overflow."""
    ring = Ring(1000)
    firsts = [ring.take(i, 1)[0] for i in range(ENTRIES + 2)]
    assert firsts == [*range(ENTRIES), 0, 1]
