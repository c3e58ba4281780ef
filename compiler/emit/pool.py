"""Maxima and copies on the pool unit."""

from dataclasses import replace
from itertools import product
from math import lcm
from typing import TYPE_CHECKING

from spec.commands import Opcode
from spec.config import EngineConfig

from ..hazards import Access
from ..plan import Strip
from .alternate import Job
from .buffers import Buffers, tap_bytes
from .listing import Listing, whole
from .movement import Source

if TYPE_CHECKING:
    from ..operations import Operation, Spread

__all__ = ["PoolWork", "SpreadWork"]


class PoolWork:
    """The commands of a maximum or a copy (:class:`.work.Work`): one POOL for each strip, or for each of its rows."""
    depth, shared, pixels = 1, False, 1

    def __init__(self, op: "Operation", config: EngineConfig):
        self._op, self._config = op, config

    def slots(self) -> list[tuple[int, int]]:
        return [divmod(position, self._config.ic) for position in self._op.output.positions().tolist()]

    def parts(self, strip: Strip) -> list[Strip]:
        return [strip]

    def pitch(self, strip: Strip) -> int:
        return strip.x1 - strip.x0

    def job(self, strip: Strip, buffers: Buffers, listing: Listing) -> Job | None:
        return None

    @staticmethod
    def _size(strip: Strip) -> tuple[int, int]:
        """Rows and columns."""
        return strip.y1 - strip.y0, strip.x1 - strip.x0

    def commands(self, strip: Strip, source: Source | None, buffers: Buffers, listing: Listing) -> None:
        op, out = self._op, strip.output
        read = [] if source is None else [source.read(source.stop, None)]
        if op.phases != op.stride or max(out.phases) > 2:
            self._lines(strip, read, buffers, listing)
            return
        taps = strip.input.taps(op.kernel, strip.first_read(op), op.dilation)
        # The taps lead to the planes of the input, whatever its phases: the walk is that of the output.
        walk = replace(strip.input, phases=(1, 1)).view("res")
        self._pool(strip, taps, self._size(strip), read, buffers, listing, walk
                   | out.view("out", y=strip.y0 - strip.output_at[0], x=strip.x0 - strip.output_at[1]))

    def _lines(self, strip: Strip, read: list[Access], buffers: Buffers, listing: Listing) -> None:
        """Each row of each plane of the output by itself: what the unit takes for rows are its pixels, so that they can
        lie any number of pixels apart in the input."""
        op, place, out, (y, x) = self._op, strip.input, strip.output, strip.first_read(self._op)
        planes, (rows, cols) = out.phases[1], self._size(strip)
        for row, col in product(range(rows), range(min(planes, cols))):
            at = min(max(y + row * op.stride[0], 0), place.height - 1)
            taps = place.line_taps(op.windows, (y + row * op.stride[0], x + col * op.stride[1]), at, planes)
            self._pool(strip, taps, (len(range(col, cols, planes)), 1), read, buffers, listing,
                       place.line("res", y=at, x=0, step=planes * op.stride[1])
                       | out.line("out", y=strip.y0 + row - strip.output_at[0], x=strip.x0 + col - strip.output_at[1]))

    def _pool(self, strip: Strip, taps: list[dict[str, int]], size: tuple[int, int], read: list[Access],
              buffers: Buffers, listing: Listing, views: dict[str, int]) -> None:
        """One POOL over ``size`` pixels."""
        op, place = self._op, strip.input
        base, access = buffers.taps(tap_bytes(taps), op.tag, None)
        listing.costs.compute(listing.add(
            Opcode.POOL, [access, whole(place, False), whole(strip.output, True), *read], tag=op.tag, rows=size[0],
            cols=size[1], pitch=size[1], tap_base=base, taps=len(taps), groups=op.output.groups(self._config.ic),
            mem_in=place.mem, mem_out=strip.output.mem, **views))


class SpreadWork(PoolWork):
    """The commands of a spread (:class:`.work.Work`): one POOL for each strip, which copies. Its view of the input has
    planes that are none: of which each shows the same pixels, or other channel groups of them. A view has two planes in
    each direction at most: more pixels of one are written row by row."""
    _op: "Spread"

    def commands(self, strip: Strip, source: Source | None, buffers: Buffers, listing: Listing) -> None:
        op, place, out, (uy, ux) = self._op, strip.input, strip.output, self._op.up
        read = [] if source is None else [source.read(source.stop, None)]
        if max(op.up) > 2:
            self._lines(strip, read, buffers, listing)
            return
        size, y, x = self._size(strip), strip.y0 - strip.input_at[0] * uy, strip.x0 - strip.input_at[1] * ux
        self._pool(strip, _one(*size), size, read, buffers, listing, place.spread("res", op.up, self._apart, y=y, x=x)
                   | out.view("out", y=strip.y0 - strip.output_at[0], x=strip.x0 - strip.output_at[1]))

    @property
    def _apart(self) -> int:
        """Channel groups of the input from one pixel's to the next one's."""
        return self._op.output.groups(self._config.ic) * self._op.apart

    def _lines(self, strip: Strip, read: list[Access], buffers: Buffers, listing: Listing) -> None:
        """Of each row of the output those pixels together that are equally far from each other in both maps."""
        place, out, (uy, ux) = strip.input, strip.output, self._op.up
        every = lcm(ux, out.phases[1])
        for y, x in product(range(strip.y0, strip.y1), range(strip.x0, min(strip.x0 + every, strip.x1))):
            size = len(range(x, strip.x1, every)), 1
            part = y % uy * ux + x % ux
            self._pool(strip, _one(*size), size, read, buffers, listing,
                       place.line("res", y=y // uy - strip.input_at[0], x=x // ux - strip.input_at[1],
                                  step=every // ux, group=part * self._apart)
                       | out.line("out", y=y - strip.output_at[0], x=x - strip.output_at[1],
                                  step=every // out.phases[1]))


def _one(rows, cols):
    """The tap of a copy."""
    return [{"addr": 0, "rot": 0, "dy": 0, "dx": 0, "rows": rows, "cols": cols}]
