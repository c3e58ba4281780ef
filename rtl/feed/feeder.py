"""Feeds the array: walks tiles, taps and channel groups of a convolution, reads the activation banks, pads and aligns.

Pipeline (one k-step per cycle): S0 counters and tap read, S1 addresses and padding, S2 bank addresses, S3 bank read,
then the rotator (two bits of the offset per register) and the lane select.
"""

from types import SimpleNamespace

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec import latency, memories
from spec.config import DSP_DEVICES
from spec.rows import ROW_STEPS, ROW_TAPS

from ..prim import (
    COMMAND, STEP, Countdown, Parameter, WithFilters, delay, feed_port, ram, small_difference, small_less, small_sum,
    sum_of_three, tap_port)

__all__ = ["Feeder"]


class Feeder(WithFilters):
    """Executes the array's side of CONV commands.

    ``cmd`` is taken as soon as the shadow registers are free; the command starts when the one before has issued its
    last k-step, its first tile has been enumerated (a cycle for each lane, and one where it goes on in a row), and
    ``blocked[mem_in]`` (the post unit still gathers from that memory) is low. One k-step each cycle, while ``room`` is
    high at the last one of a tile.
    ``latency`` cycles from a k-step's counters to its ``acts``; ``step`` and ``r_addr`` come :data:`spec.latency.READ`
    cycles before them.

    Parameters
    ----------
    ic, pixels, dsp_filters, lut_filters, act_digit_bits, dsp_device, row_taps, act_depth, weight_depth, tap_depth : as
        in :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : CONV commands.
    blocked : for each activation memory, whether reading it has to wait.
    clear : forget everything.
    tap : table of taps, read in :func:`spec.latency.record` cycles.
    bank : activation memories, read in :data:`spec.latency.READ` cycles.
    room, reserve : of the rows FIFO: a tile is reserved with its last k-step.
    step, r_addr, acts : to the array. previous : with ``row_taps``, the activations of the two pixels before the first
        one, those that the same k-step of the tile before had last, which may be that of an earlier command; where a
        command begins with the output's first pixel, the code of padding.
    release : semaphores of a command, when the array has read everything it needs.
    pending : a command waits. idle : none is here, and nothing under way.
    started, finished, tag : a command's first and last k-step.

    Raises
    ------
    AlloyError : a parameter out of range.
    """
    ic = Parameter()
    pixels = Parameter(2, even=True)
    act_digit_bits = Parameter(high=8)
    dsp_device = Parameter(choices=DSP_DEVICES)
    row_taps = Parameter(high=ROW_TAPS)
    act_depth = Parameter()
    weight_depth = Parameter()
    tap_depth = Parameter()

    @property
    def latency(self) -> int:
        return latency.feed(self)

    def members(self) -> dict[str, Member]:
        pixel = data.ArrayLayout(self.act_digit_bits, self.ic)
        acts, previous = data.ArrayLayout(pixel, self.pixels), data.ArrayLayout(pixel, 2)
        return {
            "cmd": In(stream.Signature(COMMAND)), "blocked": In(2), "clear": In(1),
            "tap": Out(tap_port(self)), "bank": Out(feed_port(self)),
            "room": In(1), "reserve": Out(1),
            "step": Out(STEP), "r_addr": Out(range(self.weight_depth)), "acts": Out(acts),
            **({"previous": Out(previous)} if self.row_taps > 1 else {}),
            "release": Out(8), "pending": Out(1), "idle": Out(1),
            "started": Out(1), "finished": Out(1), "tag": Out(16)}

    def elaborate(self, platform):
        m = Module()
        shadow = self._shadow(m)
        s0 = self._issue(m, shadow)
        s1 = self._fields(m, s0)
        valid = self._coordinates(m, s1, delay(m, s0.start, latency.record(self) - 1), shadow)
        s2 = self._addresses(m, s1)
        value, info = self._rotate(m, s2, valid)
        self._select(m, s2, value, info)
        self._report(m, shadow, s0, s1, s2)
        return m

    def _shadow(self, m):
        """The next command: coordinates of every position of its first tile, one per cycle."""
        lanes = self.pixels
        nxt = Signal(COMMAND, reset_less=True)
        nxt_valid, nxt_ready, goes_on, skips = Signal(), Signal(), Signal(), Signal()
        init_index, init_y, init_x = (Signal(shape, reset_less=True) for shape in (range(lanes + 1), 16, 16))
        columns, command = Countdown(m, 16, "columns"), self.cmd.payload
        shadow = [tuple(Signal(16, name=f"shadow_{name}{i}", reset_less=True) for name in "yx") for i in range(lanes)]
        m.d.comb += [self.cmd.ready.eq(~nxt_valid & ~self.clear), self.pending.eq(nxt_valid)]
        with m.If(self.cmd.valid & self.cmd.ready):
            m.d.sync += [nxt.eq(command), nxt_valid.eq(1), nxt_ready.eq(0), init_index.eq(0),
                         init_y.eq(command.start_y), init_x.eq(command.start_x)]
            columns.load(command.pitch, (command.pitch - command.start_x)[:16])
            if self.row_taps > 1:       # lanes of taps in a row are a pixel further than those of the output
                later = command.in_row & Cat(command.start_y, command.start_x).any()
                m.d.sync += [goes_on.eq(later), skips.eq(later)]
        with m.If(nxt_valid & ~nxt_ready):
            with m.Switch(init_index):
                for i, (y, x) in enumerate(shadow):
                    with m.Case(i):
                        m.d.sync += [y.eq(init_y), x.eq(init_x)]
            columns.step()
            m.d.sync += [init_x.eq(Mux(columns.last, 0, init_x + 1)), init_y.eq(init_y + columns.last),
                         init_index.eq(init_index + ~skips), skips.eq(0), nxt_ready.eq(init_index == lanes - 1)]
        return SimpleNamespace(command=nxt, goes_on=goes_on, valid=nxt_valid, ready=nxt_ready, coordinates=shadow)

    def _issue(self, m, shadow):
        """S0: counters."""
        nxt, nxt_valid, nxt_ready = shadow.command, shadow.valid, shadow.ready
        start = Signal()
        job = Signal(COMMAND, reset_less=True)
        active, issue, last_k, begins, tile_begins, tile_first = (Signal() for _ in range(6))
        groups, taps, tiles = (Countdown(m, 16, name) for name in ("groups", "taps", "tiles"))
        tap_index, group, weight, base = (
            Signal(shape, reset_less=True) for shape in (16, 16, range(self.weight_depth), range(self.act_depth)))
        in_half = Signal()
        m.d.comb += [
            issue.eq(active & ~self.clear & (self.room | ~(last_k & job.acc_last))),
            self.reserve.eq(issue & last_k & job.acc_last),
            start.eq(nxt_ready & nxt_valid & ~Array(self.blocked)[nxt.mem_in] & ~self.clear
                     & (~active | last_k & tiles.last & (self.room | ~job.acc_last))),
            self.tap.en.eq(1), self.tap.addr.eq(job.tap_base + tap_index)]
        with m.If(issue):
            m.d.sync += [group.eq(group + 1), weight.eq(weight + 1), begins.eq(last_k), tile_begins.eq(0),
                         last_k.eq(groups.after & Mux(groups.last, taps.after, taps.last))]
            groups.step()
            with m.If(groups.last):
                m.d.sync += [group.eq(0), tap_index.eq(tap_index + 1)]
                taps.step()
                with m.If(job.shared):
                    m.d.sync += weight.eq(job.weight_base)
            with m.If(last_k):
                m.d.sync += [tap_index.eq(0), weight.eq(job.weight_base), in_half.eq(~in_half), tile_first.eq(0)]
                tiles.step()
                with m.If(~job.wide | in_half):
                    m.d.sync += base.eq(base + job.groups)
                with m.If(tiles.last):
                    m.d.sync += active.eq(0)
        with m.If(start):
            m.d.sync += [job.eq(nxt), active.eq(1), nxt_valid.eq(0), nxt_ready.eq(0), tap_index.eq(0),
                         begins.eq(1), tile_begins.eq(1), tile_first.eq(~shadow.goes_on), group.eq(0),
                         weight.eq(nxt.weight_base), base.eq(nxt.in_base), in_half.eq(nxt.half & nxt.wide)]
            m.d.sync += last_k.eq((nxt.depth == 1) & (nxt.taps == 1))
            for counter, number in ((groups, nxt.depth), (taps, nxt.taps), (tiles, nxt.tiles)):
                counter.load(number)
        with m.If(self.clear):
            m.d.sync += [active.eq(0), nxt_valid.eq(0), nxt_ready.eq(0)]
        return SimpleNamespace(
            job=job, active=active, start=start, issue=issue, last_k=last_k, last_tile=tiles.last, begins=begins,
            first=tile_begins, tile_first=tile_first, tap_index=tap_index, group=group, weight=weight, base=base,
            in_half=in_half)

    def _fields(self, m, s0):
        """S1: what goes with a k-step, when its tap has arrived."""
        addr_t, job = range(self.act_depth), s0.job
        layout = data.StructLayout({"valid": 1, "first": 1, "last": 1, "k_last": 1, "load": 1, "wide": 1, "half": 1,
                                    "mem": 1, "zero": 8, "base": addr_t, "groups": addr_t,
                                    "weight": range(self.weight_depth), "end": 1, "begin": 1,
                                    "in_row": 1, "tile_first": 1, "number": range(ROW_STEPS)})
        s1 = Signal(layout)
        m.d.sync += [
            s1.valid.eq(s0.issue), s1.load.eq(s0.start), s1.k_last.eq(s0.issue & s0.last_k),
            s1.first.eq(s0.begins & job.acc_first), s1.last.eq(s0.last_k & job.acc_last),
            s1.wide.eq(job.wide), s1.half.eq(job.wide & s0.in_half), s1.mem.eq(job.mem_in), s1.zero.eq(job.zero),
            s1.base.eq(s0.base + s0.group), s1.groups.eq(job.groups), s1.weight.eq(s0.weight),
            s1.end.eq(s0.issue & s0.last_k & s0.last_tile),
            s1.begin.eq(s0.issue & s0.first),
            s1.in_row.eq(job.in_row), s1.tile_first.eq(s0.tile_first), s1.number.eq(s0.tap_index)]
        return data.View(layout, delay(m, s1, latency.record(self) - 1, clear=self.clear))

    def _coordinates(self, m, s1, start, shadow):
        """S1: coordinates of the tile live here. Returns the valid lanes in S2."""
        nxt, tap = shadow.command, self.tap.data
        step_y, step_x, step_row, back, rows, cols = (
            Signal(shape, reset_less=True) for shape in (16, 16, 16, signed(17), tap.rows.shape(), tap.cols.shape()))
        valid = Signal(self.pixels)
        m.d.sync += [rows.eq(tap.rows), cols.eq(tap.cols)]
        for i, (shadow_y, shadow_x) in enumerate(shadow.coordinates):
            # Of a lane's pixel: where it is, and its column a step further if that is in the next row, else below 0.
            y, x = (Signal(16, name=f"{name}{i}", reset_less=True) for name in "yx")
            turned, tap_y, tap_x = (
                Signal(signed(18), name=f"{name}{i}", reset_less=True) for name in ("turned", "tap_y", "tap_x"))
            stays = turned[-1]
            m.d.sync += [tap_y.eq(y + tap.dy), tap_x.eq(x + tap.dx)]
            m.d.comb += valid[i].eq(~tap_y[-1] & (tap_y[:-1] < rows) & ~tap_x[-1] & (tap_x[:-1] < cols))
            with m.If(s1.load | s1.k_last):
                m.d.sync += turned.eq(Mux(s1.load, shadow_x, turned) + Mux(~s1.load & stays, step_x, back))
            with m.If(s1.load):
                m.d.sync += [y.eq(shadow_y), x.eq(shadow_x)]
            with m.Elif(s1.k_last):
                m.d.sync += [x.eq(Mux(stays, x + step_x, turned)), y.eq(y + Mux(stays, step_y, step_row))]
        with m.If(start):
            m.d.sync += [step_y.eq(nxt.step_y), step_x.eq(nxt.step_x), step_row.eq(nxt.step_y + 1),
                         back.eq(nxt.step_x - nxt.pitch)]
        return valid

    def _addresses(self, m, s1):
        """S2: two addresses (before and after the wrap of the banks). S3: one for each bank."""
        lanes, addr_t, tap = self.pixels, range(self.act_depth), self.tap.data
        s2 = Signal(data.StructLayout({"valid": 1, "first": 1, "last": 1, "wide": 1, "mem": 1, "zero": 8,
                                       "addr": addr_t, "groups": addr_t, "rot": range(lanes),
                                       "weight": range(self.weight_depth),
                                       "in_row": 1, "tile_first": 1, "number": range(ROW_STEPS)}))
        rot = Signal(range(2 * lanes))
        m.d.comb += rot.eq(small_sum(tap.rot[:len(s2.rot)], Mux(s1.half, lanes // 2, 0)))
        less, stays = small_difference(rot, lanes)          # whether the banks do not wrap
        m.d.sync += [
            s2.valid.eq(s1.valid & ~self.clear), s2.first.eq(s1.first), s2.last.eq(s1.last), s2.wide.eq(s1.wide),
            s2.mem.eq(s1.mem), s2.zero.eq(s1.zero), s2.groups.eq(s1.groups), s2.weight.eq(s1.weight),
            s2.in_row.eq(s1.in_row), s2.tile_first.eq(s1.tile_first), s2.number.eq(s1.number),
            s2.addr.eq(sum_of_three(s1.base, tap.addr, Mux(stays, 0, s1.groups))), s2.rot.eq(Mux(stays, rot, less))]
        m.d.sync += [self.bank.en.eq(s2.valid), self.bank.mem.eq(s2.mem)]
        for bank in range(lanes):
            before = small_less(bank, s2.rot) if bank < lanes - 1 else 0        # nothing is behind the last bank
            m.d.comb += self.bank.addr[bank].eq(delay(m, s2.addr + Mux(before, s2.groups, 0), 1, plain=True))
        return s2

    def _rotate(self, m, s2, valid):
        """Position j is bank (rot + j) mod pixels."""
        lanes = self.pixels
        row = [s2.zero, s2.number, s2.tile_first, s2.valid & s2.in_row] if self.row_taps > 1 else [s2.zero]
        info = delay(m, Cat(s2.rot, valid, s2.wide, *row), 1 + latency.READ, flops=True)
        value = [self.bank.data[i] for i in range(lanes)]
        for stage in range(latency.rotator(self)):
            amount = info[2 * stage:min(2 * stage + 2, len(s2.rot))]
            turned = [Signal(8 * self.ic, name=f"turn{stage}_{i}", reset_less=True) for i in range(lanes)]
            for i in range(lanes):
                m.d.sync += turned[i].eq(Array(
                    value[(i + (k << 2 * stage)) % lanes] for k in range(1 << len(amount)))[amount])
            value, info = turned, delay(m, info, 1, flops=True)
        return value, info

    def _select(self, m, s2, value, info):
        """Low or high digit of each lane's position, or of the zero point."""
        lanes, bits = self.pixels, self.act_digit_bits
        mask = info[len(s2.rot):len(s2.rot) + lanes]
        wide = info[len(s2.rot) + lanes]
        zero, row = info[len(s2.rot) + lanes + 1:][:8], info[len(s2.rot) + lanes + 9:]
        last: list[Value] = []
        for lane in range(lanes):
            pair = lane // 2
            for channel in range(self.ic):
                narrow = _digit(value[lane], channel, 0, bits)
                paired = _digit(value[pair], channel, lane % 2, bits)
                digit = Mux(wide, Mux(mask[pair], paired, _digit(zero, 0, lane % 2, bits)),
                            Mux(mask[lane], narrow, _digit(zero, 0, 0, bits)))
                m.d.comb += self.acts[lane][channel].eq(delay(m, digit, 1, plain=True))
                if lane >= lanes - 2:
                    last.append(digit)
        if self.row_taps > 1:
            self._keep(m, last, zero[:bits], row)

    def _keep(self, m, last, zero, row):
        """The last two pixels of each k-step of a tile in a row, for the same k-step of the next one."""
        number, first, here = row[:-2], row[-2], row[-1]
        m.submodules.previous = memory = ram(memories.previous(self))
        read, write = memory.read_port(domain="comb"), memory.write_port()
        m.d.comb += [read.addr.eq(number), write.addr.eq(number), write.data.eq(Cat(last)), write.en.eq(here),
                     self.previous.eq(delay(m, Mux(first, zero.replicate(2 * self.ic), read.data), 1, plain=True))]

    def _report(self, m, shadow, s0, s1, s2):
        """Step and weight address at their time, semaphores, and what others see."""
        clear = self.clear
        early = self.latency - latency.record(self) - 1 - latency.READ
        m.d.comb += [
            self.step.valid.eq(delay(m, s2.valid, early, clear=clear)),
            *(self.step[name].eq(delay(m, s2[name], early)) for name in ("first", "last", "in_row")),
            self.r_addr.eq(delay(m, s2.weight, early, flops=True))]

        drain = latency.fed(self) - 1
        release = Signal(8)
        m.d.sync += release.eq(Mux(s0.issue & s0.last_k & s0.last_tile, s0.job.release, 0))
        m.d.comb += self.release.eq(delay(m, release, drain, clear=clear))
        quiet = Signal(range(drain + 2))
        with m.If(s0.active | shadow.valid):
            m.d.sync += quiet.eq(drain + 1)
        with m.Elif(quiet != 0):
            m.d.sync += quiet.eq(quiet - 1)
        m.d.comb += [self.idle.eq(~s0.active & ~shadow.valid & (quiet == 0)),
                     self.started.eq(s1.begin), self.finished.eq(s1.end),
                     self.tag.eq(delay(m, s0.job.tag, latency.record(self), plain=True))]


def _digit(code, channel, high, bits):
    """Digit ``high`` of one 8-bit code of a vector."""
    word = code.as_value() if hasattr(code, "as_value") else code
    byte = word[8 * channel:8 * channel + 8]
    return byte[bits:] if high else byte[:bits]
