"""A reader of the flat file that knows ``docs/program.md`` and nothing else: names and places are those of its
tables."""

from pathlib import Path
import re
import struct
import zlib

import numpy as np

__all__ = ["File"]

PAGE = Path(__file__).parents[3] / "docs" / "program.md"
ROW = re.compile(r"^\| (\d+) \| (\d+) \| (\w+) \| (.*?) ?\|$", re.M)


def _tables():
    """The two tables of bytes: name -> (first byte, bytes, signed)."""
    text = PAGE.read_text().split("## The flat file")[1]
    return [{name: (int(at), int(size), "signed" in what) for at, size, name, what in ROW.findall(part)}
            for part in text.split("An entry of a tensor;")]


HEADER, TENSOR = _tables()


def _values(data, table, at=0):
    out = {}
    for name, (first, size, signed) in table.items():
        piece = data[at + first:at + first + size]
        out[name] = (struct.unpack("<d", piece)[0] if name == "scale" else piece if name == "magic"
                     else int.from_bytes(piece, "little", signed=signed))
    return out


class File:
    """A flat file: its header as attributes ``h``, entries of tensors ``t`` (the input, then outputs), names."""

    def __init__(self, data):
        self.data, self.h = data, _values(data, HEADER)
        h = self.h
        assert h["magic"] == b"ALLOYPRG" and h["format"] == 2 and h["header_bytes"] == 128
        assert h["file_bytes"] == len(data) and h["checksum"] == zlib.crc32(data[24:])
        self.t = [_values(data, TENSOR, h["tensors_at"] + 64 * i) for i in range(h["tensor_count"])]
        self.classes = self._names(h["classes_at"], h["class_count"])

    def _names(self, at, count):
        return [part.decode() for part in self.data[at:].split(b"\0", count)[:count]]

    def name(self, tensor):
        """Of an entry."""
        return self._names(tensor["name_at"], 1)[0]

    def order(self, tensor):
        """Channel of each position."""
        return np.frombuffer(self.data, "<u2", tensor["channels"], tensor["order_at"])

    def window(self, bank):
        """What the window holds before a start: all bytes of it."""
        h, out = self.h, bytearray(self.h["window_bytes_2" if bank else "window_bytes"])
        out[:h["image_bytes"]] = self.data[h["image_at"]:h["image_at"] + h["image_bytes"]]
        if bank:
            at, size = h["command_offset_2"], 128 * h["command_count"]
            out[at:at + size] = self.data[h["commands_at"]:h["commands_at"] + size]
        return out

    def input(self, image):
        """Bytes of the input for an image (rows, columns, channels)."""
        h, out = self.h, bytearray(self.t[0]["bytes"])
        assert image.shape == (h["image_height"], h["image_width"], h["image_channels"])
        for r, s, c in np.ndindex(image.shape):
            out[r * h["image_row"] + s * h["image_pixel"] + c] = image[r, s, c]
        return bytes(out)

    def output(self, tensor, data):
        """Codes (channels, rows, columns) of a tensor's bytes."""
        t, out = tensor, np.zeros((tensor["channels"], tensor["height"], tensor["width"]), np.int64)
        pixels = np.frombuffer(data, np.uint8).reshape(t["height"], t["width"], t["groups"], t["group_bytes"])
        for p, channel in enumerate(self.order(t)):
            out[channel] = pixels[:, :, p // t["group_channels"], p % t["group_channels"]]
        return out
