"""Maxima and copies on the pool unit."""

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from spec.commands import Opcode
from spec.config import EngineConfig

from ..hazards import Access
from ..plan import Strip
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

    def commands(self, strip: Strip, source: Source | None, buffers: Buffers, listing: Listing) -> None:
        op, out = self._op, strip.output
        read = [] if source is None else [source.read(source.stop, None)]
        if op.phases != op.stride or max(out.phases) > 2:
            self._lines(strip, read, buffers, listing)
            return
        taps = strip.input.taps(op.kernel, strip.first_read(op), op.dilation)
        rows, cols = strip.y1 - strip.y0, strip.x1 - strip.x0
        # The taps lead to the planes of the input, whatever its phases: the walk is that of the output.
        walk = replace(strip.input, phases=(1, 1)).view("res")
        self._pool(strip, taps, (rows, cols), read, buffers, listing, walk
                   | out.view("out", y=strip.y0 - strip.output_at[0], x=strip.x0 - strip.output_at[1]))

    def _lines(self, strip: Strip, read: list[Access], buffers: Buffers, listing: Listing) -> None:
        """Each row of each plane of the output by itself: what the unit takes for rows are its pixels, so that they can
        lie any number of pixels apart in the input."""
        op, place, out, (y, x) = self._op, strip.input, strip.output, strip.first_read(self._op)
        planes, (rows, cols) = out.phases[1], (strip.y1 - strip.y0, strip.x1 - strip.x0)
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
            cols=size[1], pitch=size[1], tap_base=base, taps=len(taps), groups=place.groups, mem_in=place.mem,
            mem_out=strip.output.mem, **views))


class SpreadWork(PoolWork):
    """The commands of a spread (:class:`.work.Work`): one POOL for each strip, which copies. Its view of the input has
    planes that are none: of which each shows the same pixels, or other channel groups of them."""
    _op: "Spread"

    def commands(self, strip: Strip, source: Source | None, buffers: Buffers, listing: Listing) -> None:
        op, place, out, (uy, ux) = self._op, strip.input, strip.output, self._op.up
        rows, cols, groups = strip.y1 - strip.y0, strip.x1 - strip.x0, op.output.groups(self._config.ic)
        base, access = buffers.taps(tap_bytes([{"addr": 0, "rot": 0, "dy": 0, "dx": 0, "rows": rows, "cols": cols}]),
                                    op.tag, None)
        accesses = [access, whole(place, False), whole(out, True)]
        if source is not None:
            accesses.append(source.read(source.stop, None))
        y, x = strip.y0 - strip.input_at[0] * uy, strip.x0 - strip.input_at[1] * ux
        listing.costs.compute(listing.add(
            Opcode.POOL, accesses, tag=op.tag, rows=rows, cols=cols, pitch=cols, tap_base=base, taps=1, groups=groups,
            mem_in=place.mem, mem_out=out.mem, **place.spread("res", op.up, groups * op.apart, y=y, x=x),
            **out.view("out", y=strip.y0 - strip.output_at[0], x=strip.x0 - strip.output_at[1])))
