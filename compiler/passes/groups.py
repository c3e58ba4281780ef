"""Channels in as few groups as the columns of their filters allow."""

import numpy as np

__all__ = ["in_groups"]

FEW = 8         # groups; of more, one too many costs little
MOVES = 300     # before a search gives up
SEED = 0


def in_groups(needs: np.ndarray, room: np.ndarray) -> list[list[int]]:
    """Shares out items, which need ``needs[item, thing]`` of each thing, to groups that have ``room[thing]``: lists of
    items. None needs more than there is.

    Group after group takes what fits, in the order of items. Where that may be one of a few groups too many, a search
    looks for fewer.
    """
    groups = _first_fit(needs, room)
    least = int(np.max(-(-needs.sum(0) // np.maximum(room, 1)), initial=1))
    tighter = (_exchanged(needs, room, count) for count in range(least, min(len(groups), FEW + 1)))
    return next((found for found in tighter if found), groups)


def _first_fit(needs, room):
    groups: list[list[int]] = []
    waiting, need, least = list(range(len(needs))), needs.tolist(), needs.min(0).tolist()
    while waiting:
        left, later, at = room.tolist(), [], 0
        groups.append([])
        while at < len(waiting) and all(have >= some for have, some in zip(left, least, strict=True)):
            rest = [have - wanted for have, wanted in zip(left, need[waiting[at]], strict=True)]
            if min(rest) >= 0:
                groups[-1].append(waiting[at])
                left = rest
            else:
                later.append(waiting[at])
            at += 1
        waiting = later + waiting[at:]
    return groups


def _exchanged(needs, room, count):
    """In ``count`` groups, None if they are not found: dealt out, then exchanged between two groups as long as
    they have too little room, by chance where no exchange helps."""
    kinds, kind = np.unique(needs, axis=0, return_inverse=True)
    held = np.zeros((count, len(kinds)), int)
    np.add.at(held, (np.arange(len(needs)) % count, np.sort(kind)), 1)
    # An exchange gives one kind and takes another, or nothing (the last one).
    kinds, held = np.pad(kinds, ((0, 1), (0, 0))), np.pad(held, ((0, 0), (0, 1)), constant_values=1)
    rng, (ones, others) = np.random.default_rng(SEED), np.triu_indices(count, 1)
    moved = kinds[:, None] - kinds[None]
    for _ in range(MOVES):
        over = held @ kinds - room
        excess = over.clip(0).sum(1)
        if not excess.any():
            return _dealt(kind.reshape(-1), held)
        # What each exchange adds to the excess, [two groups, kind given, kind taken].
        adds = ((over[ones, None, None] - moved).clip(0).sum(-1) + (over[others, None, None] + moved).clip(0).sum(-1)
                - (excess[ones] + excess[others])[:, None, None])
        may = (held[ones][:, :, None] > 0) & (held[others][:, None] > 0) & moved.any(-1)
        if not may.any():
            break
        choices = np.argwhere(may & (adds == adds[may].min()))
        two, given, taken = choices[rng.integers(len(choices))]
        held[[ones[two], others[two]], given] += (-1, 1)
        held[[ones[two], others[two]], taken] += (1, -1)
        held[:, -1] = 1
    return None


def _dealt(kind, held):
    """The items of each kind to the groups that hold so many of it, in turn."""
    groups: list[list[int]] = [[] for _ in held]
    left = held.copy()
    for item, which in enumerate(kind.tolist()):
        number = int(np.argmax(left[:, which]))
        left[number, which] -= 1
        groups[number].append(item)
    return groups
