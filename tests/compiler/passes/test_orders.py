"""Channel orders: tied values share one, and filters of each kind are spread evenly."""

import numpy as np
import pytest

from compiler import compile
from compiler.lower import lower
from compiler.passes import array_cycles, choose_columns, close_groups, im2col_input, order_channels
from compiler.slots import HELD, slots_of
from sim import command_model
from sim.compare import first_difference
from spec.numerics import Scheme
from spec.program import HOLE
from tests.compiler.graphs import engine, layer, network, pool, random_graph

CONFIG = engine(dsp_filters=4, lut_filters=2, act_depth=256)


def ordered(*nodes, **tensors):
    return order_channels(choose_columns(lower(network(tensors, *nodes)), CONFIG), CONFIG)


@pytest.mark.parametrize("seed", range(40))
def test_every_value_has_an_order_that_its_ties_share(seed):
    graph, _ = random_graph(seed)
    for value in graph.values:
        assert sorted(c for c in value.order if c != HOLE) == list(range(value.channels))
    assert graph.input.order == tuple(range(graph.input.channels))
    for op in graph.ops:
        assert all(one.order == other.order for one, other in op.ties())
        assert all(one.sequence == other.sequence for one, other in op.follows())


def test_kinds_are_spread():
    """Six filters for each kind of column: every run of two positions has one of each."""
    weight = np.full((12, 3, 1, 1), 3, np.int16)
    weight[6:] = 4
    scheme = np.array([Scheme.FIXED4] * 6 + [Scheme.POT4] * 6, np.uint8)
    node = layer("image", "out", 12, 3, weight=weight)
    graph = ordered(type(node)(**{**vars(node), "scheme": scheme}), layer("out", "end", 5, 12), image=(3, 4, 4),
                    out=(12, 4, 4), end=(5, 4, 4))
    op, _ = graph.ops
    columns = op.made_by()[list(op.output.order)] > 0
    assert set(op.made_by()[:6]) == {1} and 0 in op.made_by()[6:]
    share = columns.mean()
    assert all(abs(columns[:n].sum() - n * share) <= 1 for n in range(13))


def test_what_is_tied_to_the_input_stays_in_its_order():
    """The host lays out the image by channel."""
    node = layer("a", "out", 3, 1, weight=np.array([4, 3, 3], np.int16).reshape(3, 1, 1, 1))
    scheme = np.array([Scheme.POT4, Scheme.FIXED4, Scheme.FIXED4], np.uint8)
    graph = ordered(pool("image", "a"), type(node)(**{**vars(node), "scheme": scheme}), image=(3, 4, 4), a=(3, 2, 2),
                    out=(3, 2, 2))
    assert len(set(graph.ops[1].made_by())) == 2
    assert [value.order for value in graph.values] == [(0, 1, 2)] * 3


def test_columns_are_chosen_for_filters_only():
    graph = ordered(layer("image", "a", 6, 3), pool("a", "out"), image=(3, 4, 4), a=(6, 4, 4), out=(6, 2, 2))
    assert [op.made_by() is None for op in graph.ops] == [False, True]
    assert len(graph.ops[0].made_by()) == 6


def chain(**values):
    """Sixteen channels between an expanding and a depthwise layer, in groups of eight; the array makes six at once."""
    config = engine(ic=8, act_depth=256, **values)
    net = network({"image": (8, 4, 4), "wide": (16, 4, 4), "deep": (16, 4, 4), "y": (8, 4, 4)},
                  layer("image", "wide", 16, 8), layer("wide", "deep", 16, 1, (3, 3), padding=(1, 1)),
                  layer("deep", "y", 8, 16))
    return net, config


def test_groups_are_as_large_as_a_tile_where_that_is_quicker():
    """Kind: 16 filters in tiles of 6 and groups of 8: tile 2 would make channels of two groups, and the depthwise layer
    would read two groups for each tile. With 6 channels in each group it reads one; what it makes fills its groups, for
    the layer behind it reads all of them."""
    net, config = chain(dsp_filters=6, lut_filters=0)
    graph = order_channels(choose_columns(lower(net), config), config)
    wide, deep = graph.ops[0].output, graph.ops[1].output
    assert wide.sequence == deep.sequence == deep.order and wide.groups(8) == 3 and deep.groups(8) == 2
    assert [sum(c != HOLE for c in wide.order[at:at + 8]) for at in (0, 8, 16)] == [6, 6, 4]
    assert wide.order[-1] != HOLE
    closed = close_groups(graph)
    assert array_cycles(graph.ops, config) < array_cycles(closed.ops, config)
    assert all(HOLE not in value.order for value in closed.values) and closed.ops[0].output.groups(8) == 2
    assert HOLE not in close_groups(graph, {wide}).ops[0].output.order
    assert close_groups(graph, {deep}).ops[0].output.order == wide.order       # whose holes are its own


