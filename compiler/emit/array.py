"""Convolutions on the array and the post unit behind it."""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from spec.commands import Opcode
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.latency import wide_pixels

from ..hazards import Access
from ..layout import Placement
from ..plan import Strip
from .alternate import Job
from .buffers import Buffers, tap_bytes
from .listing import Listing, some
from .movement import Source
from .order import Task, cut, growing, in_parts
from .tiles import FilterTile, batch, filter_tiles

if TYPE_CHECKING:
    from ..operations import Convolution, Filters

__all__ = ["ArrayWork", "ConvolutionWork"]

COMMANDS = 80       # cycles, about, until a CONV and the loads of weights and parameters have been fetched and begun


class ArrayWork:
    """The commands of filters (:class:`.work.Work`): CONVs over filter tiles, pixel tiles and, where the k-words
    of a filter tile do not fit the weight buffer, chunks of its taps. ``depth`` are the channel groups that each of the
    ``tiles`` reads; k-words that are the same for all taps (an average) are loaded once."""

    def __init__(self, op: "Filters", config: EngineConfig, depth: int, tiles: list[FilterTile]):
        self._op, self._config, self.depth, self._tiles = op, config, depth, tiles
        self._wide = op.input.bits > config.act_digit_bits
        self._lead = int(op.row_taps > 1)       # lanes before that of the first pixel of the output
        self.pixels = config.pixels // 2 if self._wide else config.pixels   # a code of two digits takes two lanes
        taps = self._count()
        self.shared = taps > 1 and all(
            (tile.words.reshape(taps, -1) == tile.words[:depth].reshape(-1)).all() for tile in tiles)
        per = min(taps, config.weight_depth // self.depth * (taps if self.shared else 1), config.tap_depth)
        if per == 0:
            raise AlloyError(f"layer {op.name} reads {self.depth} channel groups, more than the weight buffer's "
                             f"{config.weight_depth} words: raise weight_depth")
        if op.table is not None and not config.tables:
            raise AlloyError(f"layer {op.name} has a table for its codes, the configuration has none: raise tables")
        if op.input.bits > 2 * config.act_digit_bits:
            raise AlloyError(f"layer {op.name} reads {op.input.bits}-bit codes, two digits hold "
                             f"{2 * config.act_digit_bits}: raise act_digit_bits")
        self._chunks = [(t, min(t + per, taps)) for t in range(0, taps, per)]

    def _count(self) -> int:
        """Of the taps."""
        return len(self._op.steps)

    def _taps(self, strip: Strip) -> list[dict[str, int]]:
        """Their records."""
        places = strip.input.taps(self._op.kernel, strip.first_read(self._op), self._op.dilation, self._lead)
        return [places[taps[-1]] for taps in self._op.steps]

    def _params(self, filters: FilterTile, buffers: Buffers) -> tuple[int, Access]:
        """Where the parameters of a filter tile are."""
        return buffers.params(filters, self._op.tag)

    def slots(self) -> list[tuple[int, int]]:
        made = self._op.makes
        out: list[tuple[int, int]] = [(0, 0)] * (made.stop - made.start)
        for number, filters in enumerate(self._tiles):
            for channel, slot, _ in filters.tile.members:
                out[channel] = number, slot
        return out

    def pitch(self, strip: Strip) -> int:
        return strip.input.pitch

    def parts(self, strip: Strip) -> list[Strip]:
        return [part for part, _ in self._parts(strip)]

    def _parts(self, strip: Strip) -> list[tuple[Strip, list[FilterTile]]]:
        """The parts of a strip, and their filter tiles."""
        return [(strip, self._tiles)]

    def commands(self, strip: Strip, source: Source | None, buffers: Buffers, listing: Listing) -> None:
        for part, tiles in self._parts(strip):
            self._part(part, tiles, source, buffers, listing)

    def job(self, strip: Strip, buffers: Buffers, listing: Listing) -> Job | None:
        """The same of a strip whose input is on the chip, bit by bit; None if it must be done at once."""
        return None

    def _part(self, strip: Strip, tiles: list[FilterTile], source: Source | None, buffers: Buffers,
              listing: Listing) -> None:
        op, pitch, rows, count = self._op, strip.input.pitch, strip.y1 - strip.y0, self._pixel_tiles(strip)
        taps, tiles = self._taps(strip), self._batched(tiles, count, source is not None)
        chunks = [(low, high, tap_bytes(taps[low:high])) for low, high in self._chunks]
        for task in self._order(strip, len(tiles), count, source is not None, buffers):
            end = task.start + task.count
            read = []
            if source is not None:
                last = strip.y0 + min(rows - 1, (end * self.pixels - 1) // pitch)
                below = last * op.stride[0] - op.padding[0] + op.windows.reach[0]
                if end == count and strip.y1 == op.output.height:
                    below = source.stop
                read.append(source.read(below, "feed"))
            for chunk in chunks:
                self._convolve(strip, tiles[task.tile], task, chunk, read, buffers, listing)

    def _pixel_tiles(self, strip: Strip) -> int:
        """Tiles of pixels of a strip."""
        rows, cols = strip.y1 - strip.y0, strip.x1 - strip.x0
        return -(-((rows - 1) * strip.input.pitch + cols + self._lead) // self.pixels)

    def _batched(self, tiles: list[FilterTile], count: int, loaded: bool) -> list[FilterTile]:
        """The filter ``tiles``, several in what one command loads if the array is sooner through with one of them, on
        ``count`` tiles of pixels, than its commands are there."""
        c, words = self._config, len(self._op.steps) * self.depth
        busy = count * max(words, c.pixels // c.out_pixels)
        most = min(-(-COMMANDS // busy), c.param_depth // 4, c.weight_depth // (4 * words))
        if most < 2 or loaded or self.shared or len(self._chunks) > 1:
            return tiles
        number = -(-len(tiles) // most)
        cuts = [len(tiles) * i // number for i in range(number + 1)]
        return [tile for lo, hi in pairwise(cuts) for tile in batch(tiles[lo:hi])]

    def _order(self, strip: Strip, tiles: int, count: int, loaded: bool, buffers: Buffers) -> Iterator[Task]:
        """The work of so many filter ``tiles`` on ``count`` tiles of pixels; an input that is ``loaded`` comes in
        parts."""
        c = self._config
        if len(self._chunks) > 1:
            yield from in_parts(tiles, count)
            return
        steps = self._chunks[0][1] * self.depth
        words = self.depth if self.shared else steps
        parts = cut(count, count * steps) if loaded and not self._lead else [(0, count)]
        first = min(buffers.weight_room(words), c.param_depth, tiles) if len(parts) > 1 else 0
        place = strip.input
        beats = place.height * place.width * place.groups * c.act_group_bytes // c.port_bytes
        for tile, part in growing(first, len(parts), words * c.weight_beats, beats // len(parts),
                                  steps * count // len(parts)):
            yield Task(tile, *parts[part])
        yield from (Task(tile, 0, count) for tile in range(first, tiles))

    def _convolve(self, strip: Strip, filters: FilterTile, task: Task, chunk: tuple[int, int, bytes],
                  read: list[Access], buffers: Buffers, listing: Listing) -> None:
        """One CONV, and the loads of what it needs; ``chunk`` are its taps (first, end, their records)."""
        c, op, place = self._config, self._op, strip.input
        (low, high, taps), start = chunk, task.start * self.pixels
        first = max(0, start - self._lead)      # pixel of the output
        tap_base, tap_access = buffers.taps(taps, op.tag, "feed")
        accesses, last = [*read, *self._reads(strip, filters, task), tap_access], high == self._chunks[-1][1]
        values: dict[str, int] = {}
        if last:
            values, more = self._outputs(strip, filters, task, buffers)
            accesses += more
        at, words = (0, self.depth) if self.shared else (low * self.depth, (high - low) * self.depth)
        base, access = buffers.weights(filters, at, words, op.tag)
        listing.costs.compute(listing.add(
            Opcode.CONV, [*accesses, access], tag=op.tag, rows=strip.y1 - strip.y0, cols=strip.x1 - strip.x0,
            tap_base=tap_base, taps=high - low, groups=place.groups, depth=self.depth, tiles=task.count,
            in_base=place.base + start // c.pixels * place.groups + filters.first, half=int(start % c.pixels != 0),
            weight_base=base, pitch=place.pitch, step_y=self.pixels // place.pitch, step_x=self.pixels % place.pitch,
            start_y=first // place.pitch, start_x=first % place.pitch, zero=op.input.zero, wide=int(self._wide),
            acc_first=int(low == 0), acc_last=int(last), mem_in=place.mem, shared=int(self.shared), in_row=self._lead,
            **values))

    def _rows(self, strip: Strip, task: Task) -> tuple[int, int]:
        """Output rows [lo, hi) of a task."""
        pitch = strip.input.pitch
        return (strip.y0 + max(0, task.start * self.pixels - self._lead) // pitch,
                min(strip.y1, strip.y0 + -(-(task.start + task.count) * self.pixels // pitch)))

    def _reads(self, strip: Strip, filters: FilterTile, task: Task) -> list[Access]:
        """What a task reads of the input."""
        y0, y1, _, _ = self._op.region(*self._rows(strip, task), strip.x0, strip.x1)
        at, _ = strip.input_at
        return some(strip.input, (y0 - at, y1 - at), (filters.first, filters.first + self.depth), False, "feed")

    def _makes(self, strip: Strip, filters: FilterTile, task: Task) -> list[Access]:
        """What it makes, and adds to that."""
        y0, y1 = self._rows(strip, task)
        operands = [(strip.output, strip.output_at[0], True)]
        if strip.residual is not None:
            operands.append((strip.residual, strip.residual_at[0], False))
        out = []
        for place, at, writes in operands:
            group = filters.tile.group - place.first
            out += some(place, (y0 - at, y1 - at), (group, group + 1 + filters.tile.straddle), writes)
        return out

    def _outputs(self, strip: Strip, filters: FilterTile, task: Task,
                 buffers: Buffers) -> tuple[dict[str, int], list[Access]]:
        """Fields and accesses of the post unit for the command of a task."""
        op, tile = self._op, filters.tile
        y, x = divmod(max(0, task.start * self.pixels - self._lead), strip.input.pitch)
        base, access = self._params(filters, buffers)
        accesses = [access, *self._makes(strip, filters, task)]
        fields = {"param_base": base, "shift": op.shift, "lo": op.lo, "hi": op.hi, "straddle": int(tile.straddle),
                  "mem_out": strip.output.mem,
                  **_cursor("out", strip.output, strip, strip.output_at, y, x, tile.group)}
        if op.residual is not None:
            assert strip.residual is not None
            fields |= {"residual": 1, "res_mult": op.res_mult, "mem_res": strip.residual.mem,
                       **_cursor("res", strip.residual, strip, strip.residual_at, y, x, tile.group)}
        if op.table is not None:
            fields["table"], access = buffers.table(op.table.tobytes(), op.tag)
            accesses.append(access)
        return fields, accesses


class ConvolutionWork(ArrayWork):
    """The commands of a convolution, whose regions have multipliers of their own; ``cuts`` are the channel groups with
    which strips begin."""

    def __init__(self, op: "Convolution", config: EngineConfig, cuts: Collection[int]):
        super().__init__(op, config, *filter_tiles(op, config, cuts))
        self._regions = [(area, self._scaled(op, mult, cuts)) for area, mult in op.regions]

    def _scaled(self, op, mult, cuts):
        """The filter tiles with another multiplier."""
        _, tiles = filter_tiles(replace(op, mult=np.full_like(op.mult, mult)), self._config, cuts)
        return [replace(tile, params=other.params) for tile, other in zip(self._tiles, tiles, strict=True)]

    def _parts(self, strip: Strip) -> list[tuple[Strip, list[FilterTile]]]:
        found = [(replace(strip, y0=max(strip.y0, y0), y1=min(strip.y1, y1), x0=max(strip.x0, x0),
                          x1=min(strip.x1, x1)), tiles) for (y0, y1, x0, x1), tiles in self._regions]
        return [(part, [filters for filters in tiles if strip.g0 <= filters.tile.group < strip.g1])
                for part, tiles in found or super()._parts(strip) if part.y0 < part.y1 and part.x0 < part.x1]

    def job(self, strip: Strip, buffers: Buffers, listing: Listing) -> Job | None:
        if self._regions or len(self._chunks) > 1:
            return None
        count, records = self._pixel_tiles(strip), self._taps(strip)
        tiles, chunk = self._batched(self._tiles, count, False), (0, len(records), tap_bytes(records))

        def touches(task):
            filters = tiles[task.tile]
            return [*self._reads(strip, filters, task), *self._makes(strip, filters, task)]

        def add(task):
            self._convolve(strip, tiles[task.tile], task, chunk, [], buffers, listing)
        together = wide_pixels(self._config) if self._wide else self._config.out_pixels
        visits = self.pixels / together * sum(1 + filters.tile.straddle for filters in tiles) / len(tiles)
        words, size = self.depth * (1 if self.shared else len(records)), max(filters.size for filters in tiles)
        holds = {"weights": words * size, "params": size, "taps": len(records), "tables": self._op.table is not None}
        return Job(deque(Task(number, 0, count) for number in range(len(tiles))), len(records) * self.depth, visits,
                   holds, touches, add, in_row=bool(self._lead))


def _cursor(prefix: str, place: Placement, strip: Strip, at: tuple[int, int], y: int, x: int,
            group: int) -> dict[str, int]:
    """View of what a command writes or adds from row ``y``, column ``x`` of a strip on.

    Columns at or beyond the region's end are dropped; rows beyond it are never visited.
    """
    y = min(y, strip.y1 - strip.y0 - 1)
    return place.view(prefix, y=strip.y0 - at[0] + y, x=strip.x0 - at[1], start_x=x, group=group - place.first)
