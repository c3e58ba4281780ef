"""Executes the emitted commands on NumPy, as docs/architecture.md says, in a random legal order of the three queues.

Commands are not atomic: a load owns its destination from its start until it lands, a CONV gives ``feed`` before the post unit reads its
parameters and residual, and the next CONV may be fed before the outputs of this one are written. What a program orders by semaphores
alone is therefore seen to be ordered, or seen to be wrong. It keeps the bit patterns of the hardware (one's-complement sums, joined digits)
and refuses what the hardware would get wrong in silence: words that nothing has written or that are just being written, semaphores that
never come, addresses outside the window or a buffer, sums that overflow.
"""

from collections import deque
from random import Random

import numpy as np

from spec.check import RULES, refuse
from spec.commands import (
    FIELDS, LOADS_AHEAD, PARAM_BYTES, PARAM_FIELDS, QUEUES, SEMAPHORE_MAX, SEMAPHORES, SUM_BITS, TABLE_RECORDS, TAP_BYTES, TAP_FIELDS, Error,
    Opcode, unpack, unpack_record)
from spec.errors import AlloyError
from spec.kwords import beats_of, unpack_words
from spec.numerics import DIGIT_BITS, pot_value
from spec.views import view_of, walk

__all__ = ["CommandModel", "run"]

EMPTY = -1              # a word that nothing has written, or that is just being written
POSTS_AHEAD = 3         # commands that the feeder may be ahead of the post unit


def run(program, config, codes, seed=0):
    """Run one image of input codes (C, H, W); returns every output region's codes by tensor name.

    ``seed`` chooses the order in which the queues and units make progress. Raises :class:`AlloyError` naming the layer.
    """
    model = CommandModel(program, config)
    model.dram[program.input.offset:program.input.offset + program.input.size] = np.frombuffer(program.pack_input(codes), np.uint8)
    model.execute(seed)
    return {name: model.output(name) for name in program.outputs}


