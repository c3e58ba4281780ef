"""Executes the emitted commands on NumPy, as docs/architecture.md says, in a random legal order of the units.

It keeps the bit patterns of the hardware (one's-complement sums, joined digits) and refuses what the hardware would get wrong in
silence: words that nothing has written, ranges outside a memory, overflows, semaphores that never come or are left over.
A CONV is two events, as in the engine: the feeder reads its operands and gives ``feed``; the post unit, later and in order, reads
parameters and residual, writes the outputs and gives ``post``. The feeder may be several commands ahead.
"""

from collections import deque
from random import Random

import numpy as np

from spec.commands import PARAM_BYTES, PARAM_FIELDS, SEMAPHORE_MAX, SEMAPHORES, TAP_BYTES, TAP_FIELDS, Opcode, unpack, unpack_record
from spec.errors import AlloyError
from spec.numerics import pot_value

__all__ = ["CommandModel", "run", "visit"]

QUEUES = {Opcode.LOAD_WEIGHTS: "load", Opcode.LOAD_PARAMS: "load", Opcode.LOAD_TAPS: "load", Opcode.LOAD_ACT: "load",
          Opcode.CONV: "compute", Opcode.POOL: "compute", Opcode.STORE_ACT: "store"}
EMPTY = -1              # a code that nothing has written
SUM_BITS = 48           # of the requantizer


def run(program, config, codes, seed=0):
    """Run one image of input codes (C, H, W); returns every output region's codes by tensor name."""
    model = CommandModel(program, config)
    model.write(program.input.offset, program.pack_input(codes))
    model.execute(seed)
    return {name: program.unpack(name, model.read(region, name)) for name, region in program.outputs.items()}


def visit(cmd, prefix, pixels, y, x, start_x=0):
    """(bank, address) of the visited pixels ``y`` rows below the first row and in column ``x`` of a view.

    The closed form of the walk in docs/architecture.md; the first row starts at column ``start_x``, all others at 0.
    """
    v = {k[4:]: value for k, value in cmd.items() if k.startswith(prefix + "_")}
    fx, fy = v["phase_x"], v["phase_y"]
    first = y == 0
    ahead = x - np.where(first, start_x, 0)                 # pixels visited before this one in its row
    px = fx * (v["par_x"] ^ (x & 1))
    py = fy * (v["par_y"] ^ (y & 1))
    plane = 2 * py + px
    rows = y >> fy                                          # steps that its plane's row has taken

    def pick(cur, row):
        return np.where(first, np.array([v[f"{cur}{p}"] for p in range(2)])[px], np.array([v[f"{row}{p}"] for p in range(4)])[plane])
    bank = pick("cur_bank", "row_bank") + rows * v["step_bank"] + (ahead >> fx)
    addr = pick("cur_addr", "row_addr") + rows * v["step_addr"] + bank // pixels * v["groups"]
    return bank % pixels, addr


