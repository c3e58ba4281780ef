"""The part of a program's image behind its commands."""

from spec.config import EngineConfig

__all__ = ["Image"]

ALIGN = 64          # bytes at least between the beginnings of two pieces


class Image:
    """Bytes that grow with weights, parameters and taps, each at an offset that every port can read from."""

    def __init__(self, config: EngineConfig):
        self._align, self._bytes = max(ALIGN, config.wide_bytes), bytearray()

    def __len__(self) -> int:
        return len(self._bytes)

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def put(self, data: bytes) -> int:
        """Append ``data``; its offset."""
        self._bytes.extend(bytes(-len(self._bytes) % self._align))
        offset = len(self._bytes)
        self._bytes.extend(data)
        return offset
