"""The feeder against the text of docs/architecture.md: every k-step, its weights and activations, and their time."""

from random import Random

import pytest

from rtl.feed import Feeder
from rtl.prim import TAP
from spec import latency
from spec.commands import Opcode

from ..axi_models import put, simulate
from ..command_models import command
from ..parameters import check_parameters

SIZES = [dict(ic=1, pixels=2, act_digit_bits=4, dsp_device="dsp48e2"),
         dict(ic=3, pixels=6, act_digit_bits=5, dsp_device="mult18"),
         dict(ic=2, pixels=4, act_digit_bits=8, dsp_device="dsp48e1"),
         dict(ic=1, pixels=10, act_digit_bits=3, dsp_device="mult18")]
REST = dict(dsp_filters=4, lut_filters=1, row_taps=3, act_depth=64, weight_depth=40, tap_depth=12)


class Bench:
    """A feeder with memories, its taps and activations random; what it does is written down by cycles."""

    def __init__(self, seed, size):
        self.dice, self.feeder = Random(seed), Feeder(**REST, **size)
        dice, f = self.dice, self.feeder
        self.bits, self.lanes = size["act_digit_bits"], size["pixels"]
        self.acts = {(m, b, a): [dice.randrange(256) for _ in range(f.ic)]
                     for m in range(2) for b in range(self.lanes) for a in range(f.act_depth)}
        self.taps = [dict(dy=dice.randrange(-2, 3), dx=dice.randrange(-2, 3), rows=dice.randrange(1, 6),
                          cols=dice.randrange(1, 6), rot=dice.randrange(self.lanes), addr=dice.randrange(4))
                     for _ in range(f.tap_depth)]
        self.room, self.rooms = 1, []
        self.steps, self.events, self.cycle = [], [], 0
        self.kept = [[[0] * f.ic] * 2] * 16        # of the last tile in a row, by its k-steps

    def conv(self, **values):
        """A command that reads nothing behind the memories; half of them in parts."""
        dice, f, wide = self.dice, self.feeder, self.dice.random() < 0.5
        groups, pitch, taps = dice.randrange(1, 4), dice.randrange(1, 8), dice.randrange(1, 5)
        depth = dice.randrange(1, groups + 1)
        shared, in_row = dice.randrange(2), dice.random() < 0.4
        wide, depth = wide and not in_row, 1 if in_row else depth
        count = self.lanes // 2 if wide else self.lanes
        words = depth if shared else taps * depth
        whole = in_row or dice.random() < 0.7
        tiles = dice.randrange(1, 6) if whole else 1
        return dict(
            tag=dice.randrange(1 << 16), release=dice.randrange(1, 256), taps=taps, groups=groups, depth=depth,
            tiles=tiles, tap_base=dice.randrange(f.tap_depth - taps + 1), in_base=dice.randrange(8), pitch=pitch,
            shared=shared, weight_base=dice.randrange(f.weight_depth - words + 1), step_y=count // pitch,
            step_x=count % pitch,
            start_y=dice.randrange(3) * dice.randrange(2), start_x=dice.randrange(pitch) * dice.randrange(2),
            in_row=in_row, zero=dice.randrange(256), wide=wide,
            half=wide and dice.randrange(2), acc_first=whole or dice.randrange(2), acc_last=whole or dice.randrange(2),
            mem_in=dice.randrange(2)) | values

    def expected(self, c):
        """``(first, last, in a row, weight address, codes of the lanes and, in a row, of the two before)`` of each
        k-step of a command."""
        out, lanes = [], self.lanes
        count = lanes // 2 if c["wide"] else lanes
        for tile in range(c["tiles"]):
            for t in range(c["taps"]):
                tap = self.taps[c["tap_base"] + t]
                for group in range(c["depth"]):
                    acts = [self.digits(c, tile, tap, group, lane, count) for lane in range(lanes)]
                    k = t * c["depth"] + group
                    before = None
                    if c["in_row"]:
                        begins = not (tile or c["start_y"] or c["start_x"])
                        before = [self.codes([c["zero"]] * self.feeder.ic)] * 2 if begins else self.kept[t]
                        self.kept[t] = acts[-2:]
                    out.append((int(c["acc_first"] and k == 0), int(c["acc_last"] and k == c["taps"] * c["depth"] - 1),
                                int(c["in_row"]), c["weight_base"] + (group if c["shared"] else k), acts, before))
        return out

    def digits(self, c, tile, tap, group, lane, count):
        position, high = (lane // 2, lane % 2) if c["wide"] else (lane, 0)
        row, half = tile, 0
        if c["wide"]:
            row, half = divmod(c["half"] + tile, 2)
        bank, at = tap["rot"] + half * self.lanes // 2, c["in_base"] + row * c["groups"] + tap["addr"] + group
        for step in (0, position):      # the first position, then this one
            bank += step
            if bank >= self.lanes:
                bank, at = bank - self.lanes, at + c["groups"]
        start = c["start_y"] * c["pitch"] + c["start_x"]
        y, x = divmod(start + (c["in_row"] and start > 0) + tile * count + position, c["pitch"])
        valid = 0 <= y + tap["dy"] < tap["rows"] and 0 <= x + tap["dx"] < tap["cols"]
        codes = self.acts[c["mem_in"], bank, at] if valid else [c["zero"]] * self.feeder.ic
        return self.codes(codes, high)

    def codes(self, codes, high=0):
        return [code >> high * self.bits & (1 << self.bits) - 1 for code in codes]

    def run(self, drive, pauses=0.3):
        f, dice = self.feeder, self.dice

        async def memories(ctx):
            line, taps = [], []
            while True:
                enable, mem, addresses, tap = (await ctx.tick().sample(
                    f.bank.en, f.bank.mem, f.bank.addr, f.tap.addr))[2:]
                taps.append(tap)
                if len(taps) == latency.record(f):
                    ctx.set(f.tap.data, TAP.const(self.taps[taps.pop(0) % f.tap_depth]))
                line.append((enable, mem, list(addresses)))
                if len(line) == latency.READ:
                    enable, mem, addresses = line.pop(0)
                    words = [self.acts[mem, b, a] if enable else [dice.randrange(256)] * f.ic
                             for b, a in enumerate(addresses)]
                    ctx.set(f.bank.data, words)

        async def record(ctx):
            due = []
            while True:
                self.room = dice.random() >= pauses
                ctx.set(f.room, self.room)
                step, weight, acts, before, reserve, release, started, finished, tag = (await ctx.tick().sample(
                    f.step, f.r_addr, f.acts, f.previous, f.reserve, f.release, f.started, f.finished, f.tag))[2:]
                assert self.room or not reserve
                self.rooms += [self.cycle] * reserve
                if due and due[0][0] == self.cycle:
                    self.steps.append((*(item := due.pop(0)[1:]), [list(lane) for lane in acts],
                                       [list(lane) for lane in before] if item[2] else None))
                if step.valid:
                    due.append((self.cycle + latency.READ, step.first, step.last, step.in_row, weight))
                    self.events.append(("step", self.cycle))
                for name, happens in (("release", release), ("started", started), ("finished", finished)):
                    if happens:
                        self.events.append((name, self.cycle, release if name == "release" else tag))
                self.cycle += 1

        simulate({"feeder": f}, drive, background=[memories, record])

    def of(self, name):
        return [event[1:] for event in self.events if event[0] == name]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_commands(seed, size):
    """Several commands, one behind the other or with pauses, while the FIFO has room only now and then."""
    bench = Bench(seed, size)
    f, commands = bench.feeder, [bench.conv() for _ in range(6)]

    async def drive(ctx):
        for c in commands:
            await put(ctx, f.cmd, command(Opcode.CONV, **c), bench.dice, 0.7)
            assert not ctx.get(f.idle)
        while not ctx.get(f.idle):
            await ctx.tick()
        await ctx.tick().repeat(10)

    bench.run(drive)
    expected = [bench.expected(c) for c in commands]
    assert bench.steps == [step for steps in expected for step in steps]
    assert len(bench.rooms) == sum(c["tiles"] for c in commands if c["acc_last"])
    for name in ("started", "finished"):
        assert [tag for _, tag in bench.of(name)] == [c["tag"] for c in commands]
    # Semaphores come when the last step is through the array, not before.
    ends, feeds = [cycle for cycle, _ in bench.of("finished")], bench.of("release")
    last_steps = [end - latency.record(f) for end in ends]
    assert feeds == [(last + latency.fed(f), c["release"]) for last, c in zip(last_steps, commands, strict=True)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_latency(size):
    """From a command to its first k-step, from there to step and activations; the next one follows without a pause."""
    bench = Bench(1, size)
    f, accepted = bench.feeder, []
    sizes = dict(tiles=4, taps=4, tap_base=0, groups=3, depth=3, weight_base=0, acc_first=1, acc_last=1, in_row=0)
    commands = [bench.conv(**sizes) for _ in range(2)]

    async def drive(ctx):
        for c in commands:
            await put(ctx, f.cmd, command(Opcode.CONV, **c))
            accepted.append(bench.cycle)
        await ctx.tick().repeat(4 * 4 * 3 * 2 + 60)

    bench.run(drive, pauses=0)
    first = accepted[0] + f.pixels + latency.START
    assert bench.of("started")[0][0] == first + latency.record(f)
    assert [cycle for cycle, in bench.of("step")] == [first + n + f.latency - latency.READ for n in range(96)]
    assert f.latency == latency.feed(f) and len(bench.steps) == 96


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_of_one_step(size):
    """The last tile goes where its own command leads, though the next one, with other steps, begins at once."""
    bench = Bench(2, size)
    for tap in bench.taps:      # so that the column of a pixel says whether it is inside, in every row
        tap |= dict(dy=0, dx=0, rows=999, cols=2)
    sizes = dict(tiles=16, taps=1, groups=1, depth=1, acc_first=1, acc_last=1, in_row=0)
    commands = [bench.conv(**sizes) for _ in range(6)]

    async def drive(ctx):
        for c in commands:
            await put(ctx, bench.feeder.cmd, command(Opcode.CONV, **c))
        await ctx.tick().repeat(16 * 6 + 80)

    bench.run(drive, pauses=0)
    assert bench.steps == [step for c in commands for step in bench.expected(c)]


@pytest.mark.parametrize("mem", [0, 1])
def test_blocked(mem):
    """A command waits while its memory is blocked, not for the other one."""
    bench = Bench(2, SIZES[1])
    f = bench.feeder

    async def drive(ctx):
        for blocked, starts in ((2 >> mem, True), (1 << mem, False), (0, True)):
            if starts is False or blocked:
                await put(ctx, f.cmd, command(Opcode.CONV, **bench.conv(mem_in=mem)))
            ctx.set(f.blocked, blocked)
            before = len(bench.of("started"))
            await ctx.tick().repeat(100)
            assert len(bench.of("started")) - before == starts and ctx.get(f.pending) == (not starts)

    bench.run(drive)


@pytest.mark.parametrize("last", [0, 1])
def test_room(last):
    """Without room a tile's last k-step waits; sums of a part need none."""
    bench = Bench(6, SIZES[1])
    f, c = bench.feeder, bench.conv(tiles=1, acc_first=1, acc_last=last)

    async def drive(ctx):
        await put(ctx, f.cmd, command(Opcode.CONV, **c))
        await ctx.tick().repeat(100)

    bench.run(drive, pauses=1)
    assert len(bench.of("started")) == 1 and len(bench.of("finished")) == 1 - last
    assert len(bench.of("step")) == c["taps"] * c["depth"] - last


@pytest.mark.parametrize("moment", range(0, 40, 3))
def test_clear(moment):
    """Nothing of a command is left whenever ``clear`` comes; the next one is right."""
    bench = Bench(3, SIZES[1])
    f, lost, kept = bench.feeder, bench.conv(tiles=5), bench.conv(start_y=0, start_x=0)

    async def drive(ctx):
        await put(ctx, f.cmd, command(Opcode.CONV, **lost))
        for _ in range(moment):
            await ctx.tick()
        ctx.set(f.clear, 1)
        await ctx.tick()
        assert not ctx.get(f.started) and not ctx.get(f.finished)
        await ctx.tick()
        steps, feeds = len(bench.of("step")), len(bench.of("release"))
        await ctx.tick().repeat(6)
        ctx.set(f.clear, 0)
        await ctx.tick().repeat(60)
        assert len(bench.of("step")) == steps and len(bench.of("release")) == feeds and ctx.get(f.idle)
        bench.steps.clear()
        await put(ctx, f.cmd, command(Opcode.CONV, **kept))
        await ctx.tick().repeat(250)

    bench.run(drive)
    assert bench.steps == bench.expected(kept) and bench.of("release")[-1][1] == kept["release"]


def test_parameters():
    more = "1 or more"
    check_parameters(Feeder, REST | SIZES[0], [
        ("ic", 0, more), ("pixels", 3, "an even number, 2 or more"), ("pixels", 0, "an even number, 2 or more"),
        ("dsp_filters", 1, "an even number, 0 or more"), ("lut_filters", -1, "0 or more"),
        ("dsp_device", "dsp58", "one of dsp48e2, dsp48e1, mult18"),
        ("act_digit_bits", 0, "1 to 8"), ("act_digit_bits", 9, "1 to 8"), ("row_taps", 4, "1 to 3"),
        ("act_depth", 0, more), ("weight_depth", 0, more), ("tap_depth", 0, more)])