def test_what_is_added_shares_the_holes():
    """``more`` is added to what a depthwise layer reads: both have holes, or none. What it makes has none."""
    config = engine(ic=8, act_depth=256, dsp_filters=6, lut_filters=0)
    net = network({"image": (8, 4, 4), "more": (16, 4, 4), "wide": (16, 4, 4), "deep": (16, 4, 4), "y": (8, 4, 4)},
                  layer("image", "more", 16, 8), layer("image", "wide", 16, 8, residual="more", res_mult=3),
                  layer("wide", "deep", 16, 1, (3, 3), padding=(1, 1)), layer("deep", "y", 8, 16))
    graph = order_channels(choose_columns(lower(net), config), config)
    more, wide, deep, _ = (op.output for op in graph.ops)
    assert more.order == wide.order and HOLE in wide.order and deep.order == wide.sequence
    closed = [op.output for op in close_groups(graph, {more}).ops]
    assert HOLE not in closed[0].order and closed[0].order == closed[1].order


def test_two_depthwise_layers_in_turn():
    """The one in the middle is made and read by channel."""
    config = engine(ic=8, act_depth=256, dsp_filters=6, lut_filters=0)
    net = network({"image": (8, 4, 4), "wide": (16, 4, 4), "a": (16, 4, 4), "b": (16, 4, 4), "y": (8, 4, 4)},
                  layer("image", "wide", 16, 8), layer("wide", "a", 16, 1, (3, 3), padding=(1, 1)),
                  layer("a", "b", 16, 1, (3, 3), padding=(1, 1)), layer("b", "y", 8, 16))
    graph = order_channels(choose_columns(lower(net), config), config)
    wide, a, b, _ = (op.output for op in graph.ops)
    assert wide.order == a.order and HOLE in a.order and b.order == a.sequence


def test_groups_stay_full_where_holes_save_nothing():
    """Tiles of eight filters fill groups of eight; what the host reads stays as it is."""
    net, config = chain(dsp_filters=8, lut_filters=0)
    graph = order_channels(choose_columns(lower(net), config), config)
    assert all(HOLE not in value.order for value in graph.values)
    net, config = chain(dsp_filters=6, lut_filters=0)
    graph = order_channels(choose_columns(lower(net), config), config)
    assert HOLE not in graph.output.order and HOLE not in graph.input.order


@pytest.mark.parametrize("kinds", [(4, 2), (2, 4), (2, 1)])
def test_a_group_fits_a_tile_of_every_maker(kinds):
    net, config = chain(dsp_filters=kinds[0], lut_filters=kinds[1])
    graph = order_channels(choose_columns(lower(net), config), config)
    for op in graph.ops[:2]:
        order = op.output.order
        if HOLE not in order:
            continue
        for at in range(0, len(order), 8):
            held = [HELD[int(op.columns[c])] for c in order[at:at + 8] if c != HOLE]
            for column, count in slots_of(config).items():
                assert sum(slots for mine, slots in held if mine is column) <= count


def test_programs_with_holes_compute_the_same():
    """On the command model, what is kept for the host among them; memories that have no room for holes close them."""
    net, _ = chain()
    codes = np.random.default_rng(0).integers(0, 16, (1, *net.tensors["image"].shape))
    expected = {name: value[0] for name, value in net.codes(codes).items()}
    for depth, holes in ((256, True), (11, False)):
        config = engine(ic=8, act_depth=depth, dsp_filters=6, lut_filters=0)
        program = compile(net, config, keep="all")
        assert any(HOLE in region.order for region in program.outputs.values()) == holes
        assert first_difference(program, expected, command_model.run(program, config, codes[0], 0)) is None


def test_what_the_host_lays_out_has_no_holes():
    """The same layers at the end and at the beginning of a network: its output, and what shares the input's order."""
    _, config = chain(dsp_filters=6, lut_filters=0)
    deep = layer("wide", "deep", 16, 1, (3, 3), padding=(1, 1))
    ends = network({"image": (8, 4, 4), "wide": (16, 4, 4), "deep": (16, 4, 4)}, layer("image", "wide", 16, 8), deep)
    begins = network({"wide": (16, 4, 4), "deep": (16, 4, 4), "y": (8, 4, 4)}, deep, layer("deep", "y", 8, 16))
    for net in (ends, begins):
        graph = order_channels(choose_columns(lower(net), config), config)
        assert all(HOLE not in value.order for value in (graph.input, graph.output))


