"""The on-chip tables that loads fill: what they hold is used again, what they lack is loaded."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from spec.commands import PARAM_BYTES, TABLE_RECORDS, TAP_BYTES, TAP_FIELDS, Opcode, pack_record
from spec.program import Image, Region

from ..graph import Value
from ..hazards import Access
from .listing import Listing
from .rings import Ring

if TYPE_CHECKING:
    from .tiles import FilterTile

__all__ = ["Buffers", "tap_bytes"]


def tap_bytes(taps: list[dict[str, int]]) -> bytes:
    """Records of taps as a LOAD_TAPS reads them."""
    return b"".join(pack_record(TAP_FIELDS, tap, TAP_BYTES) for tap in taps)


class Buffers:
    """Each method gives where the content is and the access of a command that uses it, and adds its load before."""

    def __init__(self, listing: Listing, regions: Mapping[Value, Region | Image]):
        config, self._listing, self._regions = listing.config, listing, regions
        self._weights = Ring(config.weight_depth)
        # Per table: what loads it, its ring, records in one unit of the ring.
        self._tables = {"taps": (Opcode.LOAD_TAPS, Ring(config.tap_depth), 1),
                        "params": (Opcode.LOAD_PARAMS, Ring(config.param_depth), config.slots),
                        "tables": (Opcode.LOAD_TABLES, Ring(config.tables), TABLE_RECORDS)}

    def hold(self, units: Mapping[str, int]) -> bool:
        """Whether there is room for so many units of each ring at a time, and for as many weights and parameters that
        come next."""
        sizes = {"weights": self._weights.size, **{name: ring.size for name, (_, ring, _) in self._tables.items()}}
        return all(count * (2 if ring in ("weights", "params") else 1) <= sizes[ring] for ring, count in units.items())

    def weight_room(self, words: int) -> int:
        """How many ranges of ``words`` k-words can be loaded before the first of them is overwritten."""
        return self._weights.room(words)

    def taps(self, data: bytes, tag: int, stage: str | None) -> tuple[int, Access]:
        """Tap records, which a command reads in ``stage``."""
        return self._records("taps", data, tag, stage)

    def params(self, tile: "FilterTile", tag: int) -> tuple[int, Access]:
        """The parameter records of all slots for a tile."""
        whole, slots = tile.batch or tile, self._listing.config.slots
        base, access = self._records("params", whole.params, tag)
        first = base + tile.number * slots
        return first, access._replace(lo=first, hi=first + slots)

    def made_params(self, value: Value, row: int, part: int, size: int, tag: int) -> tuple[int, Access]:
        """The parameter records of all slots that the engine itself has written: the ``part``-th ``size`` bytes of a
        row of a value in DRAM."""
        _, ring, per = self._tables["params"]
        unit, held = ring.take((value, row, part), 1)
        access = Access(("params",), unit * per, unit * per + per, False)
        if not held:
            region = self._regions[value]
            self._load(Opcode.LOAD_PARAMS, access, (value, row, part), tag,
                       lambda: {"dram": row * region.stride + part * size, "value": value},
                       Access(("dram", value.name), row, row + 1, False))
        return unit * per, access

    def table(self, codes: bytes, tag: int) -> tuple[int, Access]:
        """A table of 256 codes; its number from 1."""
        first, access = self._records("tables", codes, tag)
        return first // TABLE_RECORDS + 1, access

    def _records(self, name, data, tag, stage=None):
        opcode, ring, per = self._tables[name]
        count = len(data) // PARAM_BYTES
        unit, held = ring.take(data, -(-count // per))
        access = Access((name,), unit * per, unit * per + count, False, stage)
        if not held:
            self._load(opcode, access, data, tag, lambda: {"dram": self._listing.image.put(data)})
        return unit * per, access

    def weights(self, tile: "FilterTile", low: int, count: int, tag: int) -> tuple[int, Access]:
        """``count`` of a tile's k-words from ``low`` on, which the feeder reads; of one in a batch, all."""
        whole = tile.batch or tile
        start, held = self._weights.take((whole.key, low), count * whole.size)
        if not held:
            self._load(Opcode.LOAD_WEIGHTS, Access(("weights",), start, start + count * whole.size, False),
                       (whole.key, low), tag, lambda: whole.stored(low, count * whole.size, self._listing))
        first = start + tile.number * count
        return first, Access(("weights",), first, first + count, False, "feed")

    def _load(self, opcode: Opcode, access: Access, key: object, tag: int, fields: Callable[[], dict[str, Any]],
              *more: Access):
        item = self._listing.add(opcode, [access._replace(writes=True, stage=None), *more], tag=tag, dst=access.lo,
                                 count=access.hi - access.lo, **fields())
        self._listing.costs.load(item, access.resource[0], key)
