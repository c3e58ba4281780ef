"""The command that computes a value, against what changes when that command, or what it loads, is damaged."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from sim import command_model
from sim.compare import first_difference
from sim.origin import Origins
from spec.commands import PARAM_BYTES, PARAM_FIELDS, Opcode, pack_record, unpack, unpack_record
from spec.errors import AlloyError
from spec.network import Network
from spec.operators.max_pool import MaxPool
from spec.program import Region
from tests.compiler import graphs
from tests.networks import random_config, random_network, scaled_network
from tests.sim.test_compare import CASES, pool, prepare, shortened


def some(program, rng, count):
    """(tensor, channel, row, column) of values of the output regions."""
    for name in rng.choice(list(program.outputs), count):
        region = program.outputs[name]
        yield str(name), *(int(rng.integers(size)) for size in (region.channels, region.height, region.width))


def drowned(program, origin, slot):
    """The program with another bias for the filter in ``slot`` of the command of an ``origin``, wherever the record of
    its parameters is loaded from."""
    command, image = unpack(program.commands[origin.index]), bytearray(program.image)
    load = next(c for c in map(unpack, program.commands[origin.index::-1]) if c["opcode"] == Opcode.LOAD_PARAMS
                and 0 <= command["param_base"] + slot - c["dst"] < c["count"])
    at = load["dram"] + (command["param_base"] + slot - load["dst"]) * PARAM_BYTES
    record = unpack_record(PARAM_FIELDS, bytes(image[at:at + PARAM_BYTES]))
    image[at:at + PARAM_BYTES] = pack_record(PARAM_FIELDS, record | {"bias": -(1 << 40)}, PARAM_BYTES)
    return replace(program, image=bytes(image))


def check(program, config, codes, where, seen):
    """What the origin of a value says is what the commands do."""
    name, *at = where
    at = tuple(at)
    origin = Origins(program, config).of(name, *at)
    assert origin is not None and 0 <= origin.tile < origin.tiles, where
    command = unpack(program.commands[origin.index])
    assert (command["opcode"], command["tag"]) == (origin.opcode, origin.tag)
    seen.add((origin.opcode, len(origin.moved)))
    # It is read by what moves it.
    assert origin.moved[-1][1] == Opcode.STORE_ACT and sorted(origin.moved) == list(origin.moved)
    if origin.opcode == Opcode.POOL:
        assert origin.slot is None and origin.lanes[0] < config.ic and origin.tiles == command["rows"] * command["cols"]
        return
    for low in (0, 1) if not command["table"] else ():
        assert command_model.run(shortened(program, origin.index, lo=low, hi=low), config, codes)[name][at] == low
    low = command_model.run(shortened(program, origin.index, hi=command["lo"]), config, codes)[name][at]
    assert command_model.run(drowned(program, origin, origin.slot), config, codes)[name][at] == low
    # The lanes are those of its pixel in the tile.
    pixels = config.pixels // (1 + command["wide"])
    number = origin.tile * pixels + origin.lanes[0] // (1 + command["wide"])
    row, column = divmod(command["start_y"] * command["pitch"] + command["start_x"] + number, command["pitch"])
    assert row < command["rows"] and column < command["cols"] and len(origin.lanes) == 1 + command["wide"]


@pytest.mark.parametrize("name", CASES)
def test_one_layer(name):
    """All kinds of filters and windows; and the last tile of a command is what is missing without it."""
    network, config, codes, program = prepare(name)
    rng, seen = np.random.default_rng(2), set()
    for where in some(program, rng, 3):
        check(program, config, codes, where, seen)
    found = Origins(program, config)
    places = {at: found.of("out", *at) for at in np.ndindex(network.tensors["out"].shape)}
    for index in sorted({origin.index for origin in places.values()})[:3]:
        tiles = unpack(program.commands[index])["tiles"]
        if tiles > 1:
            model = command_model.CommandModel(shortened(program, index, tiles=tiles - 1), config)
            model.put(codes)
            model.execute()
            gone = {tuple(map(int, at)) for at in np.argwhere(model.unwritten("out"))}
            assert gone <= {at for at, origin in places.items() if (origin.index, origin.tile) == (index, tiles - 1)}
            assert gone or name in ("strips", "narrow")         # their scratch memory holds older codes


@pytest.mark.parametrize("seed", [0, 1, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 10))])
def test_random_networks(seed):
    """Layers that pools copy, residuals, several operations that make one tensor; engines of any size."""
    rng = np.random.default_rng(seed)
    network, config, seen = random_network(rng), random_config(rng), set()
    codes = rng.integers(0, 256, network.tensors["image"].shape)
    try:
        program = compile(network, config, keep="all")
    except AlloyError:
        return
    for where in some(program, rng, 4):
        check(program, config, codes, where, seen)
    assert any(opcode == Opcode.CONV for opcode, _ in seen)


def test_parameters_that_the_engine_has_written():
    """Channels scaled by what the network computes: which filter a record is of stands in the image, and is copied."""
    rng = np.random.default_rng(5)
    network, config = scaled_network(rng), random_config(rng)
    program = compile(network, config, keep="all")
    codes = rng.integers(0, 1 << network.tensors[network.input].bits, network.tensors[network.input].shape)
    for name, *at in some(program, rng, 6):
        origin, at = Origins(program, config).of(name, *at), tuple(at)
        for low in (0, 1) if not unpack(program.commands[origin.index])["table"] else ():
            got = command_model.run(shortened(program, origin.index, lo=low, hi=low), config, codes)
            assert got[name][at] == low
    found = Origins(program, config)
    assert all(found.of("y", channel, 0, 0) for channel in range(program.outputs["y"].channels))


def test_a_pool():
    """Its pixels are counted, and the lane is the channel's."""
    network = pool(6)
    config = prepare("mixed")[1]
    program = compile(network, config, keep="all")
    origin = Origins(program, config).of("out", 5, 1, 2)
    assert (origin.opcode, origin.slot, origin.lanes, origin.tile, origin.tiles) == (Opcode.POOL, None, (1,), 5, 6)
    assert f"command {origin.index} POOL, pixel 5 of 6, lane 1, moved by {origin.index + 1} STORE_ACT" in str(origin)


