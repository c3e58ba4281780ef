"""How the engine makes the input of a graph of the image in DRAM: positions of a kernel may become channels (im2col).

A pixel of the input is one or more windows of bytes of the image's rows, each of which fills a channel group
(docs/architecture.md, Images).
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
    rows : of the image in each row of the input, one after the other; ``pair`` of them share a channel group (1 or 2).
    bytes, step : of a window, and to the next one. Windows longer than a group go on in the groups behind it.
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

    def parts(self, ic: int) -> int:
        """Channel groups of a window."""
        return 1 if self.pair == 2 else -(-self.bytes // ic)

    def groups(self, ic: int) -> int:
        """Channel groups of a pixel."""
        return self.rows // self.pair * self.parts(ic)

    def positions(self, ic: int) -> list[tuple[int, int] | None]:
        """(row, byte of the window) at each position of the channels; None where there is none."""
        out: list[tuple[int, int] | None] = []
        for row in range(0, self.rows, self.pair):
            if self.pair == 2:
                size = ic // 2
                out += [(row, at) if at < self.bytes else None for at in range(size)]
                out += [(row + 1, at) if at < self.bytes else None for at in range(ic - size)]
            else:
                out += [(row, at) if at < self.bytes else None for at in range(self.parts(ic) * ic)]
        return out

    def order(self, ic: int) -> tuple[int, ...]:
        """Of the channels of the input, which are numbered by position: those of pixels, and not of what may lie beside
        them."""
        used = [at is not None and at[1] % self.image.pixel < self.image.channels for at in self.positions(ic)]
        numbers = iter(range(sum(used)))
        order = [next(numbers) if one else HOLE for one in used]
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
        return max(words, beats * self.parts(config.ic) / config.image_lanes)

    def loads(self, config: EngineConfig, rows: tuple[int, int], cols: tuple[int, int],
              apart: int = 1) -> Iterator[tuple[int, dict[str, Any]]]:
        """Of rows and every ``apart``-th of the columns [lo, hi) of the input, for each channel group its number and
        the fields that say what a LOAD_ACT reads, with ``dram`` from the image's first byte."""
        image, whole = self.image, self.image.width * self.image.pixel
        count, step, ic = len(range(*cols, apart)), self.step * apart, config.ic
        for first in range(0, self.rows, self.pair):
            low = rows[0] * self.rows - self.before[0] + first
            high = (rows[1] - 1) * self.rows - self.before[0] + first + self.pair - 1
            above, below = int(low < 0), int(high >= image.height)
            for part in range(self.parts(ic)):
                size = min(self.bytes - part * ic, ic) if self.pair == 1 else self.bytes
                start = cols[0] * self.step - self.before[1] + part * ic
                at, end = max(0, start), min(whole, start + (count - 1) * step + size)
                if at >= end:       # all of it lies outside
                    at, end, start = 0, 1, -(count - 1) * step - size
                fields = {"image": 1, "pair": int(self.pair == 2), "above": above, "below": below, "bytes": end - at,
                          "before": at - start, "step": step, "fill": self.fill, "rows": rows[1] - rows[0],
                          "cols": count}
                further = self.rows // self.pair        # rows of the image from one that is read to the next
                row = low + above * further if image_rows(fields) else 0
                yield first // self.pair * self.parts(ic) + part, fields | {
                    "dram": row * image.stride + at, "stride": further * image.stride}


def pixel_of(channels: int, config: EngineConfig) -> int:
    """Bytes of a pixel if nobody says how many: those of its channels, or of whole groups if it has more than one, so
    that its rows are rows of groups."""
    whole = channels > config.ic == config.act_group_bytes
    return -(-channels // config.ic) * config.ic if whole else channels


def plain(image: Image, fill: int) -> Im2col:
    """The input is the image, pixel by pixel."""
    return Im2col(image, 1, 1, image.channels, image.pixel, (0, 0), fill)
