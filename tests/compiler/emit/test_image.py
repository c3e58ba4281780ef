"""Pieces of the image begin where every port can read, whenever they are made."""

import pytest

from compiler import compile
from compiler.emit.image import ALIGN, Image
from sim.cycle_model import model
from spec.commands import COMMAND_BYTES
from tests.compiler.graphs import engine, layer, network


@pytest.mark.parametrize("values, align", [({}, ALIGN), (dict(ports=8, port_bits=256), 256)])
def test_pieces(values, align):
    image, pieces = Image(engine(**values)), {}
    for count in (1, align, 3, 2 * align + 1):
        pieces[image.put(bytes([count % 251]) * count)] = count
    assert list(pieces) == [0, align, 2 * align, 3 * align] and len(image) == 5 * align + 1
    for at, count in pieces.items():
        assert bytes(image)[at:at + count] == bytes([count % 251]) * count


def test_pieces_that_are_made_later():
    image, made = Image(engine()), []

    def piece():
        made.append(1)
        return b"later"
    at = image.put(b"one"), image.later(5, piece), image.put(b"two")
    assert at == (0, ALIGN, 2 * ALIGN) and len(image) == 2 * ALIGN + 3
    blank = image.data(later=False)
    assert not made and blank == b"one".ljust(2 * ALIGN, b"\0") + b"two"
    assert bytes(image) == blank[:ALIGN] + b"later" + blank[ALIGN + 5:]


@pytest.mark.parametrize("values", [{}, dict(decode_lanes=2)])
def test_programs_without_weights(values):
    """All but the bytes of the weights is there, so that sizes and cycles are those of the program."""
    net = network({"image": (9, 5, 5), "out": (7, 5, 5)}, layer("image", "out", 7, 9, (3, 3), padding=(1, 1)))
    config = engine(**values)
    whole, sizes = compile(net, config), compile(net, config, weights=False)
    assert len(sizes.image) == len(whole.image) and sizes.window_size == whole.window_size
    assert sizes.image[:sizes.command_count * COMMAND_BYTES] == whole.image[:whole.command_count * COMMAND_BYTES]
    assert [one.cycles for one in model(sizes, config)] == [one.cycles for one in model(whole, config)]
    assert (sizes.image == whole.image) == bool(values)      # of coded words the size is not known before
