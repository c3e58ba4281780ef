"""The post unit against the text of docs/architecture.md: codes, places, residuals, parts, and how long it takes."""

from itertools import product
from random import Random

import pytest

from rtl.post import Post
from rtl.prim import PARAM
from spec import latency
from spec.commands import PARAM_BYTES, PARAM_FIELDS, Opcode, pack_record
from spec.systems import DIGIT_BITS
from spec.views import fields_of

from ..axi_models import put, refusal, simulate
from ..command_models import command, out_fields
from ..parameters import check_parameters
from .models import Memories, places, tensor

SIZES = [dict(ic=1, pixels=2, out_pixels=1, dsp_filters=2, lut_filters=0, tables=0, dsp_device="dsp48e2"),
         dict(ic=3, pixels=6, out_pixels=1, dsp_filters=4, lut_filters=1, tables=2, dsp_device="dsp48e2"),
         dict(ic=5, pixels=4, out_pixels=2, dsp_filters=0, lut_filters=3, tables=1, dsp_device="mult18"),
         dict(ic=2, pixels=16, out_pixels=4, dsp_filters=2, lut_filters=1, tables=0, dsp_device="mult18"),
         dict(ic=1, pixels=2, out_pixels=1, dsp_filters=0, lut_filters=1, tables=0, dsp_device="mult18")]
REST = dict(act_digit_bits=5, acc_width=14, portable_dsp=False, joined_width=25, act_depth=512, param_depth=3)


