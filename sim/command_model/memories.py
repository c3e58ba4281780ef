"""What an engine and its window of DRAM hold, with the checks that every access passes."""

from collections.abc import Iterator, Mapping

import numpy as np

from spec.commands import PARAM_BYTES, TABLE_RECORDS
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.images import OUTSIDE, windows_of
from spec.views import view_of, walk

__all__ = ["EMPTY", "Command", "Memories", "Place", "inside"]

EMPTY = -1              # a word that nothing has written, or that is just being written

Command = Mapping[str, int]         # fields by name
Place = tuple                       # index of words in the activation memories: memory, bank, address, perhaps channel


def inside(cmd: Command, what: str, first: int, count: int, depth: int) -> None:
    """Refuse a command that goes beyond a memory."""
    if not 0 <= first <= first + count <= depth:
        raise AlloyError(f"layer {cmd['tag']} uses {what} {first}..{first + count}, the configuration has {depth}")


class Memories:
    """``dram`` is the window, a byte in each entry or :data:`EMPTY`; the others hold words in the same way, or None."""

    def __init__(self, image: bytes, size: int, config: EngineConfig):
        self.config = config
        self.dram = np.full(size, EMPTY, np.int16)
        self.dram[:len(image)] = np.frombuffer(image, np.uint8)
        self.act = np.full((2, config.pixels, config.act_depth, config.ic), EMPTY, np.int16)
        self.weights = np.full((config.weight_depth, config.slots, config.ic), EMPTY, np.int8)
        self.params: list[Command | None] = [None] * (config.param_depth * config.slots)
        self.taps: list[Command | None] = [None] * config.tap_depth
        self.tables = np.full((config.tables * TABLE_RECORDS, PARAM_BYTES), EMPTY, np.int16)

    def bytes(self, start: int, count: int) -> np.ndarray:
        """Bytes of the window, which the command was checked to stay in."""
        return self.dram[start:start + count]

    def words(self, start: int, count: int) -> np.ndarray:
        """Bytes of the window that must have been written."""
        data = self.bytes(start, count)
        if (data == EMPTY).any():
            raise AlloyError(f"DRAM bytes {start}..{start + count} are loaded before anything has written them")
        return data

    def channels(self, start: int, groups: int) -> np.ndarray:
        """Bytes of the window where the codes (groups, ic) of one pixel lie."""
        return self.bytes(start, groups * self.config.act_group_bytes).reshape(groups, -1)[:, :self.config.ic]

    def pixels(self, cmd: Command) -> Iterator[tuple[Place, int]]:
        """Place of the channels, and DRAM offset, of every pixel of a STORE_ACT, or a LOAD_ACT but of an image."""
        c, groups = self.config, cmd["out_groups"]
        for y, x, bank, addr in walk(view_of(cmd, "out"), cmd["rows"], cmd["cols"], c.pixels):
            inside(cmd, "activation words", addr, groups, c.act_depth)
            yield ((cmd["mem_out"], bank, slice(addr, addr + groups)),
                   cmd["dram"] + y * cmd["stride"] + x * groups * c.act_group_bytes)

    def windows(self, cmd: Command) -> Iterator[tuple[Place, np.ndarray]]:
        """Place of the channels, and their codes (1, ic), of every pixel of a LOAD_ACT of an image."""
        sources = windows_of(cmd, self.config.ic)
        codes = np.where(sources == OUTSIDE, cmd["fill"], self.dram[cmd["dram"] + np.maximum(sources, 0)])
        for y, x, bank, addr in walk(view_of(cmd, "out"), cmd["rows"], cmd["cols"], self.config.pixels):
            inside(cmd, "activation words", addr, 1, self.config.act_depth)
            yield (cmd["mem_out"], bank, slice(addr, addr + 1)), codes[y, x][None]

    def tap_records(self, cmd: Command) -> list[Command]:
        """The taps of a command."""
        taps = [tap for tap in self.taps[cmd["tap_base"]:cmd["tap_base"] + cmd["taps"]] if tap is not None]
        if len(taps) < cmd["taps"]:
            raise AlloyError(f"layer {cmd['tag']} uses taps that are not loaded")
        if any(tap["rot"] >= self.config.pixels for tap in taps):
            raise AlloyError(f"layer {cmd['tag']} has a tap of more banks than there are")
        return taps

    def nothing_read(self) -> np.ndarray:
        """Flags (memory, bank, address) for the words that a command reads."""
        return np.zeros(self.act.shape[:3], bool)

    def apart(self, cmd: Command, places: list[Place], reads: np.ndarray | None = None) -> None:
        """Refuse a command that writes a word twice, or one that it reads itself: the engine does both at once."""
        count = np.zeros(self.act.shape[:3], int)
        for place in places:
            np.add.at(count, place, 1)
        if count.max() > 1 or reads is not None and count[reads].any():
            raise AlloyError(f"layer {cmd['tag']} writes a word that it reads or has written before")
