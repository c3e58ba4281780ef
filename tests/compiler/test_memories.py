"""Room in the activation memories while places are looked for."""

from random import Random

from compiler.memories import Memories


def test_what_is_tried_does_not_change_the_dice():
    """So that other ways that are looked at, and not taken, leave all other places as they are."""
    memories = Memories(64, Random(1))
    expected = [memories.fit(2, (0, 1), number) for number in range(6)]
    again = Memories(64, Random(1))
    found = []
    for number in range(6):
        with again.aside():
            token = object()
            again.fit(3, (0, 1), token)
            again.forget(token)
        found.append(again.fit(2, (0, 1), number))
    assert found == expected
    with Memories(64, None).aside():
        pass
