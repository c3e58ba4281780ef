"""The grid on its own: skew of its inputs, order and spacing of the rows that leave it."""

import numpy as np
import pytest

from rtl.array.core import PEArray
from spec.config import EngineConfig
from spec.systems import LUT
from spec.latency import apart, chains, parts
from spec.packing import columns
from ..axi_models import simulate
from .test_pe import word

SHAPES = [(2, 2, 0, 1), (2, 0, 1, 1), (4, 2, 1, 2), (6, 4, 3, 1), (8, 0, 3, 2), (10, 6, 0, 1), (16, 2, 1, 4)]


# Taps in a row, and channels.
ROWS = [(1, 2), (2, 4), (3, 6), (3, 11)]


def configuration(pixels, dsp_filters, lut_filters, out_pixels, row_taps, ic):
    return EngineConfig(name="array", ic=max(ic, dsp_filters + lut_filters), pixels=pixels, dsp_filters=dsp_filters,
                        lut_filters=lut_filters, out_pixels=out_pixels, row_taps=row_taps)


def met(config, acts, before, in_row):
    """What the weights of each slot meet, (slots, pixels, ic): in a row of taps each column has, on the lanes behind
    those of its slots, their channels of the pixels before."""
    out = np.repeat(acts[None], config.slots, 0)
    line, first = np.concatenate([before, acts]), 0
    for width in columns(config):
        own = np.arange(first, first + width)
        for back in range(1, config.row_taps if in_row else 1):
            lanes = (own + back * width) % config.ic
            out[own[:, None, None], np.arange(config.pixels)[:, None], lanes] = line[2 - back:len(line) - back, own]
        first += width
    return out


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows(shape, row):
    """Tiles of one to three steps as close as the drain allows; the weights of column ``c`` come ``c`` cycles late, and
    the parts of a row one after the other. Steps in a row of taps and others in turn."""
    config = configuration(*shape, *row)
    rng, count, widths = np.random.default_rng(sum(shape)), config.pixels // 2, columns(config)
    starts = np.cumsum([0, *widths])
    array, steps, late = PEArray.of(config), [], parts(config)
    expected, got = ([[] for _ in range(chains(config))] for _ in range(2))
    for length in (1, 3, 1, 2):
        total = np.zeros((config.pixels, config.slots), int)
        for k in range(length):
            nibbles = rng.integers(0, 8, (config.slots, config.ic))
            acts, before = (rng.integers(0, 32, (n, config.ic)) for n in (config.pixels, 2))
            in_row = config.row_taps > 1 and int(rng.integers(2))
            steps.append(({"valid": 1, "first": k == 0, "last": k == length - 1, "in_row": in_row}, nibbles, acts,
                          before))
            values = np.concatenate([nibbles[:config.dsp_filters], LUT.decode(nibbles[config.dsp_filters:])])
            total += np.einsum("spi,si->ps", met(config, acts, before, in_row), values)
        leaves = len(steps) - 1 + array.latency      # of row 0, whole; each row of its chain two cycles later
        for r in range(count):
            chain, below = divmod(r, count // chains(config))
            expected[chain].append((leaves + r + below, total[2 * r:2 * r + 2].tolist()))
        steps += [None] * (apart(config) - 1)

    rows, came = [], []

    async def drive(ctx):
        for cycle in range(len(steps) + array.latency + config.pixels + 5):
            at = [steps[cycle - c] if 0 <= cycle - c < len(steps) else None for c in range(len(widths))]
            ctx.set(array.step, at[0][0] if at[0] else {"valid": 0, "first": 0, "last": 0})
            if at[0]:
                ctx.set(array.acts, at[0][2].reshape(count, 2, config.ic).tolist())
                if config.row_taps > 1:
                    ctx.set(array.previous, at[0][3].tolist())
            nibbles = np.zeros((config.slots, config.ic), int)
            for c, item in enumerate(at):
                if item:
                    nibbles[starts[c]:starts[c + 1]] = item[1][starts[c]:starts[c + 1]]
            ctx.set(array.weights, word(nibbles))
            valid, row = (await ctx.tick().sample(array.row_valid, array.row))[2:]
            rows.append([[list(pixel) for pixel in pixels] for pixels in row])
            came.append(valid)
            behind = cycle - late[-1][1]            # when the first part of what is whole now came
            for chain, whole in enumerate(rows[-1]):
                if behind >= 0 and came[behind] >> chain & 1:
                    parted = [[rows[behind + later][chain][pixel][slot] for slots, later in late for slot in slots]
                              for pixel in range(len(whole))]
                    got[chain].append((cycle, parted))

    simulate({"array": array}, drive)
    assert got == expected
