"""Filter tiles: the sums of their k-words, with the bias of their records, are the codes of the golden model."""

import numpy as np
import pytest

from compiler.build import lowered
from compiler.emit.tiles import filter_tiles
from spec.commands import PARAM_BYTES, PARAM_FIELDS, unpack_record
from spec.kwords import spread
from spec.numerics import Scheme, levels
from spec.systems import DIGIT_BITS, DSP, LUT
from tests.compiler.graphs import engine, layer, network

SCHEMES = (Scheme.FIXED8, Scheme.POT4, Scheme.FIXED4)


def case(seed, bits):
    """A 1x1 layer of three schemes over one pixel, with zero points and a residual."""
    rng = np.random.default_rng(seed)
    scheme = np.array([SCHEMES[i % 3] for i in range(7)], np.uint8)
    weight = np.stack([rng.choice(levels(Scheme(int(s))), (9, 1, 1)) for s in scheme]).astype(np.int16)
    node = layer("image", "out", 7, 9, weight=weight, scheme=Scheme.FIXED4, mult=37, shift=12, bias=5000,
                 residual="image2", res_mult=77)
    first = layer("image", "image2", 7, 9, weight=weight[:, :, :1, :1] * 0 + 1)
    net = network({"image": (9, 1, 1), "image2": (7, 1, 1), "out": (7, 1, 1)}, first,
                  type(node)(**{**vars(node), "scheme": scheme}), bits=bits, image=5, image2=3, out=2)
    return net, rng.integers(0, 1 << bits, (20, 9, 1, 1))


def values_of(words, config):
    """Weights (k-words, slots, ic) and one's-complement terms of each slot."""
    nibbles = spread(words, config)
    dsp, lut = DSP.decode(nibbles[:, :config.dsp_filters]), LUT.decode(nibbles[:, config.dsp_filters:])
    return np.concatenate([dsp, lut], 1), LUT.ones(lut).sum((0, 2))


@pytest.mark.parametrize("seed, bits", [(0, 4), (1, 5), (2, 8), (3, 7)])
def test_codes(seed, bits):
    config = engine()
    net, codes = case(seed, bits)
    expected = net.codes(codes)
    graph = lowered(net, config)
    op = next(op for op in graph.ops if op.name == "to_out")
    depth, tiles = filter_tiles(op, config)
    assert depth == 3 and sum(len(filters.tile.members) for filters in tiles) == 7
    vectors = np.zeros((len(codes), 3 * config.ic), np.int64)
    vectors[:, :9] = codes[:, op.input.ordered(), 0, 0]
    digits = 1 + (1 << config.act_digit_bits) if bits > config.act_digit_bits else 1
    for filters in tiles:
        weights, ones = values_of(filters.words, config)
        params = [unpack_record(PARAM_FIELDS, filters.params[i:i + PARAM_BYTES])
                  for i in range(0, len(filters.params), PARAM_BYTES)]
        sums = np.einsum("nkc,ksc->ns", vectors.reshape(len(codes), 3, -1), weights)
        sums[:, config.dsp_filters:] -= digits * ones
        for slot, p in enumerate(params):
            if p["valid"]:
                channel = op.output.ordered()[(filters.tile.group + p["second"]) * config.ic + p["lane"]]
                total = sums[:, slot] * p["mult"] + p["bias"]
                if p["join"]:
                    total = total + (sums[:, slot + 1] * params[slot + 1]["mult"] << DIGIT_BITS)
                total = total + expected["image2"][:, channel, 0, 0] * op.res_mult
                assert (np.clip(total >> op.shift, op.lo, op.hi) == expected["out"][:, channel, 0, 0]).all()


@pytest.mark.parametrize("filters", [9, 23, 40])
def test_no_tile_makes_channels_of_both_sides_of_a_cut(filters):
    """All filters are in some tile; without cuts there are fewer, which straddle."""
    net = network({"image": (48, 3, 3), "out": (filters, 3, 3)}, layer("image", "out", filters, 48))
    config = engine(dsp_filters=6, lut_filters=0)
    op = lowered(net, config).ops[0]
    groups = op.output.groups(config.ic)
    (_, whole), cut = filter_tiles(op, config), {at: filter_tiles(op, config, {at})[1] for at in range(groups)}
    across = {made.tile.group + 1 for made in whole if made.tile.straddle}
    assert across
    for at, tiles in cut.items():
        assert not any(made.tile.straddle and made.tile.group + 1 == at for made in tiles)
        assert sorted(channel for made in tiles for channel, _, _ in made.tile.members) == list(range(filters))
        assert len(whole) <= len(tiles) <= len(whole) + 1 and (at in across or len(tiles) == len(whole))


def test_filters_that_read_few_groups_read_no_others():
    """A depthwise convolution reads the groups of its own channels."""
    net = network({"image": (12, 3, 3), "out": (12, 3, 3)}, layer("image", "out", 12, 1, (3, 3), padding=(1, 1)))
    config = engine()
    op = lowered(net, config).ops[0]
    depth, tiles = filter_tiles(op, config)
    assert depth == 1 and {filters.first for filters in tiles} == {0, 1, 2}
    assert all(len(filters.words) == 9 for filters in tiles)
