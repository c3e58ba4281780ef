"""Pieces of the image begin where every port can read."""

import pytest

from compiler.emit.image import ALIGN, Image
from tests.compiler.graphs import engine


@pytest.mark.parametrize("values, align", [({}, ALIGN), (dict(ports=8, port_bits=256), 256)])
def test_pieces(values, align):
    image, pieces = Image(engine(**values)), {}
    for count in (1, align, 3, 2 * align + 1):
        pieces[image.put(bytes([count % 251]) * count)] = count
    assert list(pieces) == [0, align, 2 * align, 3 * align] and len(image) == 5 * align + 1
    for at, count in pieces.items():
        assert bytes(image)[at:at + count] == bytes([count % 251]) * count
