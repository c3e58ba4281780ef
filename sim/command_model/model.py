"""The queues and units of an engine, and the random order in which they make progress.

Commands are not atomic: a load owns its destination from its start until it lands, a CONV gives ``feed`` before the
post unit reads its parameters and residual, and the next CONV may be fed before the outputs of this one are written.
What a program orders by semaphores alone is therefore seen to be ordered, or seen to be wrong. It keeps the bit
patterns of the hardware (one's-complement sums, joined digits) and refuses what the hardware would get wrong in
silence: words that nothing has written or that are just being written, semaphores that never come, addresses outside
the window or a buffer, sums that overflow.
"""

from collections import deque
from collections.abc import Callable
from random import Random

import numpy as np

from spec.check import RULES, refuse
from spec.commands import FIELDS, LOADS_AHEAD, QUEUES, SEMAPHORE_MAX, SEMAPHORES, Error, Opcode, unpack, unpack_record
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.program import Program

from .array import Array, Sums
from .loads import LOADS, Land
from .memories import EMPTY, Command, Memories
from .post import Writes, pool, post

__all__ = ["CommandModel", "run"]

POSTS_AHEAD = 3         # commands that the feeder may be ahead of the post unit


def run(program: Program, config: EngineConfig, codes: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Run one image of input codes (C, H, W); returns every output region's codes by tensor name.

    ``seed`` chooses the order in which the queues and units make progress. Raises :class:`AlloyError` naming the layer.
    """
    model = CommandModel(program, config)
    model.put(codes)
    model.execute(seed)
    return {name: model.output(name) for name in program.outputs}


class CommandModel:
    """State of the engine at command level."""

    def __init__(self, program: Program, config: EngineConfig):
        program.runs_on(config)
        self.config, self.program = config, program
        self.memories = Memories(program.image, program.window_size, config)
        self._array = Array(self.memories)
        self.clear()

    def clear(self) -> None:
        """Nothing is queued, and nothing under way."""
        self.tokens = [0] * SEMAPHORES
        self.queues: dict[str, deque[Command]] = {name: deque() for name in ("load", "compute", "store")}
        self.landing: deque[tuple[Command, Land]] = deque()
        self.feeding: Command | None = None
        self.posting: deque[tuple[Command, Sums | None]] = deque()
        self.writing: tuple[Command, Writes] | None = None

    def put(self, codes: np.ndarray) -> None:
        """Write the input of one image, codes (C, H, W), into the window."""
        region = self.program.input
        self.memories.bytes(region.offset, region.size)[:] = np.frombuffer(self.program.pack_input(codes), np.uint8)

    def unwritten(self, name: str) -> np.ndarray:
        """Which of an output region's values (C, H, W) nothing has written."""
        region = self.program.outputs[name]
        empty = self.memories.bytes(region.offset, region.size) == EMPTY
        return self.program.unpack(name, empty.astype(np.uint8).tobytes()) != 0

    def output(self, name: str) -> np.ndarray:
        """Codes (C, H, W) of an output region after :meth:`execute`."""
        if self.unwritten(name).any():
            raise AlloyError(f"tensor {name} has values that nothing has written")
        region = self.program.outputs[name]
        data = self.memories.bytes(region.offset, region.size)
        return self.program.unpack(name, data.astype(np.uint8).tobytes())

    def execute(self, seed: int = 0) -> None:
        """Run to END; raises :class:`AlloyError` for a deadlock, a semaphore overflow and semaphores that are left
        over."""
        self.clear()
        dice = Random(seed)
        self.coming, self.wait = deque(self._checked()), 0      # END's semaphores, once it is there
        # Unlimited queues allow more orders, the real depth fewer: both must be right.
        self.depth = dice.choice((self.config.queue_depth, len(self.coming)))
        # A favoured event makes one unit run ahead of the others as far as the semaphores let it.
        events = (self._fetch, self._start_load, self._land, self._issue, self._feed, self._read, self._write,
                  self._store)
        favour = {event: 10 ** dice.uniform(-3, 3) for event in events}
        while able := self._able():
            dice.choices(able, [favour[event] for event in able])[0]()
        stuck = sorted({queue[0]["tag"] for queue in self.queues.values() if queue})
        if stuck or not all(self.tokens[s] for s in _bits(self.wait)):
            raise AlloyError(f"the program is stuck: layer {stuck or 'END'} waits for semaphores that never come")
        for s in _bits(self.wait):
            self.tokens[s] -= 1
        if any(self.tokens):
            raise AlloyError(f"semaphores are left over at the end: {self.tokens}")

    def _checked(self) -> list[dict[str, int]]:
        """Commands between START and END, and END; refuses what the engine refuses."""
        commands: list[dict[str, int]] = []
        for index, record in enumerate(self.program.commands):
            fault = refuse(unpack_record(FIELDS, record), self.config, self.program.window_size, first=index == 0)
            if fault:
                error, rule = fault
                why = f": {RULES[rule]}" if rule else ""
                raise AlloyError(f"command {index} stops the engine with {error.name}{why}")
            commands += [unpack(record)] * (index > 0)
            if index and commands[-1]["opcode"] == Opcode.END:
                return commands
        raise AlloyError(f"the engine stops with {Error.OPCODE.name}: no command is END")

    def _give(self, mask: int) -> None:
        for s in _bits(mask):
            self.tokens[s] += 1
            if self.tokens[s] > SEMAPHORE_MAX:
                raise AlloyError(f"semaphore {s} overflows: it counts to {SEMAPHORE_MAX}")

    def _ready(self, queue: str) -> bool:
        return bool(self.queues[queue]) and all(self.tokens[s] for s in _bits(self.queues[queue][0]["wait"]))

    def _take(self, queue: str) -> Command:
        command = self.queues[queue].popleft()
        for s in _bits(command["wait"]):
            self.tokens[s] -= 1
        return command

    def _able(self) -> list[Callable[[], None]]:
        """The events that can happen next."""
        return [event for event, able in (
            (self._fetch, self._room()),
            (self._start_load, len(self.landing) < LOADS_AHEAD and self._ready("load")),
            (self._land, bool(self.landing)),
            (self._issue, self.feeding is None and len(self.posting) < POSTS_AHEAD and self._ready("compute")),
            (self._feed, self.feeding is not None),
            (self._read, self.writing is None and bool(self.posting)),
            (self._write, self.writing is not None),
            (self._store, self._ready("store"))) if able]

    def _room(self) -> bool:
        """Whether the next command can go to its queue; END needs none."""
        queue = QUEUES.get(Opcode(self.coming[0]["opcode"])) if self.coming else ""
        return queue is None or queue != "" and len(self.queues[queue]) < self.depth

    def _fetch(self) -> None:
        command = self.coming.popleft()
        if command["opcode"] == Opcode.END:
            self.wait = command["wait"]
        else:
            self.queues[QUEUES[Opcode(command["opcode"])]].append(command)

    def _start_load(self) -> None:
        command = self._take("load")
        self.landing.append((command, LOADS[Opcode(command["opcode"])](self.memories, command)))

    def _land(self) -> None:
        command, land = self.landing.popleft()
        land()
        self._give(command["give"])

    def _issue(self) -> None:
        command = self._take("compute")
        if command["opcode"] == Opcode.POOL:
            self.posting.append((command, None))
        else:
            self.feeding = command

    def _feed(self) -> None:
        command, self.feeding = self.feeding, None
        assert command is not None
        self.posting.append((command, self._array.convolve(command)))
        self._give(command["release"])

    def _read(self) -> None:
        command, sums = self.posting.popleft()
        writes: Writes = []
        if sums is None:
            writes = pool(self.memories, command)
        elif command["acc_last"]:
            writes = post(self.memories, command, sums)
        for place, _ in writes:
            self.memories.act[place] = EMPTY
        self.writing = command, writes

    def _write(self) -> None:
        assert self.writing is not None
        (command, writes), self.writing = self.writing, None
        for place, codes in writes:
            self.memories.act[place] = codes
        self._give(command["give"])

    def _store(self) -> None:
        command = self._take("store")
        for place, at in self.memories.pixels(command):
            groups = command["out_groups"]
            self.memories.bytes(at, groups * self.config.act_group_bytes)[:] = 0
            self.memories.channels(at, groups)[:] = self.memories.act[place]
        self._give(command["give"])


def _bits(mask: int) -> list[int]:
    return [s for s in range(SEMAPHORES) if mask >> s & 1]
