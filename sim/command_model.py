"""Executes the emitted commands on NumPy, as docs/architecture.md says, in a random legal order of the three queues.

It keeps the bit patterns of the hardware (one's-complement sums, joined digits) and refuses what the hardware would get wrong in
silence: reading words that nothing has written, semaphores that never come, addresses outside the window.
"""

from random import Random

import numpy as np

from spec.commands import PARAM_BYTES, PARAM_FIELDS, SEMAPHORE_MAX, SEMAPHORES, TAP_BYTES, TAP_FIELDS, Opcode, unpack, unpack_record
from spec.errors import AlloyError
from spec.numerics import pot_value

__all__ = ["CommandModel", "run"]

QUEUES = {Opcode.LOAD_WEIGHTS: 0, Opcode.LOAD_PARAMS: 0, Opcode.LOAD_TAPS: 0, Opcode.LOAD_ACT: 0,
          Opcode.CONV: 1, Opcode.POOL: 1, Opcode.STORE_ACT: 2, Opcode.END: 3}
EMPTY = -1      # a code that nothing has written


def run(program, config, codes, seed=0):
    """Run one image of input codes (C, H, W); returns every output region's codes by tensor name."""
    model = CommandModel(program, config)
    model.dram[program.input.offset:program.input.offset + program.input.size] = np.frombuffer(program.pack_input(codes), np.uint8)
    model.execute(seed)
    return {name: program.unpack(name, model.dram[r.offset:r.offset + r.size].tobytes()) for name, r in program.outputs.items()}


