"""Which command of a program computes a value, and where in the engine: read from the commands alone, backwards from
the bytes in DRAM."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from spec.commands import PARAM_BYTES, PARAM_FIELDS, TAP_BYTES, TAP_FIELDS, Opcode, unpack, unpack_record
from spec.config import EngineConfig
from spec.images import OUTSIDE, windows_of
from spec.program import Program, Region
from spec.views import view_of, walk

__all__ = ["Origin", "Origins"]

Place = tuple[int, int, int, int]       # of a code in the activation memories: memory, bank, address, channel
COMPUTE = Opcode.CONV, Opcode.POOL


@dataclass(frozen=True)
class Origin:
    """The command that computes a value.

    Attributes
    ----------
    index, opcode, tag : of the command; ``index`` is its number in the program, as ``alloy disassemble`` shows it.
    number : among the compute commands of the same tag.
    tile, tiles : in which of the command's tiles of pixels (of a POOL: of its pixels) the value is.
    lanes : of the array that compute it (two if its pixel has two digits); of a POOL the lane of the channel.
    slot : of its filter, the first of a pair; None of a POOL.
    moved : numbers and opcodes of those that bring it from there to where it is read, in their order.
    """
    index: int
    opcode: Opcode
    tag: int
    number: int
    tile: int
    tiles: int
    lanes: tuple[int, ...]
    slot: int | None
    moved: tuple[tuple[int, Opcode], ...] = ()

    @property
    def part(self) -> float:
        """Share of the command's work that is done when the value is written."""
        return (self.tile + 1) / self.tiles

    def __str__(self) -> str:
        unit = "pixel" if self.opcode == Opcode.POOL else "tile"
        where = [f"{unit} {self.tile} of {self.tiles}", *([] if self.slot is None else [f"slot {self.slot}"]),
                 f"lane{'s' * (len(self.lanes) > 1)} {' and '.join(map(str, self.lanes))}"]
        moved = ", ".join(f"{index} {opcode.name}" for index, opcode in self.moved)
        return f"command {self.index} {self.opcode.name}, {', '.join(where)}" + (f", moved by {moved}" if moved else "")


