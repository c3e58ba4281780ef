"""How the image is read: as rows of channel groups where it is such, and else window by window."""

from dataclasses import replace

import pytest

from compiler import compile
from compiler.im2col import Im2col, plain
from spec.commands import Opcode, unpack
from spec.errors import AlloyError
from spec.images import OUTSIDE, windows_of
from spec.program import HOLE, Image
from tests.compiler.graphs import CONFIG, engine, layer, network

RGB = Image(0, 3, 5, 6, 3, 18)


def test_order():
    """Channels are numbered by position; gaps of pixels and of windows are holes."""
    assert plain(RGB, 0).order(8) == (0, 1, 2)
    pairs = Im2col(replace(RGB, pixel=4, stride=24), 2, 2, 7, 8, (1, 4), 9)
    assert pairs.order(16) == (0, 1, 2, HOLE, 3, 4, 5, HOLE, 6, 7, 8, HOLE, 9, 10, 11)
    wide = Im2col(RGB, 2, 1, 9, 6, (0, 0), 9)
    assert wide.groups(8) == 4 and wide.order(8) == (*range(9), *[HOLE] * 7, *range(9, 18))


def test_what_is_left_of_rows_shares_a_group():
    """Of windows longer than one, if half of it is enough."""
    long = Im2col(RGB, 2, 2, 11, 6, (1, 3), 9)
    assert long.fits(8) and list(long.windows(8)) == [(0, 0, 8, 1), (1, 0, 8, 1), (0, 8, 3, 2)]
    assert long.order(8) == (*range(8), *range(11, 19), *range(8, 11), HOLE, *range(19, 22))
    assert not replace(long, bytes=13).fits(8) and replace(long, bytes=16).groups(8) == 4
    loads = [fields for _, fields in long.loads(engine(ic=8), (0, 3), (0, 3))]
    assert [(f["pair"], f["above"], f["below"], f["stride"], f["dram"]) for f in loads] == [
        (0, 1, 0, 36, 18), (0, 0, 0, 36, 0), (1, 1, 0, 18, 5)], loads


@pytest.mark.parametrize("image, region", [
    (Image(0, 8, 5, 6, 8, 48), True), (Image(0, 16, 5, 6, 16, 96), True), (Image(0, 7, 5, 6, 7, 42), False),
    (Image(0, 7, 1, 1, 7, 7), False), (Image(0, 7, 1, 1, 8, 8), True), (Image(0, 8, 5, 6, 16, 96), False),
    (Image(0, 8, 5, 6, 8, 52), False), (Image(0, 11, 5, 6, 16, 96), True), (Image(0, 7, 5, 6, 8, 48), True)])
def test_rows_of_groups(image, region):
    """Those of a whole number of groups, in rows that begin with a beat."""
    config = engine(ic=8, ports=1, port_bits=64)
    assert plain(image, 0).is_region(config) is region
    assert not plain(image, 0).is_region(engine(ic=8, ports=1, port_bits=128))      # groups have gaps
    assert not Im2col(image, 1, 1, image.pixel, 2 * image.pixel, (0, 0), 0).is_region(config)


def test_a_part_reads_its_bytes_alone():
    """Of columns 2 to 4 of windows 9 bytes wide that begin a pixel before the row: bytes 9 to 24, whole rows else."""
    way = Im2col(RGB, 1, 1, 9, 3, (0, 3), 7)
    (_, part), = way.loads(engine(ic=16), (1, 3), (4, 6))
    assert (part["dram"], part["bytes"], part["before"], part["rows"], part["cols"]) == (18 + 9, 9, 0, 2, 2)
    (_, whole), = way.loads(engine(ic=16), (0, 5), (0, 6))
    assert (whole["dram"], whole["bytes"], whole["before"], whole["stride"]) == (0, 18, 3, 18)


def test_what_lies_beside_the_image_is_not_read():
    way = Im2col(RGB, 2, 2, 3, 3, (1, 0), 7)
    config = engine(ic=8, ports=2, port_bits=32)
    (_, first), = way.loads(config, (0, 1), (0, 6))
    assert (first["above"], first["below"], first["dram"]) == (1, 0, 0)
    (_, last), = way.loads(config, (2, 3), (0, 6))
    assert (last["above"], last["below"], last["dram"]) == (0, 0, 3 * 18)
    _, lone = list(replace(way, rows=3, pair=1, before=(2, 0)).loads(config, (0, 1), (0, 6)))[0]
    assert lone["above"] == 1 and lone["dram"] == 0


@pytest.mark.parametrize("values, words", [
    (dict(pixel_bytes=2), "a pixel of the image has 2 bytes and 3 channels: give 3 or more"),
    (dict(pixel_bytes=4, row_bytes=23), "a row of the image has 23 bytes and 6 pixels of 4: give 24 or more")])
def test_gaps_that_are_none(values, words):
    net = network({"image": (3, 5, 6), "out": (4, 5, 6)}, layer("image", "out", 4, 3))
    with pytest.raises(AlloyError, match=words):
        compile(net, CONFIG, **values)
    loads = [c for c in map(unpack, compile(net, CONFIG, pixel_bytes=5, row_bytes=32).commands)
             if c["opcode"] == Opcode.LOAD_ACT]
    assert loads and all(c["image"] and c["step"] == 5 and c["stride"] == 32 for c in loads)


@pytest.mark.parametrize("channels, ic, pixel", [(3, 8, 3), (8, 8, 8), (9, 8, 16), (17, 8, 24), (9, 5, 9)])
def test_pixels_of_many_channels_are_whole_groups(channels, ic, pixel):
    """If a group fills its beats; then they are loaded as tensors are."""
    net = network({"image": (channels, 5, 6), "out": (4, 5, 6)}, layer("image", "out", 4, channels))
    program = compile(net, engine(ic=ic, ports=1, port_bits=64))
    assert program.input.pixel == pixel
    images = {bool(c["image"]) for c in map(unpack, program.commands) if c["opcode"] == Opcode.LOAD_ACT}
    assert images == {pixel % 8 != 0}


@pytest.mark.parametrize("before, cols", [(3, (0, 1)), (9, (0, 2)), (0, (6, 7)), (0, (8, 9))])
def test_windows_beside_the_row_read_nothing(before, cols):
    """All of them lie before it, or behind it: one byte is named, and none of it is in a window."""
    (_, fields), = Im2col(RGB, 1, 1, 3, 3, (0, before), 7).loads(engine(ic=8), (0, 5), cols)
    assert fields["bytes"] >= 1 and (windows_of(fields, 8)[..., :3] == OUTSIDE).all()