class CommandModel:
    """State of the engine at command level; ``dram`` is the window."""

    def __init__(self, program, config):
        if program.digest != config.digest:
            raise AlloyError(f"the program was compiled for configuration {program.digest}, this one is {config.digest}: compile it again")
        self.config, self.program = config, program
        self.dram = np.zeros(program.window_size, np.uint8)
        self.dram[:len(program.image)] = np.frombuffer(program.image, np.uint8)
        self.act = np.full((2, config.pixels, config.act_depth, config.ic), EMPTY, np.int64)
        self.weights = np.zeros((config.weight_depth, config.slots, config.ic), np.int64)
        self.params = [None] * (config.param_depth * config.slots)
        self.taps = [None] * config.tap_depth
        self.acc = None

    def execute(self, seed=0):
        """Run to END; raises :class:`AlloyError` for a deadlock."""
        dice, queues, tokens = Random(seed), [[], [], [], []], [0] * SEMAPHORES
        for record in self.program.commands:
            command = unpack(record)
            queues[QUEUES[command["opcode"]]].append(command)
        while any(queues[:3]):
            ready = [q for q in range(3) if queues[q] and all(tokens[s] for s in _bits(queues[q][0]["wait"]))]
            if not ready:
                raise AlloyError(f"the program is stuck: layer {[q[0]['tag'] for q in queues[:3] if q]} waits for semaphores that never come")
            command = queues[dice.choice(ready)].pop(0)
            for s in _bits(command["wait"]):
                tokens[s] -= 1
            getattr(self, "_" + command["opcode"].name.lower())(command)
            for s in _bits(command["post"]) + _bits(command["feed"]):
                tokens[s] += 1
                assert tokens[s] <= SEMAPHORE_MAX
        assert not any(tokens), tokens

    def _bytes(self, start, count):
        if not 0 <= start <= start + count <= len(self.dram):
            raise AlloyError(f"DRAM bytes {start}..{start + count} are outside the window of {len(self.dram)}")
        return self.dram[start:start + count]

    # -- loads and stores ----------------------------------------------------------------------------------------------
    def _load_weights(self, cmd):
        c = self.config
        size = cmd["count"] * c.weight_beats * c.port_bytes
        streams = np.stack([self._bytes(cmd["dram"] + i * cmd["stride"], size) for i in range(c.ports)])
        beats = streams.reshape(c.ports, cmd["count"], c.weight_beats, c.port_bytes).transpose(1, 2, 0, 3).reshape(cmd["count"], -1)
        nibbles = np.stack([beats & 15, beats >> 4], 2).reshape(cmd["count"], -1)[:, :c.slots * c.ic]
        words = nibbles.reshape(-1, c.slots, c.ic).astype(np.int64)
        self.weights[cmd["dst"]:cmd["dst"] + cmd["count"]] = words

    def _records(self, cmd, fields, table, size):
        data = self._bytes(cmd["dram"], cmd["count"] * size).tobytes()
        for i in range(cmd["count"]):
            table[cmd["dst"] + i] = unpack_record(fields, data[i * size:(i + 1) * size])

    def _load_params(self, cmd):
        self._records(cmd, PARAM_FIELDS, self.params, PARAM_BYTES)

    def _load_taps(self, cmd):
        self._records(cmd, TAP_FIELDS, self.taps, TAP_BYTES)

    def _pixels(self, cmd, dram):
        """(bank, address, DRAM offset) of every pixel of a LOAD_ACT or STORE_ACT."""
        size = cmd["out_groups"] * self.config.act_group_bytes
        for y, x, bank, addr in self._visit(cmd, "out", cmd["rows"], cmd["cols"]):
            yield bank, addr, dram + y * cmd["stride"] + x * size

    def _load_act(self, cmd):
        c, groups = self.config, cmd["out_groups"]
        for bank, addr, at in self._pixels(cmd, cmd["dram"]):
            data = self._bytes(at, groups * c.act_group_bytes).reshape(groups, -1)[:, :c.ic]
            self.act[cmd["mem_out"], bank, addr:addr + groups] = data

    def _store_act(self, cmd):
        c, groups = self.config, cmd["out_groups"]
        for bank, addr, at in self._pixels(cmd, cmd["dram"]):
            codes = self.act[cmd["mem_out"], bank, addr:addr + groups]
            self._bytes(at, groups * c.act_group_bytes).reshape(groups, -1)[:, :c.ic] = np.where(codes == EMPTY, 0, codes)

    def _visit(self, cmd, prefix, rows, cols, start=(0, 0)):
        """Pixels of a view in the order of the hardware's locator: (y, x, bank, address)."""
        c = self.config
        v = {k[4:]: x for k, x in cmd.items() if k.startswith(prefix + "_")}

        def wrap(bank, addr):
            return (bank - c.pixels, addr + v["groups"]) if bank >= c.pixels else (bank, addr)
        row = [(v[f"row_bank{p}"], v[f"row_addr{p}"]) for p in range(4)]
        cur = [(v[f"cur_bank{p}"], v[f"cur_addr{p}"]) for p in range(2)]
        py, px = v["par_y"], (v["par_x"] ^ (start[1] & 1)) if v["phase_x"] else 0
        x0 = start[1]
        for y in range(start[0], rows):
            for x in range(x0, cols):
                yield y, x, *cur[px]
                cur[px] = wrap(cur[px][0] + 1, cur[px][1])
                px ^= v["phase_x"]
            for p in (2 * py, 2 * py + 1):
                row[p] = wrap(row[p][0] + v["step_bank"], row[p][1] + v["step_addr"])
            py ^= v["phase_y"]
            cur, px, x0 = row[2 * py:2 * py + 2], v["par_x"] if v["phase_x"] else 0, 0

    # -- compute -------------------------------------------------------------------------------------------------------
    def _gather(self, mem, q, tap, group, groups, base):
        """Codes (pixels, ic) of consecutive positions ``q`` (bank rows from ``base``) at a tap's offset."""
        c = self.config
        at = q + tap["rot"]
        addr = base + at // c.pixels * groups + tap["addr"] + group
        return self.act[mem, at % c.pixels, addr % c.act_depth]

    def _conv(self, cmd):
        c = self.config
        npix = c.pixels // 2 if cmd["wide"] else c.pixels
        e = np.arange(cmd["tiles"] * npix)
        place = e + (c.pixels // 2 if cmd["half"] else 0)
        flat = cmd["start_y"] * cmd["pitch"] + cmd["start_x"] + e
        oy, ox = flat // cmd["pitch"], flat % cmd["pitch"]
        live = (oy < cmd["rows"]) & (ox < cmd["cols"])
        mask = (1 << c.act_digit_bits) - 1
        digits = 2 if cmd["wide"] else 1
        if cmd["acc_first"]:
            self.acc = np.zeros((digits, len(e), c.slots), np.int64)
        word = cmd["weight_base"]
        for tap in self.taps[cmd["tap_base"]:cmd["tap_base"] + cmd["taps"]]:
            y, x = oy + tap["dy"], ox + tap["dx"]
            inside = (y >= 0) & (y < tap["rows"]) & (x >= 0) & (x < tap["cols"])
            for group in range(cmd["groups"]):
                codes = self._gather(cmd["mem_in"], place, tap, group, cmd["groups"], cmd["in_base"])
                values, ones = self._word(word)
                used = (values != 0).any(0)
                if (codes[inside & live][:, used] == EMPTY).any():
                    raise AlloyError(f"layer {cmd['tag']} reads activations that nothing has written")
                codes = np.where(inside[:, None], np.maximum(codes, 0), cmd["zero"])
                for d in range(digits):
                    digit = codes >> d * c.act_digit_bits & mask
                    self.acc[d] += digit @ values.T - ones
                word += 1
        limit = 1 << c.acc_width - 1
        assert -limit <= self.acc.min() and self.acc.max() < limit, "an accumulator overflowed"
        if cmd["acc_last"]:
            self._post(cmd, self.acc[0] + (self.acc[1] << c.act_digit_bits if cmd["wide"] else 0), live)

    def _word(self, address):
        """Integer weights (slots, ic) of a k-word and the one's-complement terms of each slot."""
        c = self.config
        nibbles = self.weights[address]
        dsp, lut = nibbles[:c.dsp_filters], nibbles[c.dsp_filters:]
        values = np.concatenate([dsp - 16 * (dsp > 7), pot_value(lut)])
        return values, np.concatenate([np.zeros(c.dsp_filters, np.int64), (lut > 7).sum(1)])

    def _post(self, cmd, acc, live):
        c = self.config
        start = (cmd["start_y"], cmd["start_x"])
        # Only pixels of this command are visited.
        out = list(zip(range(live.sum()), self._visit(cmd, "out", cmd["rows"], cmd["cols"], start)))
        bank, addr = np.array([p[2] for _, p in out], int), np.array([p[3] for _, p in out], int)
        res = None
        if cmd["residual"]:
            spots = [p for _, p in zip(range(live.sum()), self._visit(cmd, "res", cmd["rows"], cmd["cols"], start))]
            res = np.array([p[2] for p in spots], int), np.array([p[3] for p in spots], int)
        acc = acc[live]
        for slot in range(c.slots):
            p = self.params[cmd["param_base"] + slot]
            if not p["valid"]:
                continue
            value = acc[:, slot] + (acc[:, slot + 1] * 16 if p["join"] else 0)
            value = value * p["mult"] + p["bias"]
            if res is not None:
                code = self.act[cmd["mem_res"], res[0], res[1] + p["second"], p["lane"]]
                if (code == EMPTY).any():
                    raise AlloyError(f"layer {cmd['tag']} adds a residual that nothing has written")
                value = value + code * cmd["res_mult"]
            assert cmd["straddle"] or not p["second"]
            self.act[cmd["mem_out"], bank, addr + p["second"], p["lane"]] = np.clip(value >> cmd["shift"], cmd["lo"], cmd["hi"])

    def _pool(self, cmd):
        c = self.config
        taps = self.taps[cmd["tap_base"]:cmd["tap_base"] + cmd["taps"]]
        sources = self._visit(cmd, "res", cmd["rows"], cmd["cols"])
        for (y, x, bank, addr), (_, _, out_bank, out_addr) in zip(sources, self._visit(cmd, "out", cmd["rows"], cmd["cols"])):
            for group in range(cmd["groups"]):
                best = np.zeros(c.ic, np.int64)
                for tap in taps:
                    if 0 <= y + tap["dy"] < tap["rows"] and 0 <= x + tap["dx"] < tap["cols"]:
                        at = bank + tap["rot"]
                        word = addr + tap["addr"] + group + (cmd["res_groups"] if at >= c.pixels else 0)
                        best = np.maximum(best, self.act[cmd["mem_in"], at % c.pixels, word])
                self.act[cmd["mem_out"], out_bank, out_addr + group] = best


def _bits(mask):
    return [s for s in range(SEMAPHORES) if mask >> s & 1]