class Origins:
    """Of the values that a program writes to DRAM. The order of its commands is one in which they may be carried out,
    and so tells who was the last to write a word."""

    def __init__(self, program: Program, config: EngineConfig):
        self._program, self._config = program, config
        self._record = cache(self._look_up)

    @cached_property
    def _commands(self) -> list[dict]:
        return [unpack(record) for record in self._program.commands]

    def of(self, tensor: str, channel: int, row: int, column: int) -> Origin | None:
        """Of a value of an output region, None if no command computes it: what the host has written."""
        found: list[tuple[int, Opcode]] = []
        at, first = _byte(self._program.outputs[tensor], channel, row, column), None
        place = self._stored(len(self._commands), at, found)
        while place is not None and (made := self._made(found[-1][0], place)) is not None:
            index, ordinal = made
            opcode = Opcode(self._commands[index]["opcode"])
            source = None
            if opcode != Opcode.LOAD_ACT:
                first, source = self._origin(index, ordinal, place, tuple(found[::-1])), self._copied(*made, place)
            found.append((index, opcode))
            if opcode == Opcode.LOAD_ACT:
                byte = self._loaded(self._commands[index], ordinal, place)
                source = None if byte is None else self._stored(index, byte, found)
            place = source
        return first

    def _stored(self, end: int, at: int, found: list) -> Place | None:
        """Place of the code that the last STORE_ACT before command ``end`` has written to the byte ``at``; the command
        is noted."""
        size = self._config.act_group_bytes
        for index in range(end - 1, -1, -1):
            c = self._commands[index]
            if c["opcode"] != Opcode.STORE_ACT or at < c["dram"]:
                continue
            row, rest = divmod(at - c["dram"], c["stride"]) if c["rows"] > 1 else (0, at - c["dram"])
            column, rest = divmod(rest, c["out_groups"] * size)
            if row < c["rows"] and column < c["cols"]:
                found.append((index, c["opcode"]))
                bank, addr = self._place(c, "out", row, column)
                return c["mem_out"], bank, addr + rest // size, rest % size
        return None

    def _loaded(self, c: Mapping[str, int], ordinal: int, place: Place) -> int | None:
        """Byte of DRAM that a LOAD_ACT brings to a place, of its pixel ``ordinal``; None of what lies outside an
        image."""
        row, column = divmod(ordinal, c["cols"])
        if c["image"]:
            at = int(windows_of(c, self._config.ic)[row, column, place[3]])
            return None if at == OUTSIDE else c["dram"] + at
        group, size = place[2] - self._place(c, "out", row, column)[1], self._config.act_group_bytes
        return c["dram"] + row * c["stride"] + (column * c["out_groups"] + group) * size + place[3]

    def _place(self, c: Mapping[str, int], prefix: str, row: int, column: int) -> tuple[int, int]:
        """Bank and address of a pixel of a region."""
        return next((bank, addr) for y, x, bank, addr in walk(view_of(c, prefix), row + 1, c["cols"],
                                                              self._config.pixels) if (y, x) == (row, column))

    def _made(self, end: int, place: Place) -> tuple[int, int] | None:
        """Number of the last command before ``end`` that writes a place, and the number of its pixel."""
        memory, bank, addr, lane = place
        for index in range(end - 1, -1, -1):
            c = self._commands[index]
            if c.get("mem_out") != memory or c["opcode"] == Opcode.STORE_ACT or not c.get("acc_last", 1):
                continue
            for ordinal, found, first in self._pixels(c):
                if found == bank and self._writes(index, addr - first, lane):
                    return index, ordinal
        return None

    def _writes(self, index: int, group: int, lane: int) -> bool:
        """Whether a command writes a channel of a pixel, ``group`` words behind that where the pixel begins."""
        c = self._commands[index]
        if c.get("image"):
            return group == 0
        if c["opcode"] != Opcode.CONV:
            return 0 <= group < c["groups" if c["opcode"] == Opcode.POOL else "out_groups"]
        return group in (0, 1) and any((p["second"], p["lane"]) == (group, lane) for _, p in self._params(index))

    def _pixels(self, c: Mapping[str, int]) -> Iterator[tuple[int, int, int]]:
        """(number, bank, address) of every pixel that a command writes; a CONV numbers those as it goes through them,
        also those that are no outputs."""
        if c["opcode"] != Opcode.CONV:
            for number, (_, _, bank, addr) in enumerate(walk(view_of(c, "out"), c["rows"], c["cols"],
                                                             self._config.pixels)):
                yield number, bank, addr
            return
        start, end = c["start_y"] * c["pitch"] + c["start_x"], c["tiles"] * self._count(c)
        start -= bool(c["in_row"] and not start)        # of taps in a row, the first lane is no pixel
        for y, x, bank, addr in walk(view_of(c, "out"), c["rows"], min(c["cols"], c["pitch"]), self._config.pixels,
                                     (c["start_y"], c["start_x"])):
            if (number := y * c["pitch"] + x - start) >= end:
                return
            yield number, bank, addr

    def _count(self, c: Mapping[str, int]) -> int:
        """Pixels of a tile."""
        return self._config.pixels // 2 if c["wide"] else self._config.pixels

    def _params(self, index: int) -> Iterator[tuple[int, dict]]:
        """(slot, record) of the filters that a CONV computes."""
        base = self._commands[index]["param_base"]
        for slot in range(self._config.slots):
            data = self._record(index, Opcode.LOAD_PARAMS, base + slot, PARAM_BYTES)
            record = unpack_record(PARAM_FIELDS, data) if data else {"valid": 0}
            if record["valid"]:
                yield slot, record

    def _look_up(self, end: int, opcode: Opcode, number: int, size: int) -> bytes:
        """What the last load before command ``end`` has brought to record ``number``; empty if none has. Bytes that the
        engine has computed are 0: which filter a record is of they do not say."""
        for index in range(end - 1, -1, -1):
            c = self._commands[index]
            if c["opcode"] == opcode and 0 <= number - c["dst"] < c["count"]:
                at = c["dram"] + (number - c["dst"]) * size
                found = self._program.image[at:at + size]
                return found if len(found) == size else bytes(self._given(index, at + i) for i in range(size))
        return b""

    def _given(self, end: int, at: int) -> int:
        """The byte ``at`` of the window, which is behind the image, when command ``end`` reads it: that of the image
        which has been copied there, or 0."""
        found: list[tuple[int, Opcode]] = []
        place = self._stored(end, at, found)
        made = None if place is None or place[3] >= self._config.ic else self._made(found[-1][0], place)
        if place is None or made is None or self._commands[made[0]]["opcode"] != Opcode.LOAD_ACT:
            return 0
        source = self._loaded(self._commands[made[0]], made[1], place)
        return self._program.image[source] if source is not None and source < len(self._program.image) else 0

    def _copied(self, index: int, ordinal: int, place: Place) -> Place | None:
        """Where a POOL of one tap, a copy, takes a code from; None of what is no copy, and where the tap is outside."""
        c = self._commands[index]
        if c["opcode"] != Opcode.POOL or c["taps"] != 1:
            return None
        tap = unpack_record(TAP_FIELDS, self._record(index, Opcode.LOAD_TAPS, c["tap_base"], TAP_BYTES))
        row, column = divmod(ordinal, c["cols"])
        if not (0 <= row + tap["dy"] < tap["rows"] and 0 <= column + tap["dx"] < tap["cols"]):
            return None
        bank, addr = self._place(c, "res", row, column)
        group = place[2] - self._place(c, "out", row, column)[1]
        behind = bank + tap["rot"] >= self._config.pixels
        return (c["mem_in"], (bank + tap["rot"]) % self._config.pixels,
                addr + tap["addr"] + group + (c["res_groups"] if behind else 0), place[3])

    def _origin(self, index: int, ordinal: int, place: Place, moved: tuple) -> Origin:
        c = self._commands[index]
        opcode, tag = Opcode(c["opcode"]), c["tag"]
        number = sum(one["opcode"] in COMPUTE and one["tag"] == tag for one in self._commands[:index])
        if opcode == Opcode.POOL:
            return Origin(index, opcode, tag, number, ordinal, c["rows"] * c["cols"], (place[3],), None, moved)
        tile, at = divmod(ordinal, self._count(c))
        first = next(addr for number, _, addr in self._pixels(c) if number == ordinal)
        slot = next(slot for slot, p in self._params(index) if (p["second"], p["lane"]) == (place[2] - first, place[3]))
        lanes = (2 * at, 2 * at + 1) if c["wide"] else (at,)
        return Origin(index, opcode, tag, number, tile, c["tiles"], lanes, slot, moved)


def _byte(region: Region, channel: int, row: int, column: int) -> int:
    """Place of a code in the window."""
    group, lane = divmod(region.order.index(channel), region.ic)
    return region.offset + row * region.stride + (column * region.groups + group) * region.group_bytes + lane