class CommandModel:
    """State of the engine at command level; ``dram`` is the window, a byte in each entry or :data:`EMPTY`."""

    def __init__(self, program, config):
        program.runs_on(config)
        self.config, self.program = config, program
        self.dram = np.full(program.window_size, EMPTY, np.int16)
        self.dram[:len(program.image)] = np.frombuffer(program.image, np.uint8)
        self.act = np.full((2, config.pixels, config.act_depth, config.ic), EMPTY, np.int16)
        self.weights = np.full((config.weight_depth, config.slots, config.ic), EMPTY, np.int8)
        self.params = [None] * (config.param_depth * config.slots)
        self.taps = [None] * config.tap_depth
        self.tables = np.full((config.tables * TABLE_RECORDS, PARAM_BYTES), EMPTY, np.int16)
        self.acc = None         # sums of a part, to be continued

    def output(self, name):
        """Codes (C, H, W) of an output region after :meth:`execute`."""
        region = self.program.outputs[name]
        data = self.dram[region.offset:region.offset + region.size]
        if self.program.unpack(name, (data == EMPTY).astype(np.uint8).tobytes()).any():
            raise AlloyError(f"tensor {name} has values that nothing has written")
        return self.program.unpack(name, data.astype(np.uint8).tobytes())

    # -- control -------------------------------------------------------------------------------------------------------
    def execute(self, seed=0):
        """Run to END; raises :class:`AlloyError` for a deadlock, a semaphore overflow and semaphores that are left over."""
        dice = Random(seed)
        self.tokens = [0] * SEMAPHORES
        self.coming, self.wait = deque(self._checked()), 0
        self.queues = {name: deque() for name in ("load", "compute", "store")}
        self.landing, self.feeding, self.posting, self.writing = deque(), None, deque(), None
        # Unlimited queues allow more orders, the real depth fewer: both must be right.
        self.depth = dice.choice((self.config.queue_depth, len(self.coming)))
        # A favoured event makes one unit run ahead of the others as far as the semaphores let it.
        events = (self._fetch, self._start_load, self._land, self._issue, self._feed, self._read, self._write, self._store)
        favour = {event: 10 ** dice.uniform(-3, 3) for event in events}
        while True:
            able = [event for event in events if event(False)]
            if not able:
                break
            dice.choices(able, [favour[event] for event in able])[0](True)
        stuck = sorted({queue[0]["tag"] for queue in self.queues.values() if queue})
        if stuck or not all(self.tokens[s] for s in _bits(self.wait)):
            raise AlloyError(f"the program is stuck: layer {stuck or 'END'} waits for semaphores that never come")
        for s in _bits(self.wait):
            self.tokens[s] -= 1
        if any(self.tokens):
            raise AlloyError(f"semaphores are left over at the end: {self.tokens}")

    def _checked(self):
        """Commands between START and END, and END; refuses what the engine refuses."""
        commands = []
        for index, record in enumerate(self.program.commands):
            fault = refuse(unpack_record(FIELDS, record), self.config, len(self.dram), first=index == 0)
            if fault:
                error, rule = fault
                why = f": {RULES[rule]}" if rule else ""
                raise AlloyError(f"command {index} stops the engine with {error.name}{why}")
            commands += [unpack(record)] * (index > 0)
            if index and commands[-1]["opcode"] == Opcode.END:
                return commands
        raise AlloyError(f"the engine stops with {Error.OPCODE.name}: no command is END")

    def _give(self, mask):
        for s in _bits(mask):
            self.tokens[s] += 1
            if self.tokens[s] > SEMAPHORE_MAX:
                raise AlloyError(f"semaphore {s} overflows: it counts to {SEMAPHORE_MAX}")

    def _ready(self, queue):
        return bool(self.queues[queue]) and all(self.tokens[s] for s in _bits(self.queues[queue][0]["wait"]))

    def _take(self, queue):
        command = self.queues[queue].popleft()
        for s in _bits(command["wait"]):
            self.tokens[s] -= 1
        return command

    # Each event tells whether it is possible (``go`` false) or happens (``go`` true).
    def _fetch(self, go):
        if not go:
            return bool(self.coming) and (self.coming[0]["opcode"] == Opcode.END
                                          or len(self.queues[QUEUES[self.coming[0]["opcode"]]]) < self.depth)
        command = self.coming.popleft()
        if command["opcode"] == Opcode.END:
            self.wait = command["wait"]
        else:
            self.queues[QUEUES[command["opcode"]]].append(command)

    def _start_load(self, go):
        if not go:
            return len(self.landing) < LOADS_AHEAD and self._ready("load")
        command = self._take("load")
        land = getattr(self, "_" + command["opcode"].name.lower())(command)
        self.landing.append((command, land))

    def _land(self, go):
        if not go:
            return bool(self.landing)
        command, land = self.landing.popleft()
        land()
        self._give(command["post"])

    def _issue(self, go):
        if not go:
            return self.feeding is None and len(self.posting) < POSTS_AHEAD and self._ready("compute")
        command = self._take("compute")
        if command["opcode"] == Opcode.POOL:
            self.posting.append((command, None))
        else:
            self.feeding = command

    def _feed(self, go):
        if not go:
            return self.feeding is not None
        command, self.feeding = self.feeding, None
        self.posting.append((command, self._conv(command)))
        self._give(command["feed"])

    def _read(self, go):
        if not go:
            return self.writing is None and bool(self.posting)
        command, sums = self.posting.popleft()
        if command["opcode"] == Opcode.POOL:
            writes = self._pool(command)
        else:
            writes = self._post(command, *sums) if command["acc_last"] else []
        for place, _ in writes:
            self.act[place] = EMPTY
        self.writing = command, writes

    def _write(self, go):
        if not go:
            return self.writing is not None
        (command, writes), self.writing = self.writing, None
        for place, codes in writes:
            self.act[place] = codes
        self._give(command["post"])

    def _store(self, go):
        if not go:
            return self._ready("store")
        command = self._take("store")
        groups = command["out_groups"]
        for bank, addr, at in self._pixels(command):
            self._bytes(at, groups * self.config.act_group_bytes).reshape(groups, -1)[:, :self.config.ic] = \
                self.act[command["mem_out"], bank, addr:addr + groups]
        self._give(command["post"])

    # -- checks --------------------------------------------------------------------------------------------------------
    def _bytes(self, start, count):
        """Bytes of the window, which the command was checked to stay in."""
        return self.dram[start:start + count]

    def _words(self, start, count):
        """Bytes of the window that must have been written."""
        data = self._bytes(start, count)
        if (data == EMPTY).any():
            raise AlloyError(f"DRAM bytes {start}..{start + count} are loaded before anything has written them")
        return data

    @staticmethod
    def _inside(cmd, what, first, count, depth):
        if not 0 <= first <= first + count <= depth:
            raise AlloyError(f"layer {cmd['tag']} uses {what} {first}..{first + count}, the configuration has {depth}")

    # -- loads: each returns what happens when the data has landed ------------------------------------------------------
    def _load_weights(self, cmd):
        c = self.config
        size, where = beats_of(cmd, c) * c.port_bytes, slice(cmd["dst"], cmd["dst"] + cmd["count"])
        streams = np.stack([self._words(cmd["dram"] + i * cmd["stride"], size) for i in range(c.ports)])
        nibbles = unpack_words(streams, cmd, c)
        self.weights[where] = EMPTY

        def land():
            self.weights[where] = nibbles
        return land

    def _records(self, cmd, fields, table, size):
        where = slice(cmd["dst"], cmd["dst"] + cmd["count"])
        data = self._words(cmd["dram"], cmd["count"] * size).astype(np.uint8).tobytes()
        table[where] = [None] * cmd["count"]

        def land():
            table[where] = [unpack_record(fields, data[i * size:(i + 1) * size]) for i in range(cmd["count"])]
        return land

    def _load_params(self, cmd):
        return self._records(cmd, PARAM_FIELDS, self.params, PARAM_BYTES)

    def _load_taps(self, cmd):
        return self._records(cmd, TAP_FIELDS, self.taps, TAP_BYTES)

    def _load_tables(self, cmd):
        where = slice(cmd["dst"], cmd["dst"] + cmd["count"])
        data = self._words(cmd["dram"], cmd["count"] * PARAM_BYTES).reshape(-1, PARAM_BYTES).copy()
        self.tables[where] = EMPTY

        def land():
            self.tables[where] = data
        return land

    def _load_act(self, cmd):
        c, groups, writes = self.config, cmd["out_groups"], []
        for bank, addr, at in self._pixels(cmd):
            place = cmd["mem_out"], bank, slice(addr, addr + groups)
            writes.append((place, self._bytes(at, groups * c.act_group_bytes).reshape(groups, -1)[:, :c.ic].copy()))
            self.act[place] = EMPTY
        self._apart(cmd, [place for place, _ in writes])

        def land():
            for place, codes in writes:
                self.act[place] = codes
        return land

    def _apart(self, cmd, places, reads=None):
        """Refuse a command that writes a word twice, or one that it reads itself: the engine does both at once."""
        count = np.zeros((2, self.config.pixels, self.config.act_depth), int)
        for place in places:
            np.add.at(count, place, 1)
        if count.max() > 1 or reads is not None and count[reads].any():
            raise AlloyError(f"layer {cmd['tag']} writes a word that it reads or has written before")

    def _pixels(self, cmd):
        """(bank, address, DRAM offset) of every pixel of a LOAD_ACT or STORE_ACT."""
        size = cmd["out_groups"] * self.config.act_group_bytes
        for y, x, bank, addr in self._visit(cmd, "out", cmd["rows"], cmd["cols"]):
            self._inside(cmd, "activation words", addr, cmd["out_groups"], self.config.act_depth)
            yield bank, addr, cmd["dram"] + y * cmd["stride"] + x * size

    def _visit(self, cmd, prefix, rows, cols, start=(0, 0)):
        """Pixels of a view in the order of the hardware's locator: (y, x, bank, address)."""
        return walk(view_of(cmd, prefix), rows, cols, self.config.pixels, start)

    # -- compute -------------------------------------------------------------------------------------------------------
    def _tap_records(self, cmd):
        taps = self.taps[cmd["tap_base"]:cmd["tap_base"] + cmd["taps"]]
        if None in taps:
            raise AlloyError(f"layer {cmd['tag']} uses taps that are not loaded")
        if any(tap["rot"] >= self.config.pixels for tap in taps):
            raise AlloyError(f"layer {cmd['tag']} has a tap of more banks than there are")
        return taps

    def _conv(self, cmd):
        """What the feeder and the array do; returns the sums, which of their pixels are outputs, and the words read."""
        c = self.config
        npix = c.pixels // 2 if cmd["wide"] else c.pixels
        e = np.arange(cmd["tiles"] * npix)
        place = e + (c.pixels // 2 if cmd["half"] and cmd["wide"] else 0)
        flat = cmd["start_y"] * cmd["pitch"] + cmd["start_x"] + e
        oy, ox = flat // cmd["pitch"], flat % cmd["pitch"]
        live, read = (oy < cmd["rows"]) & (ox < cmd["cols"]), np.zeros((2, c.pixels, c.act_depth), bool)
        if (cmd["step_y"], cmd["step_x"]) != divmod(npix, cmd["pitch"]) or oy[-1] >= 1 << FIELDS["start_y"].width:
            raise AlloyError(f"layer {cmd['tag']} has steps that are no {npix} pixels, or too many rows")
        mask = (1 << c.act_digit_bits) - 1
        digits = 2 if cmd["wide"] else 1
        if cmd["acc_first"]:
            self.acc = np.zeros((digits, len(e), c.slots), np.int64)
        elif self.acc is None or self.acc.shape[0] != digits:
            raise AlloyError(f"layer {cmd['tag']} goes on with sums that nothing has begun")
        word = cmd["weight_base"]
        for tap in self._tap_records(cmd):
            y, x = oy + tap["dy"], ox + tap["dx"]
            inside = (y >= 0) & (y < tap["rows"]) & (x >= 0) & (x < tap["cols"])
            at = place + tap["rot"]
            base = cmd["in_base"] + at // c.pixels * cmd["groups"] + tap["addr"]
            if (inside & live).any():
                first, last = base[inside & live].min(), base[inside & live].max()
                self._inside(cmd, "activation words", first, last - first + cmd["depth"], c.act_depth)
            for group in range(cmd["depth"]):
                bank, addr = at % c.pixels, (base + group) % c.act_depth
                codes = self.act[cmd["mem_in"], bank, addr]
                read[cmd["mem_in"], bank[inside & live], addr[inside & live]] = True
                values, ones = self._word(cmd, word)
                used = codes[inside & live][:, (values != 0).any(0)]
                if (used == EMPTY).any():
                    raise AlloyError(f"layer {cmd['tag']} reads activations that nothing has written")
                if (used >> digits * c.act_digit_bits).any():
                    raise AlloyError(f"layer {cmd['tag']} reads codes of more than {digits * c.act_digit_bits} bits")
                codes = np.where(inside[:, None], np.maximum(codes, 0), cmd["zero"])
                for d in range(digits):
                    # Sums are far below 2**53: float64 is exact, and fast.
                    digit = (codes >> d * c.act_digit_bits & mask).astype(np.float64)
                    self.acc[d] += (digit @ values.T).astype(np.int64) - ones
                word += 1
        self._fits(cmd, "accumulator", self.acc[:, live], c.acc_width)
        sums = self.acc[0] + (self.acc[1] << c.act_digit_bits if cmd["wide"] else 0)
        self._fits(cmd, "sum of two pixel digits", sums[live], c.joined_width)
        if cmd["acc_last"]:
            self.acc = None
        return sums, live, read

    @staticmethod
    def _fits(cmd, what, values, bits):
        if values.size and not -(1 << bits - 1) <= values.min() <= values.max() < 1 << bits - 1:
            raise AlloyError(f"layer {cmd['tag']} overflows the {bits}-bit {what}")

    def _word(self, cmd, address):
        """Weights (slots, ic) of a k-word as float64 and the one's-complement terms of each slot."""
        c = self.config
        nibbles = self.weights[address]
        if (nibbles == EMPTY).any():
            raise AlloyError(f"layer {cmd['tag']} uses weights that are not loaded")
        dsp, lut = nibbles[:c.dsp_filters].astype(np.int64), nibbles[c.dsp_filters:].astype(np.int64)
        if (dsp[1::2] == 8).any() or (lut == 15).any():
            raise AlloyError(f"layer {cmd['tag']} has weights that no scheme has: -8 in an odd slot or a negative zero")
        values = np.concatenate([dsp - 16 * (dsp > 7), pot_value(lut)]).astype(np.float64)
        return values, np.concatenate([np.zeros(c.dsp_filters, np.int64), (lut > 7).sum(1)])

    def _post(self, cmd, acc, live, read):
        """What the post unit does with the sums of a command: a list of (place, codes) to write."""
        c, start, count = self.config, (cmd["start_y"], cmd["start_x"]), int(live.sum())

        def places(prefix):
            visit = self._visit(cmd, prefix, cmd["rows"], min(cmd["cols"], cmd["pitch"]), start)
            spots = [p for _, p in zip(range(count), visit)]
            addr = np.array([p[3] for p in spots], int)
            if count:
                self._inside(cmd, "activation words", addr.min(), np.ptp(addr) + 1 + cmd["straddle"], c.act_depth)
            return np.array([p[2] for p in spots], int), addr
        bank, addr = places("out")
        res = places("res") if cmd["residual"] else None
        groups = range(1 + cmd["straddle"])
        if res is not None:
            for group in groups:
                read[cmd["mem_res"], res[0], res[1] + group] = True
        self._apart(cmd, [(cmd["mem_out"], bank, addr + group) for group in groups], read)
        acc, writes = acc[live], []
        params = self.params[cmd["param_base"]:cmd["param_base"] + c.slots]
        if None in params:
            raise AlloyError(f"layer {cmd['tag']} uses parameters that are not loaded")
        for slot, p in enumerate(params):
            if not p["valid"]:
                continue
            if p["lane"] >= c.ic or not -(1 << SUM_BITS - 1) <= p["bias"] < 1 << SUM_BITS - 1:
                raise AlloyError(f"layer {cmd['tag']} slot {slot} has parameters that the engine does not hold")
            if p["second"] and not cmd["straddle"]:
                raise AlloyError(f"layer {cmd['tag']} slot {slot} writes a second group, but its command has no straddle")
            value = acc[:, slot] * p["mult"] + p["bias"]
            if p["join"]:
                if slot % 2 or slot + 1 >= c.dsp_filters:
                    raise AlloyError(f"layer {cmd['tag']} joins slot {slot} to the next: pairs begin at even DSP slots")
                value = value + (acc[:, slot + 1] * params[slot + 1]["mult"] << DIGIT_BITS)
            if res is not None:
                code = self.act[cmd["mem_res"], res[0], res[1] + p["second"], p["lane"]].astype(np.int64)
                if (code == EMPTY).any():
                    raise AlloyError(f"layer {cmd['tag']} adds a residual that nothing has written")
                value = value + code * cmd["res_mult"]
            self._fits(cmd, "requantizer", value, SUM_BITS)
            codes = np.clip(value >> cmd["shift"], cmd["lo"], cmd["hi"])
            if cmd["table"]:
                codes = self.tables.reshape(c.tables, -1)[cmd["table"] - 1, codes]
                if (codes == EMPTY).any():
                    raise AlloyError(f"layer {cmd['tag']} uses a table that is not loaded")
            writes.append(((cmd["mem_out"], bank, addr + p["second"], p["lane"]), codes))
        return writes

    def _pool(self, cmd):
        """Maximum over the taps; a channel with an unwritten operand stays unwritten. Returns (place, codes) to write."""
        c, taps, writes = self.config, self._tap_records(cmd), []
        read = np.zeros((2, c.pixels, c.act_depth), bool)
        sources = self._visit(cmd, "res", cmd["rows"], cmd["cols"])
        for (y, x, bank, addr), (_, _, out_bank, out_addr) in zip(sources, self._visit(cmd, "out", cmd["rows"], cmd["cols"])):
            best, empty = np.zeros((cmd["groups"], c.ic), np.int64), np.zeros((cmd["groups"], c.ic), bool)
            for tap in taps:
                if 0 <= y + tap["dy"] < tap["rows"] and 0 <= x + tap["dx"] < tap["cols"]:
                    at = bank + tap["rot"]
                    word = addr + tap["addr"] + (cmd["res_groups"] if at >= c.pixels else 0)
                    self._inside(cmd, "activation words", word, cmd["groups"], c.act_depth)
                    where = cmd["mem_in"], at % c.pixels, slice(word, word + cmd["groups"])
                    codes, read[where] = self.act[where], True
                    best, empty = np.maximum(best, codes), empty | (codes == EMPTY)
            self._inside(cmd, "activation words", out_addr, cmd["groups"], c.act_depth)
            writes.append(((cmd["mem_out"], out_bank, slice(out_addr, out_addr + cmd["groups"])), np.where(empty, EMPTY, best)))
        self._apart(cmd, [place for place, _ in writes], read)
        return writes


def _bits(mask):
    return [s for s in range(SEMAPHORES) if mask >> s & 1]
