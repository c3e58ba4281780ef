"""Decoder of coded weights against its definition, with stalls on both sides, and back to back with other tables."""

from random import Random

import numpy as np
import pytest

from rtl.move import WeightDecoder
from rtl.move.decode import DecodeLane
from spec.coding import code_lengths, code_table, encode
from spec.latency import CODE_TABLE

from ..axi_models import simulate, small_config
from ..parameters import check_parameters


def blocks(config, seed):
    """Nibbles (steps, lanes), code lengths and beats of a few loads; the second has the table of the first."""
    rng, out = np.random.default_rng(seed), []
    for share, loads in ((0.3, 2), (5.0, 1), (0.05, 1)):
        steps = [int(n) for n in rng.integers(1, 90, loads)]
        symbols = rng.choice(16, (sum(steps), config.decode_lanes), p=rng.dirichlet(np.full(16, share)))
        lengths = code_lengths(np.bincount(symbols.ravel(), minlength=16))
        parts = np.split(symbols, np.cumsum(steps)[:-1])
        out += [(part, lengths, encode(part, lengths, config.decode_width)) for part in parts]
    return out


@pytest.mark.parametrize("case", [dict(decode_lanes=8, ports=2, port_bits=32),
                                  dict(decode_lanes=4, ports=1, port_bits=64),
                                  dict(decode_lanes=32, ports=2, port_bits=32),
                                  dict(decode_lanes=4, ports=1, port_bits=128)])
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_decoder(case, stall):
    config = small_config(**case)
    dut, work = WeightDecoder.of(config), blocks(config, 5)
    got, cycles = [], []

    async def feed(ctx):
        rng = Random(1)
        for symbols, lengths, beats in work:
            ctx.set(dut.codes, sum(int(n) << 3 * i for i, n in enumerate(lengths)))
            ctx.set(dut.active, 1)
            rows, count, sent = [], 0, 0
            while len(rows) < len(symbols) or sent < len(beats):
                valid = sent < len(beats) and rng.random() >= stall
                ctx.set(dut.data.valid, valid)
                if valid:
                    ctx.set(dut.data.payload, int.from_bytes(beats[sent].tobytes(), "little"))
                ctx.set(dut.out.ready, rng.random() >= stall)
                _, _, taken, ok, go, word = await ctx.tick().sample(dut.data.ready, dut.out.valid, dut.out.ready,
                                                                    dut.out.payload)
                sent += valid and taken
                count += 1
                if ok and go and len(rows) < len(symbols):
                    rows.append([word >> 4 * n & 15 for n in range(config.decode_lanes)])
                assert count < 5000, "the decoder hangs"
            ctx.set(dut.out.ready, 0)
            ctx.set(dut.data.valid, 0)
            ctx.set(dut.active, 0)
            await ctx.tick()
            got.append(np.array(rows))
            cycles.append(count)

    simulate({"dut": dut}, feed)
    assert len(got) == len(work) and all((a == b).all() for a, (b, _, _) in zip(got, work, strict=True))
    if not stall:       # the second load needs no table: what it costs is its steps or its beats
        limits = [max(len(symbols), len(beats)) * 1.3 + 20 for symbols, _, beats in work]
        assert cycles[1] <= limits[1] and cycles[0] <= limits[0] + CODE_TABLE, (cycles, limits)


@pytest.mark.parametrize("width, seed", [(2, 1), (5, 2), (16, 3), (32, 4)])
def test_lane(width, seed):
    """One stream of a random code: the symbols in order, words only where there is room, nothing after ``clear``."""
    lane, rng = DecodeLane(width=width), Random(seed)
    lengths = code_lengths(np.array([rng.randint(0, 9) ** 3 for _ in range(15)] + [1]))
    symbols = rng.choices([n for n in range(16) if lengths[n]], k=60)
    stream, got = encode(np.array(symbols)[:, None], lengths, width), []
    words = [int.from_bytes(row.tobytes(), "little") & (1 << width) - 1 for row in stream]

    async def body(ctx):
        for window, (symbol, size) in enumerate(zip(*code_table(lengths), strict=True)):
            for name, value in (("fill", 1), ("window", window), ("entry", int(symbol) << 3 | int(size))):
                ctx.set(getattr(lane, name), value)
            await ctx.tick()
        ctx.set(lane.fill, 0)
        for _ in range(2):
            got.clear()
            todo = list(words)
            for _ in range(2000):
                push = bool(todo) and ctx.get(lane.room) and rng.random() < 0.7
                ctx.set(lane.push, push)
                ctx.set(lane.word, todo.pop(0) if push else 0)
                step = ctx.get(lane.enough) and rng.random() < 0.7
                ctx.set(lane.step, step)
                if step:
                    got.append(ctx.get(lane.symbol))
                await ctx.tick()
                if len(got) == len(symbols):
                    break
            assert got == symbols
            ctx.set(lane.push, 0)
            ctx.set(lane.step, 0)
            ctx.set(lane.clear, 1)
            await ctx.tick()
            ctx.set(lane.clear, 0)
            assert not ctx.get(lane.enough)

    simulate({"lane": lane}, body)


def test_parameters():
    check_parameters(DecodeLane, dict(width=8), [("width", 1, "2 to 32"), ("width", 33, "2 to 32")])
    check_parameters(WeightDecoder, dict(decode_lanes=4, decode_width=8), [
        ("decode_lanes", 0, "1 or more"), ("decode_width", 1, "2 to 32")])
