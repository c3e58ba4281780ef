"""How the engine makes the input of a graph of the image in DRAM: positions of a kernel may become channels (im2col).

A pixel of the input is one or more windows of bytes of the image's rows, each of which fills a channel group
(docs/architecture.md, Images).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from spec.config import EngineConfig
from spec.images import image_rows
from spec.program import HOLE, Image

__all__ = ["Im2col", "pixel_of", "plain"]


@dataclass(frozen=True)
class Im2col:
    """What a pixel of the graph's input holds of an image.

    Attributes
    ----------
    rows : of the image in each row of the input, one after the other.
    bytes, step : of a window, and to the next one. Windows longer than a group go on in the groups behind it.
    pair : rows (1 or 2) whose windows share a channel group; of longer ones, what is left behind whole groups does.
    before : (rows, bytes) of the first window that lie outside the image.
    fill : code outside.
    """
    image: Image
    rows: int
    pair: int
    bytes: int
    step: int
    before: tuple[int, int]
    fill: int

    def windows(self, ic: int) -> Iterator[tuple[int, int, int, int]]:
        """What each channel group of a pixel holds: its row and first byte of a window, how many, and of how many
        rows."""
        for first in range(0, self.rows, self.pair):
            whole = self.bytes if self.pair == 1 else self.bytes // ic * ic
            for row, at in product(range(first, first + self.pair), range(0, whole, ic)):
                yield row, at, min(whole - at, ic), 1
            if whole < self.bytes:
                yield first, whole, self.bytes - whole, self.pair

    def fits(self, ic: int) -> bool:
        """Whether half a channel group holds what rows have in it."""
        return all(rows == 1 or size <= ic // 2 for _, _, size, rows in self.windows(ic))

    def groups(self, ic: int) -> int:
        """Channel groups of a pixel."""
        return len(list(self.windows(ic)))

    def positions(self, ic: int) -> list[tuple[int, int] | None]:
        """(row, byte of the window) at each position of the channels; None where there is none."""
        out: list[tuple[int, int] | None] = []
        for first, at, count, rows in self.windows(ic):
            for row, size in enumerate((ic // rows, ic - ic // rows)[:rows]):
                out += [(first + row, at + byte) if byte < count else None for byte in range(size)]
        return out

    def order(self, ic: int) -> tuple[int, ...]:
        """Of the channels of the input, which are numbered by row and byte: those of pixels, and not of what may lie
        beside them."""
        positions = self.positions(ic)
        used = sorted(at for at in positions if at is not None and at[1] % self.image.pixel < self.image.channels)
        numbers = {at: number for number, at in enumerate(used)}
        order = [HOLE if at is None else numbers.get(at, HOLE) for at in positions]
        while order[-1] == HOLE:
            order.pop()
        return tuple(order)

    def is_region(self, config: EngineConfig) -> bool:
        """Whether rows of the image are rows of channel groups."""
        image = self.image
        return (self == plain(image, self.fill) and config.ic == config.act_group_bytes
                and image.pixel == self.groups(config.ic) * config.ic and image.stride % config.port_bytes == 0)

    def cycles(self, config: EngineConfig, height: int, width: int) -> float:
        """About how many it takes to load ``height`` x ``width`` pixels of the input."""
        words = height * width * self.groups(config.ic)
        if self.is_region(config):
            return words * config.group_beats / config.act_lanes
        beats = height * self.rows * (width * self.step + self.bytes) / config.port_bytes
        return max(words, beats * -(-self.bytes // config.ic) / config.image_lanes)

    def loads(self, config: EngineConfig, rows: tuple[int, int], cols: tuple[int, int],
              apart: int = 1) -> Iterator[tuple[int, dict[str, Any]]]:
        """Of rows and every ``apart``-th of the columns [lo, hi) of the input, for each channel group its number and
        the fields that say what a LOAD_ACT reads, with ``dram`` from the image's first byte."""
        image, whole = self.image, self.image.width * self.image.pixel
        count, step, ic = len(range(*cols, apart)), self.step * apart, config.ic
        for number, (first, byte, size, pair) in enumerate(self.windows(ic)):
            low = rows[0] * self.rows - self.before[0] + first
            high = (rows[1] - 1) * self.rows - self.before[0] + first + pair - 1
            above, below = int(low < 0), int(high >= image.height)
            start = cols[0] * self.step - self.before[1] + byte
            at, end = max(0, start), min(whole, start + (count - 1) * step + size)
            if at >= end:       # all of it lies outside
                at, end, start = 0, 1, -(count - 1) * step - size
            fields = {"image": 1, "pair": int(pair == 2), "above": above, "below": below, "bytes": end - at,
                      "before": at - start, "step": step, "fill": self.fill, "rows": rows[1] - rows[0], "cols": count}
            further = self.rows // pair     # rows of the image from one that is read to the next
            row = low + above * further if image_rows(fields) else 0
            yield number, fields | {"dram": row * image.stride + at, "stride": further * image.stride}


def pixel_of(channels: int, config: EngineConfig) -> int:
    """Bytes of a pixel if nobody says how many: those of its channels, or of whole groups if it has more than one, so
    that its rows are rows of groups."""
    whole = channels > config.ic == config.act_group_bytes
    return -(-channels // config.ic) * config.ic if whole else channels


def plain(image: Image, fill: int) -> Im2col:
    """The input is the image, pixel by pixel."""
    return Im2col(image, 1, 1, image.channels, image.pixel, (0, 0), fill)