def test_what_a_depthwise_layer_makes_for_the_host_keeps_its_order():
    """Kinds one after the other, which groups as large as a tile would mix."""
    config = engine(ic=8, act_depth=256, dsp_filters=4, lut_filters=2)
    scheme = np.array([Scheme.FIXED4] * 8 + [Scheme.POT4] * 8, np.uint8)
    nodes = [type(node)(**{**vars(node), "scheme": scheme}) for node in (
        layer("image", "wide", 16, 8, weight=np.full((16, 8, 1, 1), 4, np.int16)),
        layer("wide", "deep", 16, 1, (3, 3), padding=(1, 1), weight=np.full((16, 1, 3, 3), 4, np.int16)))]
    net = network({"image": (8, 4, 4), "wide": (16, 4, 4), "deep": (16, 4, 4)}, *nodes)
    graph = order_channels(choose_columns(lower(net), config), config)
    assert graph.output.order == tuple(range(16))


def test_what_the_host_reads_keeps_its_order():
    """Channels of the output, of whatever kind of column, and what is added to it."""
    weight = np.full((12, 12, 1, 1), 4, np.int16)
    scheme = np.array([Scheme.FIXED4] * 6 + [Scheme.POT4] * 6, np.uint8)
    first, last = layer("image", "a", 12, 12, weight=weight), layer("a", "out", 12, 12, weight=weight, residual="a",
                                                                  res_mult=3)
    for nodes, kept in (([first, last], True), ([first, layer("a", "out", 12, 12, weight=weight)], False)):
        mixed = [type(node)(**{**vars(node), "scheme": scheme}) for node in nodes]
        shapes = dict(image=(12, 4, 4), a=(12, 4, 4), out=(12, 4, 4))
        graph = ordered(*mixed, **shapes)
        assert graph.output.order == tuple(range(12))
        assert (graph.ops[0].output.order == tuple(range(12))) == kept


def test_holes_that_the_load_unit_makes_stay():
    """Of an image whose windows leave channels of a group empty."""
    net = network({"image": (3, 9, 9), "out": (4, 5, 5)},
                  layer("image", "out", 4, 3, (3, 3), stride=(2, 2), padding=(1, 1)))
    config = engine(ic=32, ports=2, port_bits=128)
    graph = order_channels(choose_columns(im2col_input(lower(net), config), config), config)
    assert HOLE in graph.input.order and close_groups(graph).input.order == graph.input.order


def test_cycles_of_codes_of_two_digits():
    """They take two lanes: twice the tiles of pixels."""
    config = engine(ic=8, dsp_filters=8, lut_filters=0, act_depth=256)
    cycles = [array_cycles(order_channels(choose_columns(lower(network(
        {"image": (8, 4, 4), "y": (8, 4, 4)}, layer("image", "y", 8, 8, (3, 3), padding=(1, 1)), bits=bits)), config),
        config).ops, config) for bits in (4, 5, 6, 8)]
    assert cycles[0] == cycles[1] == 4 * 9 and cycles[2] == cycles[3] == 8 * 9


def test_holes_in_many_groups():
    """As many as a command can count."""
    config, mixed = engine(ic=8, act_depth=512), np.resize([Scheme.FIXED4, Scheme.FIXED4, Scheme.POT4], 84)
    twos = [np.full((84, *shape), 2, np.int16) for shape in ((4, 1, 1), (1, 3, 3))]
    graph = lower(network(dict(image=(4, 8, 8), wide=(84, 8, 8), deep=(84, 8, 8), out=(4, 8, 8)),
                          layer("image", "wide", 84, 4, weight=twos[0], scheme=mixed),
                          layer("wide", "deep", 84, 1, (3, 3), weight=twos[1], scheme=mixed, padding=(1, 1)),
                          layer("deep", "out", 4, 84)))
    wide = order_channels(choose_columns(graph, config), config).ops[0].output
    assert HOLE in wide.order and wide.groups(config.ic) == 14


def test_filters_that_fill_two_tiles_take_two():
    """Kind: channels in turn, of each kind of column, fill two groups but three tiles: others share them out better."""
    config = engine(ic=8, dsp_filters=6, lut_filters=2, act_depth=256)
    kinds = np.array([2, 1, 0, 2, 2, 2, 1, 0, 0, 0, 2])     # 12 slots of DSP columns and 4 of LUT columns
    weight = np.tile(np.array([4, 3, 99], np.int16)[kinds].reshape(11, 1, 1, 1), (1, 8, 1, 1))
    scheme = np.array([Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8], np.uint8)[kinds]
    node = layer("image", "out", 11, 8, weight=weight)
    net = network({"image": (8, 4, 4), "out": (11, 4, 4), "end": (5, 4, 4)},
                  type(node)(**{**vars(node), "scheme": scheme}), layer("out", "end", 5, 11))
    graph = order_channels(choose_columns(lower(net), config), config)
    assert np.bincount(graph.ops[0].columns).tolist() == [4, 2, 5]
    assert array_cycles(graph.ops[:1], config) == 2 * 16        # four tiles of pixels, of as many visits