class CommandModel:
    """State of the engine at command level.

    ``dram`` is the window, ``written`` tells which of its bytes hold data. ``observe(command, sums)``, if set, is called with
    the raw sums (pixels, slots) of every finished accumulation, digits joined over lanes but not over slots.
    """

    def __init__(self, program, config, observe=None):
        if program.digest != config.digest:
            raise AlloyError(f"the program was compiled for configuration {program.digest}, this one is {config.digest}: compile it again")
        self.config, self.program, self.observe = config, program, observe
        self.dram = np.zeros(program.window_size, np.uint8)
        self.written = np.zeros(program.window_size, bool)
        self.write(0, program.image)
        self.act = np.full((2, config.pixels, config.act_depth, config.ic), EMPTY, np.int16)
        self.weights = np.zeros((config.weight_depth, config.slots, config.ic), np.uint8)
        self.params = [None] * (config.param_depth * config.slots)
        self.taps = [None] * config.tap_depth
        self.acc = None
        self._posts = deque()       # (command, sums, live pixels) on their way to the post unit
        self._tokens = [0] * SEMAPHORES

    def write(self, offset, data):
        """Put bytes into the window, as the host does."""
        self.dram[offset:offset + len(data)] = np.frombuffer(data, np.uint8)
        self.written[offset:offset + len(data)] = True

    def read(self, region, name):
        """Bytes of a tensor's region; every code of the tensor must have been stored."""
        part = slice(region.offset, region.offset + region.size)
        whole = self.written[part].reshape(region.height, region.width, region.groups, region.group_bytes)[..., :region.ic]
        if not whole.reshape(region.height, region.width, -1)[..., :region.channels].all():
            raise AlloyError(f"tensor {name} has codes that nothing has stored")
        return self.dram[part].tobytes()

    # -- order ---------------------------------------------------------------------------------------------------------
    def execute(self, seed=0):
        """Run to END; raises :class:`AlloyError` for a deadlock or a misused semaphore."""
        dice, c = Random(seed), self.config
        waiting = deque(unpack(record) for record in self.program.commands)
        if not waiting or waiting.pop()["opcode"] != Opcode.END or any(x["opcode"] == Opcode.END for x in waiting):
            raise AlloyError("the program has no END, or one that is not its last command")
        queues = {"load": deque(), "compute": deque(), "store": deque()}
        speed = {name: dice.choice((1, 1, 8, 64)) for name in ("fetch", "post", *queues)}

        def ready(name):
            return queues[name] and all(self._tokens[s] for s in _bits(queues[name][0]["wait"]))
        while waiting or self._posts or any(queues.values()):
            able = [n for n in ("load", "store") if ready(n)]
            if ready("compute") and len(self._posts) <= c.queue_depth:
                able.append("compute")
            if self._posts:
                able.append("post")
            if waiting and len(queues[QUEUES[waiting[0]["opcode"]]]) < c.queue_depth:
                able.append("fetch")
            if not able:
                heads = [q[0] for q in queues.values() if q]
                raise AlloyError("the program is stuck: " + ", ".join(f"{h['opcode'].name} of layer {h['tag']}" for h in heads)
                                 + " wait for semaphores that never come")
            unit = dice.choices(able, [speed[n] for n in able])[0]
            if unit == "fetch":
                command = waiting.popleft()
                queues[QUEUES[command["opcode"]]].append(command)
            elif unit == "post":
                self._post(*self._posts.popleft())
            else:
                command = queues[unit].popleft()
                for s in _bits(command["wait"]):
                    self._tokens[s] -= 1
                getattr(self, "_" + command["opcode"].name.lower())(command)
                if unit != "compute":
                    self._give(command["post"])
        if any(self._tokens):
            raise AlloyError(f"the program leaves semaphores behind: {self._tokens}")

    def _give(self, mask):
        for s in _bits(mask):
            self._tokens[s] += 1
            if self._tokens[s] > SEMAPHORE_MAX:
                raise AlloyError(f"semaphore {s} overflows")

    @staticmethod
    def _inside(cmd, what, first, count, depth):
        if first < 0 or count < 1 or first + count > depth:
            raise AlloyError(f"{cmd['opcode'].name} of layer {cmd['tag']} touches {what} {first}..{first + count - 1}, there are {depth}")

    def _words(self, cmd, addr, more=1):
        """Check word addresses (with ``more`` groups each) against the depth of the memories."""
        if addr.size:
            self._inside(cmd, "activation words", int(addr.min()), int(addr.max() - addr.min()) + more, self.config.act_depth)

    # -- loads and stores ----------------------------------------------------------------------------------------------
    def _bytes(self, cmd, start, count):
        """Index of DRAM bytes from each ``start`` on, checked: loads read only what has been written."""
        at = np.asarray(start)[..., None] + np.arange(count)
        self._inside(cmd, "DRAM bytes", int(at.min()), int(at.max() - at.min()) + 1, len(self.dram))
        if (np.asarray(start) % self.config.port_bytes).any() or cmd.get("stride", 0) % self.config.port_bytes:
            raise AlloyError(f"{cmd['opcode'].name} of layer {cmd['tag']} has an address or stride that is no multiple of port_bytes")
        return at

    def _load(self, cmd, start, count):
        at = self._bytes(cmd, start, count)
        if not self.written[at].all():
            raise AlloyError(f"{cmd['opcode'].name} of layer {cmd['tag']} reads DRAM that nothing has written")
        return self.dram[at]

    def _load_weights(self, cmd):
        c, count = self.config, cmd["count"]
        self._inside(cmd, "k-words", cmd["dst"], count, c.weight_depth)
        streams = self._load(cmd, cmd["dram"] + np.arange(c.ports) * cmd["stride"], count * c.weight_beats * c.port_bytes)
        beats = streams.reshape(c.ports, count, c.weight_beats, c.port_bytes).transpose(1, 2, 0, 3).reshape(count, -1)
        nibbles = np.stack([beats & 15, beats >> 4], 2).reshape(count, -1)[:, :c.slots * c.ic]
        self.weights[cmd["dst"]:cmd["dst"] + count] = nibbles.reshape(-1, c.slots, c.ic)

    def _records(self, cmd, fields, table, size):
        self._inside(cmd, "records", cmd["dst"], cmd["count"], len(table))
        data = self._load(cmd, cmd["dram"], cmd["count"] * size).tobytes()
        table[cmd["dst"]:cmd["dst"] + cmd["count"]] = [unpack_record(fields, data[i:i + size]) for i in range(0, len(data), size)]

    def _load_params(self, cmd):
        self._records(cmd, PARAM_FIELDS, self.params, PARAM_BYTES)

    def _load_taps(self, cmd):
        self._records(cmd, TAP_FIELDS, self.taps, TAP_BYTES)

    def _region(self, cmd):
        """(bank, address of group 0..) of every pixel of a LOAD_ACT or STORE_ACT, and the index of its codes in DRAM."""
        c, groups = self.config, cmd["out_groups"]
        y, x = (a.ravel() for a in np.indices((cmd["rows"], cmd["cols"])))
        bank, addr = visit(cmd, "out", c.pixels, y, x)
        self._words(cmd, addr, groups)
        at = self._bytes(cmd, cmd["dram"] + y * cmd["stride"] + x * groups * c.act_group_bytes, groups * c.act_group_bytes)
        return bank[:, None], addr[:, None] + np.arange(groups), at.reshape(-1, groups, c.act_group_bytes)[..., :c.ic]

    def _load_act(self, cmd):
        bank, addr, at = self._region(cmd)
        self.act[cmd["mem_out"], bank, addr] = np.where(self.written[at], self.dram[at], EMPTY)

    def _store_act(self, cmd):
        bank, addr, at = self._region(cmd)
        codes = self.act[cmd["mem_out"], bank, addr]
        self.dram[at], self.written[at] = np.where(codes == EMPTY, 0, codes), codes != EMPTY

    # -- compute -------------------------------------------------------------------------------------------------------
    def _conv(self, cmd):
        c, groups = self.config, cmd["groups"]
        npix = c.pixels // 2 if cmd["wide"] else c.pixels
        e = np.arange(cmd["tiles"] * npix)
        place = e + (c.pixels // 2 if cmd["half"] else 0)
        flat = cmd["start_y"] * cmd["pitch"] + cmd["start_x"] + e
        oy, ox = flat // cmd["pitch"], flat % cmd["pitch"]
        live = (oy < cmd["rows"]) & (ox < cmd["cols"])
        self._inside(cmd, "taps", cmd["tap_base"], cmd["taps"], c.tap_depth)
        self._inside(cmd, "k-words", cmd["weight_base"], cmd["taps"] * groups, c.weight_depth)
        self._inside(cmd, "activation words", cmd["in_base"], 1, c.act_depth)
        if (cmd["half"] and not cmd["wide"]) or divmod(npix, cmd["pitch"]) != (cmd["step_y"], cmd["step_x"]):
            raise AlloyError(f"CONV of layer {cmd['tag']} has fields that contradict each other")
        digits = 2 if cmd["wide"] else 1
        if cmd["acc_first"]:
            self.acc = np.zeros((digits, len(e), c.slots), np.int64)
        for index, tap in enumerate(self.taps[cmd["tap_base"]:cmd["tap_base"] + cmd["taps"]]):
            at = cmd["weight_base"] + index * groups
            values, ones = self._word(self.weights[at:at + groups])
            y, x = oy + tap["dy"], ox + tap["dx"]
            inside = (y >= 0) & (y < tap["rows"]) & (x >= 0) & (x < tap["cols"])
            q = place + tap["rot"]
            addr = cmd["in_base"] + q // c.pixels * groups + tap["addr"]
            self._words(cmd, addr[inside & live], groups)
            codes = self.act[cmd["mem_in"], (q % c.pixels)[:, None], (addr[:, None] + np.arange(groups)) % c.act_depth].reshape(len(e), -1)
            used = codes[inside & live][:, values.any(0)]
            if (used == EMPTY).any():
                raise AlloyError(f"layer {cmd['tag']} reads activations that nothing has written")
            codes = np.where(inside[:, None], np.maximum(codes, 0), cmd["zero"])
            if (used >> digits * c.act_digit_bits).any() or cmd["zero"] >> digits * c.act_digit_bits:
                raise AlloyError(f"layer {cmd['tag']} reads codes of more than {digits * c.act_digit_bits} bits")
            mask = (1 << c.act_digit_bits) - 1
            for d in range(digits):     # float64 products are exact: everything stays below 2**53
                self.acc[d] += (((codes >> d * c.act_digit_bits) & mask).astype(np.float64) @ values.T).astype(np.int64) - ones
        limit = 1 << c.acc_width - 1
        if self.acc.min() < -limit or self.acc.max() >= limit:
            raise AlloyError(f"layer {cmd['tag']} overflows the {c.acc_width}-bit accumulator")
        sums = None
        if cmd["acc_last"]:
            sums, self.acc = self.acc[0] + (self.acc[1] << c.act_digit_bits if cmd["wide"] else 0), None
        self._give(cmd["feed"])
        self._posts.append((cmd, sums, np.flatnonzero(live)))

    def _word(self, nibbles):
        """Integer weights (slots, groups*ic) of a tap's k-words and the one's-complement terms of each slot."""
        c = self.config
        nibbles = nibbles.astype(np.int64).transpose(1, 0, 2).reshape(c.slots, -1)
        dsp, lut = nibbles[:c.dsp_filters], nibbles[c.dsp_filters:]
        values = np.concatenate([dsp - 16 * (dsp > 7), pot_value(lut)])
        return values.astype(np.float64), np.concatenate([np.zeros(c.dsp_filters, np.int64), (lut > 7).sum(1)])

    def _post(self, cmd, sums, live):
        if cmd["opcode"] == Opcode.POOL:
            self._max(cmd)
        elif cmd["acc_last"]:
            self._requantize(cmd, sums, live)
        self._give(cmd["post"])

    def _requantize(self, cmd, sums, live):
        c = self.config
        self._inside(cmd, "parameter records", cmd["param_base"], c.slots, len(self.params))
        if self.observe:
            self.observe(cmd, sums)
        flat = cmd["start_y"] * cmd["pitch"] + cmd["start_x"] + live
        y, x = flat // cmd["pitch"] - cmd["start_y"], flat % cmd["pitch"]
        if not len(live):
            return
        bank, addr = visit(cmd, "out", c.pixels, y, x, cmd["start_x"])
        self._words(cmd, addr, 1 + cmd["straddle"])
        if cmd["residual"]:
            res_bank, res_addr = visit(cmd, "res", c.pixels, y, x, cmd["start_x"])
            self._words(cmd, res_addr, 1 + cmd["straddle"])
        results = []
        joined = 1 << (27 if c.dsp_device == "dsp48e2" else 25) - 1
        for slot, p in enumerate(self.params[cmd["param_base"]:cmd["param_base"] + c.slots]):
            if not p["valid"]:
                continue
            if p["second"] > cmd["straddle"] or p["lane"] >= c.ic:
                raise AlloyError(f"layer {cmd['tag']} has a parameter record for a lane or group it does not write")
            value = sums[live, slot] + (sums[live, slot + 1] * 16 if p["join"] else 0)
            total = value * p["mult"] + p["bias"]
            if cmd["residual"]:
                code = self.act[cmd["mem_res"], res_bank, res_addr + p["second"], p["lane"]].astype(np.int64)
                if (code == EMPTY).any():
                    raise AlloyError(f"layer {cmd['tag']} adds a residual that nothing has written")
                total = total + code * cmd["res_mult"]
            if np.abs(value).max() >= joined or np.abs(total).max() >> SUM_BITS - 1:
                raise AlloyError(f"layer {cmd['tag']} overflows the requantizer")
            results.append((p, np.clip(total >> cmd["shift"], cmd["lo"], cmd["hi"])))
        for p, codes in results:
            self.act[cmd["mem_out"], bank, addr + p["second"], p["lane"]] = codes

    def _pool(self, cmd):
        self._posts.append((cmd, None, None))

    def _max(self, cmd):
        c, groups = self.config, cmd["groups"]
        self._inside(cmd, "taps", cmd["tap_base"], cmd["taps"], c.tap_depth)
        y, x = (a.ravel() for a in np.indices((cmd["rows"], cmd["cols"])))
        bank, addr = visit(cmd, "res", c.pixels, y, x)
        best = np.zeros((len(y), groups, c.ic), np.int16)
        for tap in self.taps[cmd["tap_base"]:cmd["tap_base"] + cmd["taps"]]:
            inside = (y + tap["dy"] >= 0) & (y + tap["dy"] < tap["rows"]) & (x + tap["dx"] >= 0) & (x + tap["dx"] < tap["cols"])
            q = bank[inside] + tap["rot"]
            word = addr[inside] + tap["addr"] + q // c.pixels * cmd["res_groups"]
            self._words(cmd, word, groups)
            codes = self.act[cmd["mem_in"], (q % c.pixels)[:, None], word[:, None] + np.arange(groups)]
            if (codes == EMPTY).all((1, 2)).any():
                raise AlloyError(f"layer {cmd['tag']} pools activations that nothing has written")
            best[inside] = np.where((best[inside] == EMPTY) | (codes == EMPTY), EMPTY, np.maximum(best[inside], codes))
        out_bank, out_addr = visit(cmd, "out", c.pixels, y, x)
        self._words(cmd, out_addr, groups)
        self.act[cmd["mem_out"], out_bank[:, None], out_addr[:, None] + np.arange(groups)] = best


def _bits(mask):
    return [s for s in range(SEMAPHORES) if mask >> s & 1]
