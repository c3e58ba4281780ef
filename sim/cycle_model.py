"""Cycles of a program without simulating it: one pass over the commands, tile by tile, in plain Python.

Queues, semaphores and pipelines (:mod:`spec.latency`) are exact; what the bus adds are the constants of
:class:`Timing`, measured on the RTL. A layer's cycles run from the completion of the layer before it to the completion
of its own last command, as the trace of the RTL counts them.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
import math


from spec import latency as pipeline
from spec.commands import (
    COMMAND_BYTES, FETCH_AHEAD, LOADS_AHEAD, PARAM_BYTES, QUEUES, SEMAPHORES, TOGETHER, Opcode, unpack)
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.images import image_rows
from spec.kwords import beats_of
from spec.program import Program

from .feeder_log import FeederLog
from .transfers import Transfer, bursts
from .visits import leads, visits_of

__all__ = ["Timing", "LayerCycles", "model", "CAUSES", "ERROR", "error_text"]

# Measured against the RTL on random layers (tests/sim/test_cycle_model.py): lowest and highest relative error, and what
# nine of ten keep.
ERROR = (-0.08, 0.07, 0.03)

# Where the cycles of a layer go: full use, lanes and slots without work, and what the array waited for.
CAUSES = ("macs", "edge", "weights", "dependency", "commands", "post", "drain")


@dataclass(frozen=True)
class Timing:
    """What the bus adds, in cycles, to its data and its latency."""
    fetch: int = 10             # from a command's data to the check
    request: int = 10           # from a load command to its first request
    turn: int = 3               # from the last beat of a burst to the request of another one
    landed: int = 6             # from the last beat to the semaphore
    store: int = 12             # of a store


@dataclass
class LayerCycles:
    """One layer: modelled cycles and where they went (``losses``, by :data:`CAUSES`; they add up to ``cycles``)."""
    tag: int
    name: str
    macs: int
    cycles: float = 0
    losses: dict = field(default_factory=dict)


class _Engine:
    def __init__(self, config, rate, together, latency, timing):
        self.c, self.rate, self.latency, self.t = config, min(rate, config.port_bytes), latency, timing
        self.together = together        # bytes a cycle of all ports
        self.moved = 0.0                # until when the DRAM has moved what was asked for, at that rate
        self.tokens: list[list[float]] = [[] for _ in range(SEMAPHORES)]
        self.taken = [0] * SEMAPHORES
        self.fetched, self.arrivals = 0.0, []                       # when each command has been read
        self.port = [float(latency)] * config.ports     # until when each port has delivered what was asked for
        self.depth = config.read_beats
        # When each port has delivered the bursts that were on the way last.
        self.bursts: list[deque[float]] = [deque(maxlen=config.outstanding) for _ in range(config.ports)]
        # When each command left its queue, and those that have not, with when they came there.
        self.entered: dict[str, list[float]] = {"load": [], "compute": [], "store": []}
        self.waiting: dict[str, deque[tuple[dict, float]]] = {queue: deque() for queue in self.entered}
        self.load_issue, self.codes = 0.0, None
        self.loads, self.stores = [Transfer(0.0, 0.0, 0.0)], [Transfer(0.0, 0.0, 0.0)]
        # What the compute side reads and writes in each memory: (from, to, words).
        self.reads: list[deque[tuple[float, float, int]]] = [deque(), deque()]
        self.writes: list[deque[tuple[float, float, int]]] = [deque(), deque()]
        self.feeder_end, self.shadow_free = 0.0, 0.0
        self.gathered = [0.0, 0.0]      # until when commands gather from each memory
        # Post and pool unit: until when nothing is done there, when each command was taken, when the post unit may take
        # the next one, and until when it visits pixels.
        self.post_free, self.post_taken, self.post_open, self.visiting = 0.0, [], 0.0, 0.0
        self.feeder_log = []            # (from, to, cause)
        self.completed = []             # (time, tag)
        self.last = [-1e9]              # reservation times of tiles
        self.popped = []                # when each tile's rows had left the FIFO

    def run(self, records):
        for index, record in enumerate(records):
            # What leaves the queues by now asks the ports before the commands that are fetched next.
            while self._step(self.fetched):
                pass
            self._fetch(index, len(records))
            cmd = unpack(record)
            # A command is put together when the one before it has passed the check, from the cycle after that on.
            together = max(self.fetched + COMMAND_BYTES // self.c.port_bytes, self.arrivals[index] + self.t.fetch)
            self.fetched = together + self._check(cmd) + 1
            if cmd["opcode"] not in QUEUES:
                continue
            queue = QUEUES[cmd["opcode"]]
            left, waiting = self.entered[queue], self.waiting[queue]
            older = len(left) + len(waiting) - self.c.queue_depth - 1
            if older >= 0:              # the queue is full until an older command has gone
                while len(left) <= older:
                    self._leave()
                self.fetched = max(self.fetched, left[older])
            waiting.append((cmd, self.fetched - 1 + pipeline.TOKEN))
        while any(self.waiting.values()):
            self._leave()

    def _leave(self):
        """The next command leaves its queue, whenever that is."""
        if not self._step(math.inf):
            raise AlloyError("the program waits for a semaphore that no command gives: compile it again")

    def _fetch(self, index, count):
        """Ask for commands, several at a time, when there is room for them: ``index`` have been taken."""
        while len(self.arrivals) < min(count, index // TOGETHER * TOGETHER + FETCH_AHEAD):
            asked = self.fetched + (self.latency if index else 0)
            self.port[0] = max(self.port[0], asked) + COMMAND_BYTES / self.rate
            self.moved += COMMAND_BYTES / self.together     # between what other ports have asked for
            self.arrivals.append(self.port[0])

    def _step(self, limit):
        """The command that leaves its queue next, if it does by cycle ``limit``: whether there is one."""
        heads = [(self._turn(waiting[0][0], found[0]), *found, name) for name, waiting in self.waiting.items()
                 if waiting and (found := self._ready(name, *waiting[0]))]
        if not heads:
            return False
        _, ready, cause, name = min(heads)
        if ready > limit:
            return False
        cmd, _ = self.waiting[name].popleft()
        for s in range(SEMAPHORES):
            self.taken[s] += cmd["wait"] >> s & 1
        getattr(self, "_" + name)(cmd, ready, cause)
        return True

    def _turn(self, cmd, ready):
        """When a command is looked at that can leave its queue: a pool behind the store that waits for the one before
        it, whose words it lets pass."""
        return max(ready, self.post_free + pipeline.TOKEN + 2) if cmd["opcode"] == Opcode.POOL else ready

    def _ready(self, queue, cmd, fetched):
        """When a command can leave its queue, and what it waits for until then; None if that has not been given."""
        ready, cause = fetched, "commands"
        for s in range(SEMAPHORES):
            if cmd["wait"] >> s & 1:
                if len(self.tokens[s]) <= self.taken[s]:
                    return None
                at = self.tokens[s][self.taken[s]] + pipeline.TOKEN + 1
                if at > ready:
                    ready, cause = at, "weights" if s == 0 else "dependency"
        left = self.entered[queue]
        if queue == "load":
            ready = max(ready, self._load_turn())
        return max(ready, left[-1] + 1 if left else 0), cause

    def _load_turn(self):
        """When the next load may ask its ports."""
        return max(self.load_issue, self.loads[-LOADS_AHEAD].done if len(self.loads) >= LOADS_AHEAD else 0)

    def _check(self, cmd):
        """Cycles of the check (:mod:`rtl.control.check`): its multipliers take one for each bit."""
        factors = {Opcode.CONV: ("depth",), Opcode.POOL: ("groups", "rows"), Opcode.LOAD_ACT: ("rows", "rows"),
                   Opcode.STORE_ACT: ("rows", "rows")}
        return pipeline.CHECK + sum(cmd[name].bit_length() for name in factors.get(cmd["opcode"], ()))

    def _give(self, mask, time=0.0):
        """The semaphores, and which of their tokens these are."""
        given = [(s, len(self.tokens[s])) for s in range(SEMAPHORES) if mask >> s & 1]
        for s, _ in given:
            self.tokens[s].append(time)
        return given

    def _load(self, cmd, ready, _):
        c = self.c
        issue = ready + self.t.request
        self.load_issue = issue + (c.ports if cmd["opcode"] == Opcode.LOAD_WEIGHTS else cmd.get("rows", 1))
        if cmd["opcode"] == Opcode.LOAD_ACT:
            lanes, rows = c.act_lanes, cmd["rows"]
            row = cmd["cols"] * cmd["out_groups"] * c.act_group_bytes // c.port_bytes
            if cmd["image"]:
                lanes, rows = c.image_lanes, image_rows(cmd)
                row = -(-cmd["bytes"] // c.port_bytes)
            beats = {c.ports - 1 - n: row * len(range(n, rows, lanes)) for n in range(lanes)}
            read = {port: [(cmd["dram"] + y * cmd["stride"], row) for y in range(c.ports - 1 - port, rows, lanes)]
                    for port in beats}
        elif cmd["opcode"] == Opcode.LOAD_WEIGHTS:
            beats = dict.fromkeys(range(c.ports), beats_of(cmd, c))
        else:
            beats = {c.record_port: -(-cmd["count"] * PARAM_BYTES // c.port_bytes)}
        # A port reads ahead as far as its FIFO goes; the data side takes one load after the other.
        load = Transfer(issue + self.latency, max(beats.values()), 0.0, ports=tuple(beats))
        cost = c.port_bytes / self.rate
        for port, number in beats.items():
            self._deliver(port, issue, read[port] if cmd["opcode"] == Opcode.LOAD_ACT else [(cmd["dram"], number)],
                          cost)
            load.come = max(load.come, self.port[port])
            load.need = max(load.need, (number - self.depth) * cost)
        self._crowd(issue + self.latency, load.come, sum(beats.values()) * c.port_bytes)
        load.come = max(load.come, self._move(issue + self.latency, sum(beats.values()) * c.port_bytes))
        if cmd.get("image"):        # a window in each cycle, while the bytes of one port come
            beats_of_row, pair = -(-cmd["bytes"] // c.port_bytes) << cmd["pair"], cmd["pair"]
            window = (1 + pair) * (-(-c.ic // (1 + pair) // c.port_bytes) + pair)       # beats of the first one
            row = pipeline.IMAGE_ROW + max(min(window, beats_of_row) + cmd["cols"], beats_of_row)
            load.need = max(load.need, cmd["rows"] * row)
        if cmd["opcode"] == Opcode.LOAD_ACT:
            words = cmd["rows"] * cmd["cols"] * (1 if cmd["image"] else cmd["out_groups"])
            load.mem, load.share = cmd["mem_out"], words / max(load.need, 1)
        if cmd["opcode"] == Opcode.LOAD_TABLES:
            load.need = max(load.need, beats[c.record_port] + cmd["count"] * pipeline.PARTS)
        if cmd.get("beats"):        # one step of the decoder in each cycle, after the table
            same, self.codes = cmd["codes"] == self.codes, cmd["codes"]
            table = 0 if same else pipeline.CODE_TABLE
            load.need = max(load.need, table + cmd["count"] * c.decode_steps + pipeline.DECODER)
        load.given = self._give(cmd["give"])
        self.loads.append(load)
        self._settle_loads(len(self.loads) - 1)
        self.entered["load"].append(issue)

    def _settle_loads(self, first):
        """When the loads from number ``first`` on are done, one after the other."""
        for before, load in pairwise(self.loads[first - 1:]):
            done = max(load.come, load.through(self.writes, max(before.done + 2, load.begin)))
            if not self._later(load, done, self.t.landed):
                break
            for port in load.ports:
                self.port[port] = max(self.port[port], done - self.depth * self.c.port_bytes / self.rate)

    def _settle_stores(self, first):
        for before, store in pairwise(self.stores[first - 1:]):
            begin = max(store.begin, before.done) + self.t.store
            if not self._later(store, max(store.come, store.through(self.reads, begin)) + self.latency, 0):
                break

    def _later(self, transfer, done, landed):
        """Whether it is done later than it seemed; who waits for it is told."""
        if done <= transfer.done:
            return False
        transfer.done = done
        for s, index in transfer.given:
            if self.taken[s] <= index:
                self.tokens[s][index] = done + landed
        return True

    def _use(self, used, transfers, settle, mem, start, end, words):
        """The compute side reads or writes: ``transfers`` that are on their way in the same memory wait."""
        recent = transfers[-LOADS_AHEAD:]
        while used[mem] and used[mem][0][1] <= recent[0].begin:
            used[mem].popleft()
        if end > start:
            used[mem].append((start, end, words))
            for number, transfer in enumerate(recent, len(transfers) - len(recent)):
                if transfer.mem == mem and start < transfer.done:
                    settle(number)

    def _write(self, mem, start, end, words):
        self._use(self.writes, self.loads, self._settle_loads, mem, start, end, words)

    def _read(self, mem, start, end, words):
        self._use(self.reads, self.stores, self._settle_stores, mem, start, end, words)

    def _deliver(self, port, asked, rows, cost):
        """A port reads ``rows``, (address, beats) of each, as fast as the bursts on the way allow, which end at
        multiples of their length."""
        most, at, ends = self.c.burst_beats, self.port[port], self.bursts[port]
        for address, beats in rows:
            for size in bursts(address // self.c.port_bytes, beats, most):
                free = ends[0] + self.t.turn if len(ends) == ends.maxlen else 0
                at = max(at, max(asked, free) + self.latency) + size * cost
                ends.append(at)
        self.port[port] = at

    def _crowd(self, start, end, count):
        """A store on its way gets what is left of the memory while ``count`` bytes are read."""
        before, store = self.stores[-2:] if len(self.stores) > 1 else self.stores * 2
        if start < min(end, store.done):
            speed = min(1.0, max(0.0, self.together - count / (end - start)) / self.rate)
            begin = max(store.begin, before.done) + self.t.store
            lost = store.during(self.reads, begin, start, end) - speed * (end - start)
            if lost > 0:
                store.need += lost
                self._settle_stores(len(self.stores) - 1)

    def _move(self, start, count):
        """When so many bytes from ``start`` on have been moved, behind all others."""
        self.moved = max(self.moved, start) + count / self.together
        return self.moved

    def _store(self, cmd, ready, _):
        c = self.c
        row = cmd["cols"] * cmd["out_groups"] * c.act_group_bytes // c.port_bytes
        apart = sum(len(bursts((cmd["dram"] + y * cmd["stride"]) // c.port_bytes, row, c.burst_beats))
                    for y in range(cmd["rows"]))
        words, beats = cmd["rows"] * cmd["cols"] * cmd["out_groups"], cmd["rows"] * row
        start = max(ready, self.stores[-1].done)
        # All beats of a burst are there before it begins, those of the first one too; there is a cycle between two, and
        # so many may wait for their responses.
        need = min(row, c.burst_beats) + max(beats * c.port_bytes / self.rate, beats + apart,
                                             (beats + apart * (self.latency + self.t.turn)) / c.outstanding)
        moved = self._move(start + self.t.store, beats * c.port_bytes)
        self.stores.append(Transfer(start, need, moved, mem=cmd["mem_out"], share=words / max(need, 1),
                                     given=self._give(cmd["give"])))
        self._settle_stores(len(self.stores) - 1)
        self.entered["store"].append(start)

    def _compute(self, cmd, ready, cause):
        depth = self.c.queue_depth
        taken = max(ready, self.shadow_free, self.post_taken[-depth] if len(self.post_taken) >= depth else 0)
        self.entered["compute"].append(taken)
        if cmd["opcode"] == Opcode.POOL:
            start = max(taken + pipeline.BUFFERED, self.post_free + 1)
            self.post_taken.append(start)
            at_once, cols = 1 if cmd["res_phase_x"] else self.c.out_pixels, cmd["cols"]
            # From the odd one of two planes on, one pixel less: then the next visit begins in the other one.
            less = at_once > 1 and cols >= at_once and cmd["out_phase_x"] and cmd["out_par_x"]
            made = cmd["rows"] * (less + -(-(cols - less * (at_once - 1)) // at_once)) * cmd["groups"]
            visits = made * cmd["taps"] + min(made, self._stored(start, start + made * cmd["taps"]))
            self.post_free = start + visits + pipeline.pool_done(self.c)
            self._write(cmd["mem_out"], start, self.post_free, made)
            self.post_open = self.post_free + 1
        else:
            self._conv(cmd, taken, cause)
        pool = cmd["opcode"] == Opcode.POOL
        if pool or cmd["residual"]:
            self.gathered[cmd["mem_in" if pool else "mem_res"]] = self.post_free
        self._give(cmd["give"], self.post_free)
        self.completed.append((self.post_free, cmd["tag"]))

    def _stored(self, low, high):
        """Words that stores read in an interval, about: they begin one after the other."""
        words = 0.0
        for store in reversed(self.stores):
            end = store.done - self.latency
            if end <= low:
                break
            words += store.share * store.need * max(0.0, min(end, high) - max(store.begin, low)) / (end - store.begin)
        return words

    def _conv(self, cmd, taken, cause):
        c = self.c
        first = taken + c.pixels + pipeline.START + (cmd["in_row"] and not leads(cmd))
        gathered = self.gathered[cmd["mem_in"]] + pipeline.GATHERED
        start = max(first, self.feeder_end + 1, gathered)
        if first <= self.feeder_end + 1:
            cause = "commands"
        if start == gathered:
            cause = "dependency"
        self.shadow_free = start
        self.feeder_log.append((self.feeder_end, start, cause))
        begin = max(self.post_open, taken + pipeline.BUFFERED)
        self.post_taken.append(begin)
        steps = cmd["taps"] * cmd["depth"]
        if cmd["acc_last"]:
            first = max(begin + pipeline.parameters(c), self.visiting + 2)
            self.feeder_end, end = self._tiles(cmd, start, steps, first)
        else:
            first = max(begin + 2, self.visiting + 1)
            self.feeder_end = start + cmd["tiles"] * steps
            self.feeder_log.append((start, self.feeder_end, "busy"))
            end = max(first, self.feeder_end + 1)
        self.visiting, self.post_open = end, first + pipeline.post(c) - 1
        self._read(cmd["mem_in"], start, self.feeder_end, cmd["tiles"] * steps)
        self._give(cmd["release"], self.feeder_end - 1 + pipeline.fed(c))
        self.post_free = end + pipeline.post_done(c)

    def _tiles(self, cmd, at, steps, work):
        """Tiles from cycle ``at`` on, the first visit not before ``work``: the cycle after the last k-step, and that of
        the last visit.
        """
        c, pitch = self.c, cmd["pitch"]
        count = c.pixels // 2 if cmd["wide"] else c.pixels
        # Pixels that are visited together, tiles that the FIFO holds, and when the last lanes of one are visited.
        together, held, apart_tiles = c.out_pixels, pipeline.tiles(c), pipeline.apart(c)
        if cmd["wide"]:
            together = pipeline.wide_pixels(c)
        last_lanes = pipeline.last_row(c) + pipeline.lanes(c) // (1 + cmd["wide"]) // together
        first_row, begun, words = pipeline.first_row(c) - 1, math.inf, 0
        # Of the views that are visited in two planes by column: the parity of the first column.
        odd = {cmd[f"{prefix}_par_x"] for prefix in ("out", "res") if cmd[f"{prefix}_phase_x"] and (
            prefix == "out" or cmd["residual"])} if together == c.out_pixels > 1 else set()
        for visits in visits_of(cmd["tiles"], count, together, cmd["start_y"] * pitch + cmd["start_x"], pitch,
                                (cmd["rows"], cmd["cols"]), cmd["straddle"], frozenset(odd), leads(cmd)):
            last = at + steps
            left = self.popped[-held] + pipeline.ROOM if len(self.popped) >= held else 0
            room = max(self.last[-1] + apart_tiles, left)
            self.feeder_log.append((at, last, "busy"))
            if room > last:
                self.feeder_log.append((last, room, "post"))
                last = room
            self.last.append(last)
            arrive = last + first_row
            begun, words = min(begun, max(work, arrive)), words + visits
            work = max(max(work, arrive) + visits, arrive + last_lanes)
            self.popped.append(work)
            at = last
        self._write(cmd["mem_out"], begun + pipeline.post_done(c), work + pipeline.post_done(c), words)
        for mem in range(2 if cmd["residual"] else 0):
            self._read(mem, begun, work, words)
        return at, work - 1


def model(program: Program, config: EngineConfig, *, bytes_per_cycle: float | None = None,
          all_bytes_per_cycle: float | None = None, latency: int = 40,
          timing: Timing | None = None) -> list[LayerCycles]:
    """Modelled cycles of each layer of a program.

    Parameters
    ----------
    bytes_per_cycle : of each port (the port's width if None). all_bytes_per_cycle : of all ports together (no limit if
        None). latency : of a DRAM read, cycles.

    Returns
    -------
    list of :class:`LayerCycles`, one for each layer of the network in order of completion.
    """
    program.runs_on(config)
    engine = _Engine(config, bytes_per_cycle or config.port_bytes, all_bytes_per_cycle or math.inf, latency,
                     timing or Timing())
    engine.run(program.commands)
    ends: dict[int, float] = {}
    for time, tag in engine.completed:
        ends[tag] = max(time, ends.get(tag, 0))
    peak = config.macs_dsp + config.macs_lut
    layers, before, log = [], 0.0, FeederLog(engine.feeder_log)
    for tag in sorted(ends, key=lambda t: ends[t]):
        layer = next(x for x in program.layers if x.tag == tag)
        out = LayerCycles(tag, layer.name, layer.macs, ends[tag] - before)
        spent = dict.fromkeys(("busy", *CAUSES), 0.0) | log.between(before, ends[tag])
        busy = spent.pop("busy")
        spent["macs"] = min(busy, layer.macs / peak)
        spent["edge"] = busy - spent["macs"]
        spent["drain"] = out.cycles - sum(v for k, v in spent.items() if k != "drain")
        out.losses, before = spent, ends[tag]
        layers.append(out)
    return layers


def error_text() -> str:
    """:data:`ERROR` as words, to stand beside estimates."""
    low, high, most = ERROR
    return (f"random layers are {low:+.0%} to {high:+.0%} from the RTL, nine of ten within {most:.0%} "
            "(tests/sim/test_cycle_model.py)")
