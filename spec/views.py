"""The walk over the pixels of a view (:data:`spec.commands.VIEW_FIELDS`), as the engine's locator goes it."""

from collections.abc import Iterator, Mapping

from .commands import VIEW_FIELDS

__all__ = ["ADDRESSES", "BANKS", "view_of", "fields_of", "walk"]

NAMES = tuple(name for name, _, _ in VIEW_FIELDS)
ADDRESSES, BANKS = (tuple(name for name in NAMES if name.startswith((f"row_{what}", f"cur_{what}")))
                    for what in ("addr", "bank"))       # of the places that a walk starts from


def view_of(command: Mapping[str, int], prefix: str) -> dict[str, int]:
    """The view ``out`` or ``res`` among the fields of a command."""
    return {name: command[f"{prefix}_{name}"] for name in NAMES}


def fields_of(view: Mapping[str, int], prefix: str) -> dict[str, int]:
    """The fields of a command that :func:`view_of` reads."""
    return {f"{prefix}_{name}": value for name, value in view.items()}


def walk(view: Mapping[str, int], rows: int, cols: int, pixels: int,
         start: tuple[int, int] = (0, 0)) -> Iterator[tuple[int, int, int, int]]:
    """``(row, column, bank, address)`` of each pixel of ``rows`` x ``cols`` over ``pixels`` banks, from ``start`` on.

    ``cur`` are the first pixels to visit, ``row`` those of the row to come; each step goes one bank further, and behind
    the last bank to the next address of the same channel group.
    """
    def step(place, banks, words):
        bank, addr = place[0] + banks, place[1] + words
        return (bank - pixels, addr + view["groups"]) if bank >= pixels else (bank, addr)

    row = [(view[f"row_bank{p}"], view[f"row_addr{p}"]) for p in range(4)]
    cur = [(view[f"cur_bank{p}"], view[f"cur_addr{p}"]) for p in range(2)]
    odd_row, first = view["par_y"] & view["phase_y"], start[1]
    odd = view["phase_x"] & (view["par_x"] ^ first)
    for y in range(start[0], rows):
        for x in range(first, cols):
            yield y, x, *cur[odd]
            cur[odd] = step(cur[odd], 1, 0)
            odd ^= view["phase_x"]
        for plane in (2 * odd_row, 2 * odd_row + 1):
            row[plane] = step(row[plane], view["step_bank"], view["step_addr"])
        odd_row ^= view["phase_y"]
        cur, odd, first = row[2 * odd_row:2 * odd_row + 2], view["phase_x"] & view["par_x"], 0
