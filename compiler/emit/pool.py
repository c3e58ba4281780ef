"""Maxima and copies on the pool unit."""

from dataclasses import replace
from typing import TYPE_CHECKING

from spec.commands import Opcode
from spec.config import EngineConfig
from spec.errors import AlloyError

from ..plan import Strip
from .buffers import Buffers, tap_bytes
from .listing import Listing, whole
from .movement import Source

if TYPE_CHECKING:
    from ..operations import Maximum

__all__ = ["PoolWork"]


class PoolWork:
    """The commands of a maximum: one POOL for each strip (:class:`.work.Work`)."""
    depth, pixels = 1, 1

    def __init__(self, op: "Maximum", config: EngineConfig):
        self._op, self._config = op, config
        if op.kernel[0] * op.kernel[1] > config.tap_depth:
            raise AlloyError(f"layer {op.name} has {op.kernel[0] * op.kernel[1]} taps, the configuration holds "
                             f"{config.tap_depth}: raise tap_depth")

    def slots(self) -> list[tuple[int, int]]:
        return [divmod(position, self._config.ic) for position in self._op.output.positions().tolist()]

    def pitch(self, strip: Strip) -> int:
        return strip.x1 - strip.x0

    def commands(self, strip: Strip, source: Source | None, buffers: Buffers, listing: Listing) -> None:
        op, place, out = self._op, strip.input, strip.output
        taps = place.taps(op.kernel, strip.first_read(op), op.dilation)
        base, access = buffers.taps(tap_bytes(taps), op.tag, None)
        accesses = [access, whole(place, False), whole(out, True)]
        if source is not None:
            accesses.append(source.read(source.stop, None))
        rows, cols = strip.y1 - strip.y0, strip.x1 - strip.x0
        # The taps lead to the planes of the input, whatever its phases: the walk is that of the output.
        walk = replace(place, phases=(False, False)).view("res")
        listing.costs.compute(listing.add(
            Opcode.POOL, accesses, tag=op.tag, rows=rows, cols=cols, pitch=cols, tap_base=base, taps=len(taps),
            groups=place.groups, mem_in=place.mem, mem_out=out.mem, **walk,
            **out.view("out", y=strip.y0 - strip.output_at[0], x=strip.x0 - strip.output_at[1])))