class Bench:
    def __init__(self, seed, size):
        self.post, self.dice = Post(**size, **REST), Random(seed)
        self.memories, dice, post = Memories(self.post, seed), self.dice, self.post
        self.records = [self.record() for _ in range(post.param_depth * post.slots)]
        self.tables = [[dice.randrange(256) for _ in range(256)] for _ in range(post.tables)]
        self.rows, self.done, self.visits, self.through, self.gathered = [], [], [], 0, []

    def record(self):
        bias, mult = self.dice.randrange(-1 << 22, 1 << 22), self.dice.randrange(1 << 9)
        return dict(bias=bias, mult=mult, lane=0, valid=0, join=0, second=0)

    def parameters(self, base, straddle):
        """The records of a command: outputs lie in lanes of their own, some slots have none, some pairs are joined."""
        dice, post = self.dice, self.post
        records = [self.record() for _ in range(post.slots)]
        spots = [(lane, second) for lane in range(post.ic) for second in range(1 + straddle)]
        dice.shuffle(spots)
        joined = {s for s in range(0, post.dsp_filters, 2) if dice.random() < 0.5}
        for s, record in enumerate(records):
            if s - 1 not in joined and spots and dice.random() < 0.8:
                lane, second = spots.pop()
                record |= dict(lane=lane, second=second, valid=1, join=int(s in joined))
        self.records[base:base + post.slots] = records
        return records

    def command(self, *, params=None, mem=None, **fixed):
        """Fields of a command, its lanes and the writes that it means; ``count`` are its visits. ``params`` is the
        number of its first parameter records, ``mem`` the memory that it writes to.
        """
        dice, post = self.dice, self.post
        rows, cols, straddle, wide = dice.randrange(1, 5), dice.randrange(1, 9), dice.randrange(2), dice.randrange(2)
        pitch, groups, in_row = cols + dice.randrange(3), 1 + straddle + dice.randrange(2), dice.randrange(2 - wide)
        start = (dice.randrange(rows), dice.randrange(cols)) if dice.randrange(3) else (0, 0)
        first = start[0] * pitch + start[1]
        lead = in_row and not first       # a lane before the first pixel
        count, last = post.pixels // 2 if wide else post.pixels, dice.randrange(first + 1, rows * pitch + 3)
        residual, mem = dice.randrange(2), dice.randrange(2) if mem is None else mem
        base, lo = dice.randrange((post.param_depth - 1) * post.slots + 1), dice.randrange(100)
        base = base if params is None else params
        out, res = (tensor(dice, post, rows, cols, groups, start) for _ in range(2))
        fields = dict(
            **out_fields(out), **fields_of(res, "res"), rows=rows, cols=cols, pitch=pitch, start_y=start[0],
            start_x=start[1], tiles=-(-(last - first + lead) // count), wide=wide, in_row=in_row,
            straddle=straddle, residual=residual, mem_out=mem, mem_res=1 - mem, param_base=base,
            res_mult=dice.randrange(1 << 16),
            shift=dice.choice((1, 13, 14, 15, 16, 17, 40)), lo=lo, hi=dice.randrange(lo, 256),
            table=dice.randrange(post.tables + 1),
            acc_last=1, give=dice.randrange(1, 256), tag=dice.randrange(1 << 16)) | fixed
        records = self.parameters(base, straddle)
        target, origin = (places(view, rows, cols, post.pixels, start) for view in (out, res))
        top, sent, writes, number, self.count = 1 << post.acc_width - 1, [], [], first, 0
        for entry in range(fields["tiles"] * post.entries):
            row = [[dice.choice((-top, top - 1, dice.randrange(-top, top))) for _ in range(post.slots)]
                   for _ in range(post.lanes)]
            sent.append(row)
            sums = [[low + (high << post.act_digit_bits) for low, high in zip(*pair, strict=True)]
                    for pair in zip(row[::2], row[1::2], strict=True)] if wide else row
            sums = sums[lead if not entry else 0:]
            while sums:     # a visit: what is left of the row, and of as many lanes as are visited together
                y, x = divmod(number, pitch)
                count = min(pitch - x, (len(sums) - 1) % (latency.wide_pixels(post) if wide else post.out_pixels) + 1)
                if count == post.out_pixels > 1 and any(view["phase_x"] and (x + view["par_x"]) % 2
                                                        for view in ([out, res] if residual else [out])):
                    count -= 1      # from the odd one of two planes on
                inside = [(y, x + n) for n in range(count) if (y, x + n) in target]
                for second, (n, pixel) in product(range(1 + straddle), enumerate(inside)):
                    (bank, addr), (at, old) = target[pixel], origin[pixel]
                    codes = self.memories.read(1 - mem, at, old + second) if residual else None
                    writes.append(((mem, bank, addr + second), self.codes(fields, records, sums[n], codes, second)))
                self.count += 1 + (straddle and inside != [])
                sums, number = sums[count:], number + count
        return fields, sent, writes

    def codes(self, fields, records, accs, residual, second):
        """By lane, those of one pixel and group."""
        out = {}
        for s, p in enumerate(records):
            if p["valid"] and p["second"] == second:
                total = accs[s] * p["mult"] + p["bias"]
                if p["join"]:
                    total += accs[s + 1] * records[s + 1]["mult"] << DIGIT_BITS
                if residual:
                    total += residual[p["lane"]] * fields["res_mult"]
                code = min(max(total >> fields["shift"], fields["lo"]), fields["hi"])
                out[p["lane"]] = self.tables[fields["table"] - 1][code] if fields["table"] else code
        return out

    def run(self, drive, pauses=0.3):
        post, dice = self.post, self.dice

        async def parameters(ctx):
            asked = []
            while True:
                enable, at, done, given, tag, through, gathered = (await ctx.tick().sample(
                    post.param.en, post.param.addr, post.done, post.give, post.tag, post.through, post.gathered))[2:]
                self.through += through
                self.gathered += [gathered] * done
                asked.append((enable, at))
                if len(asked) == latency.record(post):
                    enable, at = asked.pop(0)
                    record = self.records[at] if enable and at < len(self.records) else dict(valid=1)     # or anything
                    word = pack_record(PARAM_FIELDS, record, PARAM_BYTES)
                    ctx.set(post.param.data, PARAM.from_bits(int.from_bytes(word, "little")))
                if done:
                    self.done.append((self.memories.cycle - 1, given, tag))
                else:
                    assert not given

        async def rows(ctx):
            offered = False
            while True:
                offered = offered or bool(self.rows) and dice.random() >= pauses
                ctx.set(post.row.valid, offered)
                if offered:
                    ctx.set(post.row.payload, self.rows[0])
                taken, = (await ctx.tick().sample(post.row.ready))[2:]
                if offered and taken:
                    self.rows.pop(0)
                    self.visits.append(self.memories.cycle - 1)
                    offered = False

        async def body(ctx):
            for n, table in enumerate(self.tables):
                for word in range(64):
                    ctx.set(post.tables_write.en, 1)
                    ctx.set(post.tables_write.addr, 64 * n + word)
                    codes = bytes(table[4 * word:4 * word + 4])
                    ctx.set(post.tables_write.data, int.from_bytes(codes, "little"))
                    await ctx.tick()
            ctx.set(post.tables_write.en, 0)
            await drive(ctx)

        simulate({"post": post}, body, background=[self.memories.serve, parameters, rows])

    async def finish(self, ctx, count):
        while len(self.done) < count:
            await ctx.tick()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_commands(seed, size):
    """Commands one behind the other or with pauses, rows at any pace."""
    bench, post = Bench(seed, size), []

    async def drive(ctx):
        for n in range(4):
            fields, rows, writes = bench.command()
            post.append((fields["give"], fields["tag"]))
            bench.memories.writes.clear()
            gathers = bench.memories.gathers
            bench.rows += rows
            await put(ctx, bench.post.cmd, command(Opcode.CONV, **fields), bench.dice, 0.5)
            await bench.finish(ctx, n + 1)
            # A pixel without an output in a group is written without any enable.
            assert [write[1:] for write in bench.memories.writes] == writes and not bench.rows
            assert bench.memories.gathers - gathers == (len(writes) if fields["residual"] else 0)

    bench.run(drive)
    assert [event[1:] for event in bench.done] == post


@pytest.mark.parametrize("seed, pauses", [(0, 0), (1, 0.3), (2, 0), (3, 0.97)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_commands_overlap(size, seed, pauses):
    """The next command comes before the one before is complete, or is a part; ``through``, ``idle``, what was
    gathered."""
    bench = Bench(seed, size)
    post, expected, kinds = bench.post, [], []

    async def drive(ctx):
        assert ctx.get(post.idle)
        ctx.set(post.fed, 1)
        for n in range(9):
            part = n % 4 == 2
            fields, rows, writes = bench.command(params=n % 3 * post.slots, mem=0, acc_last=not part)
            if not part:
                bench.rows += rows
                expected.extend(writes)
            kinds.append((fields["give"], fields["tag"], fields["residual"] << 1))
            await put(ctx, post.cmd, command(Opcode.CONV, **fields))
            assert not ctx.get(post.idle)
            while not ctx.get(post.cmd.ready):      # its parameters are here, those after it may be written
                await ctx.tick()
        while not ctx.get(post.done) or len(bench.done) < 8:
            assert not ctx.get(post.idle)
            await ctx.tick()
        await ctx.tick()
        assert ctx.get(post.idle)

    bench.run(drive, pauses)
    assert [write[1:] for write in bench.memories.writes] == expected and not bench.rows
    assert [(*event[1:], mask) for event, mask in zip(bench.done, bench.gathered, strict=True)] == kinds
    assert bench.through == 9


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_cycle_between_commands(size):
    """The parameters of the second command are fetched while the first, which is long enough, is worked on."""
    bench = Bench(5, size)
    post, counts = bench.post, []

    async def drive(ctx):
        for n in range(2):
            while True:
                fields, rows, _ = bench.command(params=n * post.slots, mem=0)
                if bench.count > latency.parameters(post) + post.latency:
                    break
            counts.append(bench.count)
            bench.rows += rows
            await put(ctx, post.cmd, command(Opcode.CONV, **fields))
            while not ctx.get(post.cmd.ready):
                await ctx.tick()
        await bench.finish(ctx, 2)

    bench.run(drive, pauses=0)
    assert bench.done[1][0] - bench.done[0][0] == counts[1] + 1


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_latency(size):
    """Parameters, then a pixel and group each cycle; from the last visit to its write and to ``done``."""
    bench = Bench(9, size)
    post = bench.post

    async def drive(ctx):
        for n in range(3):
            fields, rows, writes = bench.command(residual=0)
            bench.rows += rows
            bench.visits.clear()
            bench.memories.writes.clear()
            await put(ctx, post.cmd, command(Opcode.CONV, **fields))
            taken = bench.memories.cycle
            await bench.finish(ctx, n + 1)
            first = taken + latency.parameters(post)
            # The rows' testbench offers the next one in the cycle after it saw one go.
            assert bench.visits[-1] == first + bench.count - 1
            assert bench.done[-1][0] == bench.visits[-1] + post.done_latency
            assert all(cycle - post.latency >= first for cycle, *_ in bench.memories.writes)
            if writes:
                assert bench.memories.writes[-1][0] <= bench.visits[-1] + post.latency < bench.done[-1][0]

    bench.run(drive, pauses=0)
    assert post.latency == latency.post(post) and post.done_latency == latency.post_done(post)


def test_part():
    """Nothing is read or written for sums of a part; it is over when it has been fed."""
    bench = Bench(3, SIZES[1])
    post = bench.post

    async def drive(ctx):
        fields, _, _ = bench.command(acc_last=0)
        await put(ctx, post.cmd, command(Opcode.CONV, **fields))
        await ctx.tick().repeat(50)
        assert not bench.done
        ctx.set(post.fed, 1)
        fed = bench.memories.cycle + 1      # the cycle in which it is seen
        await bench.finish(ctx, 1)
        assert bench.done == [(fed + post.done_latency, fields["give"], fields["tag"])]
        assert not bench.memories.writes and not bench.memories.gathers

    bench.run(drive)


@pytest.mark.parametrize("moment", range(0, 40, 5))
def test_clear(moment):
    """Rows that still come are thrown away while ``clear`` is high; the next command is right."""
    bench = Bench(4, SIZES[1])
    post = bench.post

    async def drive(ctx):
        fields, rows, _ = bench.command()
        bench.rows += rows
        await put(ctx, post.cmd, command(Opcode.CONV, **fields))
        for _ in range(moment):
            await ctx.tick()
        ctx.set(post.clear, 1)
        while bench.rows:
            await ctx.tick()
        await ctx.tick().repeat(3)
        ctx.set(post.clear, 0)
        await ctx.tick()
        for kept in (bench.memories.writes, bench.memories.written, bench.done):
            kept.clear()
        await ctx.tick().repeat(30)
        assert not bench.memories.writes and not bench.done and ctx.get(post.cmd.ready)
        fields, rows, writes = bench.command()
        bench.rows += rows
        await put(ctx, post.cmd, command(Opcode.CONV, **fields))
        await bench.finish(ctx, 1)
        assert [write[1:] for write in bench.memories.writes] == writes

    bench.run(drive)


def test_parameters():
    more, even = "1 or more", "an even number, "
    check_parameters(Post, SIZES[1] | REST, [
        ("ic", 0, more), ("pixels", 3, even + "2 or more"), ("dsp_filters", 3, even + "0 or more"),
        ("lut_filters", -1, "0 or more"), ("act_digit_bits", 9, "1 to 8"), ("acc_width", 1, "2 or more"),
        ("dsp_device", "dsp58", "one of dsp48e2, dsp48e1, mult18"), ("portable_dsp", 2, "one of False, True"),
        ("joined_width", 1, "2 or more"), ("act_depth", 0, more),
        ("param_depth", 0, more), ("out_pixels", 0, more), ("tables", -1, "0 to 15"), ("tables", 16, "0 to 15")])
    assert refusal(Post, **SIZES[1] | REST | dict(dsp_filters=0, lut_filters=0)) == (
        "no Post has no filter slots: give dsp_filters or lut_filters")
    assert refusal(Post, **SIZES[2] | REST | dict(out_pixels=4)) == (
        "no Post of 4 pixels has out_pixels 4: give 1, or an even number whose square divides pixels")
