"""The walk over the pixels of a view: the places that docs/architecture.md tells, one a cycle."""

from random import Random

import pytest

from rtl.prim import VIEW, Locator

from ..axi_models import refusal, simulate
from ..command_models import tensor_view, walk


@pytest.mark.parametrize("pixels", [2, 4, 6])
@pytest.mark.parametrize("rows, cols, groups", [(1, 1, 1), (3, 5, 2), (5, 3, 3), (4, 8, 1)])
@pytest.mark.parametrize("phase_x, phase_y", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_places(pixels, rows, cols, groups, phase_x, phase_y, odd, count):
    """Any number of pixels at once, up to ``count``. Whole tensors in one, two and four planes; ``odd`` regions begin
    in the second row and column of the planes."""
    view, size = tensor_view(pixels, rows, cols, groups, base=3, phase_x=phase_x, phase_y=phase_y)
    view |= {"par_x": odd & phase_x, "par_y": odd & phase_y}
    py = view["par_y"]
    view |= {f"cur_{n}{x}": view[f"row_{n}{2 * py + x}"] for n in ("bank", "addr") for x in range(2)}
    count, dice, found = min(count, pixels), Random(count), []
    locator = Locator(pixels=pixels, act_depth=3 + 2 * size + groups, count=count)

    async def drive(ctx):
        ctx.set(locator.view, VIEW.const(view))
        ctx.set(locator.load, 1)
        await ctx.tick()
        ctx.set(locator.load, 0)
        for _ in range(rows):
            col = 0
            while col < cols:
                step = dice.randrange(min(count, cols - col) + 1)
                found.extend([(place.bank, place.addr) for place in ctx.get(locator.place)][:step])
                col += step
                ctx.set(locator.step, step)
                ctx.set(locator.next_row, col == cols)
                await ctx.tick()

    simulate({"locator": locator}, drive)
    assert found == walk(view, rows, cols, pixels)


@pytest.mark.parametrize("pixels, act_depth, count, words", [
    (1, 8, 1, "has pixels 1: give 2 or more"), (4, 0, 1, "has act_depth 0: give 1 or more"),
    (4, 8, 0, "has count 0: give 1 or more"), (4, 8, 5, "of 4 pixels has count 5: give 4 or less")])
def test_nothing_to_visit(pixels, act_depth, count, words):
    assert refusal(Locator, pixels=pixels, act_depth=act_depth, count=count) == f"no Locator {words}"
