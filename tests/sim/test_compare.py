"""The place of a value in the engine's work, against what changes when a part of the program is damaged."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from sim import command_model
from sim.compare import first_difference
from spec.commands import COMMAND_BYTES, FIELDS, Opcode, pack_record, unpack
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.kwords import beats_of, gather, pack_words, unpack_words
from spec.network import Network, Tensor
from spec.numerics import Scheme, levels
from spec.operators.convolution import Conv
from spec.operators.max_pool import MaxPool

CONFIG = EngineConfig(name="places", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=128, weight_depth=64,
                      ports=2, port_bits=32)
MIXED = (Scheme.FIXED8, Scheme.POT4, Scheme.FIXED4)


def conv(schemes, filters, *, channels=8, size=(5, 6), kernel=(1, 1), stride=(1, 1), padding=(0, 0), groups=1, bits=4):
    """A network of one convolution whose outputs are hardly ever clipped."""
    rng = np.random.default_rng(filters)
    scheme = np.array([schemes[i % len(schemes)] for i in range(filters)], np.uint8)
    weight = np.stack([rng.choice(levels(Scheme(int(s))), (channels // groups, *kernel))
                       for s in scheme]).astype(np.int16)
    top = np.abs(weight.astype(int)).reshape(filters, -1).sum(1).max() << bits
    shift = int(top).bit_length() + 8
    height, width = ((s + 2 * p - k) // st + 1 for s, p, k, st in zip(size, padding, kernel, stride, strict=True))
    tensors = {"image": Tensor(name="image", channels=channels, height=size[0], width=size[1], bits=bits),
               "out": Tensor(name="out", channels=filters, bits=8, height=height, width=width)}
    node = Conv(name="layer", input="image", output="out", weight=weight, scheme=scheme,
                mult=np.full(filters, 60000, np.int32),
                bias=np.full(filters, 128 << shift, np.int64), shift=shift, lo=0, hi=255, stride=stride,
                padding=padding)
    return Network(name="one", input="image", output="out", tensors=tensors, nodes=[node])


def pool(channels, size=(5, 6)):
    tensors = {"image": Tensor(name="image", channels=channels, height=size[0], width=size[1], bits=8),
               "out": Tensor(name="out", channels=channels, height=size[0] // 2, width=size[1] // 2, bits=8)}
    node = MaxPool(name="layer", input="image", output="out", kernel=(2, 2), stride=(2, 2), padding=(0, 0), mult=1,
                   shift=1, lo=0, hi=255)
    return Network(name="one", input="image", output="out", tensors=tensors, nodes=[node])


CASES = {
    "fixed8": (conv([Scheme.FIXED8], 12), {}), "mixed": (conv(MIXED, 19), {}), "pot": (conv([Scheme.POT4], 11), {}),
    "padded": (conv(MIXED, 9, kernel=(3, 3), padding=(1, 1)), {}), "strided": (conv(MIXED, 7, kernel=(3, 3),
                                                                                    stride=(2, 2), size=(7, 9)), {}),
    "grouped": (conv([Scheme.FIXED4], 12, groups=4, kernel=(3, 2)), {}),
    "depthwise": (conv([Scheme.FIXED8], 8, groups=8, kernel=(3, 3)), {}),
    "wide": (conv(MIXED, 9, bits=8, kernel=(2, 2)), {}), "folded": (conv(MIXED, 9, channels=1, kernel=(3, 1),
                                                                         stride=(2, 1)), {}),
    "parts": (conv(MIXED, 9, kernel=(3, 3), padding=(1, 1)), dict(act_depth=16)),
    "strips": (conv(MIXED, 9, kernel=(3, 3), padding=(1, 1)), dict(act_depth=12)),
    "narrow": (conv(MIXED, 9, kernel=(3, 3), padding=(1, 1)), dict(act_depth=8)),
}


def prepare(name):
    network, values = CASES[name]
    config = EngineConfig.from_dict(CONFIG.to_dict() | values)
    codes = np.random.default_rng(1).integers(0, 1 << network.tensors["image"].bits, network.tensors["image"].shape)
    return network, config, codes, compile(network, config, keep="all")


def slot_damaged(program, config, load, slot):
    """The program with other weights in one slot of what a LOAD_WEIGHTS, of plain words, loads."""
    image = bytearray(program.image)
    size = beats_of(load, config) * config.port_bytes
    streams = [image[at:at + size] for at in range(load["dram"], load["dram"] + config.ports * load["stride"],
                                                   load["stride"])]
    nibbles = unpack_words(np.array([np.frombuffer(stream, np.uint8) for stream in streams]), load, config)
    nibbles[:, slot] = np.where(nibbles[:, slot] == 1, 2, 1)
    data = pack_words(gather(nibbles), config).data
    image[load["dram"]:load["dram"] + len(data)] = data
    return replace(program, image=bytes(image))


@pytest.mark.parametrize("name", CASES)
def test_slots(name):
    """Kind: a place that is computed anew instead of asked from what the compiler did. Damage in one slot shows in its
    channels alone."""
    network, config, codes, program = prepare(name)
    layer, expected, seen = program.layers[0], network.codes(codes[None])["out"][0], set()
    loads = {c["dram"]: c for c in map(unpack, program.commands) if c["opcode"] == Opcode.LOAD_WEIGHTS}
    for tile, load in enumerate(loads.values()):
        for slot in range(config.slots):
            got = command_model.run(slot_damaged(program, config, load, slot), config, codes)["out"]
            changed = {int(c) for c in np.unique(np.argwhere(got != expected)[:, 0])}
            own = {c for c, made_at in enumerate(layer.slots) if made_at == (tile, slot)}
            # of which this may be the other half
            first = {c for c, made_at in enumerate(layer.slots) if made_at == (tile, slot - 1)}
            assert changed <= (own or first), (tile, slot)
            seen |= changed
    assert seen == set(range(len(layer.slots)))


def shortened(program, number, **values):
    """The program with fields of one command changed."""
    image, at = bytearray(program.image), program.command_offset + number * COMMAND_BYTES
    old = unpack(program.commands[number])
    image[at:at + COMMAND_BYTES] = pack_record(FIELDS, old | values, COMMAND_BYTES)
    return replace(program, image=bytes(image))


def missing(program, config, codes):
    """(channel, row, column) of the output values that nothing has written."""
    model = command_model.CommandModel(program, config)
    model.put(codes)
    model.execute()
    return {tuple(map(int, at)) for at in np.argwhere(model.unwritten("out"))}


@pytest.mark.parametrize("name", CASES)
def test_pixel_tiles(name):
    """A CONV that leaves out its last tile: what is missing is one tile of pixels of one tile of filters, all of it."""
    network, config, codes, program = prepare(name)
    layer, seen = program.layers[0], set()
    made = {at: layer.made_at(*at) for at in np.ndindex(network.tensors["out"].shape)}
    for number, command in enumerate(map(unpack, program.commands)):
        if command["opcode"] == Opcode.CONV and command["tiles"] > 1:
            gone = missing(shortened(program, number, tiles=command["tiles"] - 1), config, codes)
            if gone:            # strips share their scratch memory: an older one's codes may stand there
                (tile, strip, pixels), = {(p[0], p[2], p[3]) for p in (made[at] for at in gone)}
                assert gone == {at for at, p in made.items() if (p[0], p[2], p[3]) == (tile, strip, pixels)}
                seen.add((tile, strip, pixels))
    assert seen or name == "narrow"
    assert len({(p[0], p[2]) for p in made.values()}) >= len(seen)


def test_strips_are_those_of_the_commands():
    """Every strip is stored by one command: its region is the strip."""
    for name in ("strips", "narrow"):
        _, _, _, program = prepare(name)
        stores = [c for c in map(unpack, program.commands) if c["opcode"] == Opcode.STORE_ACT]
        strips = program.layers[0].strips
        assert len(strips) >= 2 and [(y1 - y0, x1 - x0) for y0, y1, x0, x1,
                                     _ in strips] == [(c["rows"], c["cols"]) for c in stores]
        region, start = program.outputs["out"], program.outputs["out"].offset
        assert [y0 * region.stride + x0 * region.groups * region.group_bytes for y0, _, x0, _,
                _ in strips] == [c["dram"] - start for c in stores]


def test_parts_of_the_filters_work_on_one_strip():
    """Which part a value is of its filter tile says; each part is stored by one command, pixel by pixel."""
    _, _, _, program = prepare("parts")
    stores = [c for c in map(unpack, program.commands) if c["opcode"] == Opcode.STORE_ACT]
    assert [strip[:4] for strip in program.layers[0].strips] == [(0, 5, 0, 6)]
    assert len(stores) == 3 and {(c["rows"], c["cols"], c["out_groups"]) for c in stores} == {(30, 1, 1)}


def test_pool_places():
    network = pool(10)
    config, codes = CONFIG, np.random.default_rng(1).integers(0, 256, (10, 5, 6))
    program = compile(network, config, keep="all")
    layer = program.layers[0]
    number, command = next((n, c) for n, c in enumerate(map(unpack, program.commands)) if c["opcode"] == Opcode.POOL)
    gone = missing(shortened(program, number, groups=command["groups"] - 1), config, codes)
    everything = {at: layer.made_at(*at) for at in np.ndindex(network.tensors["out"].shape)}
    assert gone == {at for at, p in everything.items() if p[0] == 2} and gone
    gone = missing(shortened(program, number, rows=command["rows"] - 1), config, codes)
    assert gone == {at for at, p in everything.items() if p[3] >= 3} and gone


def test_first_difference():
    """The example of 12 filters of 8 bits on 4 + 2 slots: two pairs of slots in each of six tiles."""
    network, config, codes, program = prepare("fixed8")
    expected = network.codes(codes[None])["out"][0]
    got = expected.copy()
    got[11, 2, 3] ^= 1
    difference = first_difference(program, {"out": expected}, {"out": got})
    assert difference.coordinate == (11, 2, 3) and difference.made_at == (5, 2, 0,
                                                                        (2 * 6 + 3) // 4) and difference.wrong == 1
    assert "filter tile 5, slot 2, strip 0, pixel tile 3, channel 11, row 2, column 3" in str(difference)
    assert first_difference(program, {"out": expected}, {"out": expected}) is None
    with pytest.raises(AlloyError, match="layer layer has no value at row 9, column 0"):
        program.layers[0].made_at(0, 9, 0)