@pytest.mark.parametrize("padding, stride", [((1, 1), (1, 1)), ((0, 1), (1, 1)), ((1, 0), (1, 1)), ((1, 1), (2, 2)),
                                             ((0, 1), (2, 1))])
def test_values_that_a_pool_copies(padding, stride):
    """To other banks and rows: they are of the command, the lanes and the slot that the value copied is of; the border
    is the pool's."""
    size = tuple((n + p + 2 - 1) // s + 1 for n, p, s in zip((6, 7), padding, stride, strict=True))
    copy = MaxPool(name="copy", input="a", output="y", kernel=(1, 1), stride=stride, padding=padding,
                   padding_end=(2, 2), lo=0, hi=15)
    made = graphs.network({"image": (3, 6, 7), "a": (9, 6, 7), "y": (9, *size)}, graphs.layer("image", "a", 9, 3), copy)
    config = graphs.engine()
    found = Origins(compile(made, config, keep="all"), config)

    def place(*where):
        origin = found.of(*where)
        return origin.index, origin.tile, origin.lanes, origin.slot
    for channel, row, column in np.ndindex(9, *size):
        y, x = (at * s - p for at, s, p in zip((row, column), stride, padding, strict=True))
        if not (0 <= y < 6 and 0 <= x < 7):
            assert found.of("y", channel, row, column).opcode == Opcode.POOL
        else:
            assert place("y", channel, row, column) == place("a", channel, y, x)


def test_what_no_command_computes():
    """A region that nothing stores, as the input's: there is no answer, and none is made up."""
    _, config, _, program = prepare("mixed")
    image = program.input
    region = Region(image.offset, 8, image.height, image.width, 1, 8, 8, tuple(range(8)))
    given = replace(program, outputs={"image": region, **program.outputs})
    assert Origins(given, config).of("image", 0, 0, 0) is None
    cut = next(i for i, c in enumerate(map(unpack, program.commands)) if c["opcode"] == Opcode.CONV)
    short = replace(program, command_count=cut, layers=program.layers)
    assert Origins(short, config).of("out", 0, 0, 0) is None


def test_difference_names_its_command():
    network, config, codes, program = prepare("mixed")
    right = Network.codes(network, codes[None])["out"][0]
    wrong = right.copy()
    wrong[7, 2, 3] ^= 1
    difference = first_difference(program, {"out": right}, {"out": wrong}, config)
    assert difference.origin == Origins(program, config).of("out", 7, 2, 3)
    assert f"row 2, column 3, {difference.origin}: expected" in str(difference)
    assert first_difference(program, {"out": right}, {"out": wrong}).origin is None
