"""The part of a program's image behind its commands."""

from collections.abc import Callable

from spec.config import EngineConfig

__all__ = ["Image"]

ALIGN = 64          # bytes at least between the beginnings of two pieces


class Image:
    """Weights, parameters and taps, each at an offset that every port can read from. A piece may be made later than
    its size is known."""

    def __init__(self, config: EngineConfig):
        self._align, self._size = max(ALIGN, config.wide_bytes), 0
        self._pieces: list[tuple[int, int, Callable[[], bytes] | bytes]] = []

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return self.data()

    def data(self, later: bool = True) -> bytes:
        """All pieces; zeros for those that were to be made ``later`` if they are not wanted."""
        out = bytearray(self._size)
        for offset, size, piece in self._pieces:
            if isinstance(piece, bytes) or later:
                made = piece if isinstance(piece, bytes) else piece()
                assert len(made) == size
                out[offset:offset + size] = made
        return bytes(out)

    def put(self, data: bytes) -> int:
        """Append ``data``; its offset."""
        return self._append(len(data), data)

    def later(self, size: int, make: Callable[[], bytes]) -> int:
        """Append so many bytes, which ``make`` gives when they are wanted; their offset."""
        return self._append(size, make)

    def _append(self, size, piece):
        offset = -(-self._size // self._align) * self._align
        self._pieces.append((offset, size, piece))
        self._size = offset + size
        return offset
