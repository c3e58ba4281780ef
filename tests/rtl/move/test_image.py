"""The image reader: windows of bytes by their definition, at a window a cycle; which port brings what."""

from random import Random

import pytest

from rtl.move.image import ImageReader, RowRing
from spec.commands import Opcode
from spec.errors import AlloyError
from spec.latency import IMAGE_ROW

from ..axi_models import put, small_config, until
from ..command_models import command, out_fields, tensor_view
from ..parameters import check_parameters
from .test_load import CASES, Bench, image

WIDE = dict(ic=32, port_bits=128, ports=2, act_depth=512)


@pytest.mark.parametrize("seed", range(24))
def test_windows(seed):
    """Any bytes, step, border, gap and pair, from any byte on, with pauses: as :func:`spec.images.windows_of` says."""
    bench = Bench(small_config(tables=2, **CASES[seed % 6]), seed, stall=0.3 * (seed % 3))
    fields, writes = image(bench, Random(seed))

    async def body(ctx):
        await put(ctx, bench.dut.cmd, command(Opcode.LOAD_ACT, give=1, **fields))
        await until(ctx, bench.dut.idle, 6000)

    bench.run(body)
    low, mask = bench.dut.act.payload.shape()["data"].offset, (1 << 8 * bench.config.ic) - 1
    assert [(a.place.mem, a.place.bank, a.place.addr, a.as_bits() >> low & mask) for a in bench.log["act"]] == writes


@pytest.mark.parametrize("pair, more", [(0, 2), (1, 4)])
def test_a_window_each_cycle(pair, more):
    """Rows of 20 windows take 20 cycles and as many as the first beats do; the cycle model counts so."""
    took = []
    for rows in (4, 12):
        bench, ticks = Bench(small_config(tables=2, **WIDE), stall=0, latency=12, act_stall=0), []
        view, _ = tensor_view(bench.config.pixels, rows, 20, 1)

        async def body(ctx, rows=rows, view=view, bench=bench, ticks=ticks):
            await put(ctx, bench.dut.cmd, command(Opcode.LOAD_ACT, image=1, pair=pair, bytes=63, step=3, rows=rows,
                                                  cols=20, stride=66, **out_fields(view)))
            await until(ctx, bench.dut.idle)
            took.append(len(ticks))

        async def count(ctx, ticks=ticks):
            async for _ in ctx.tick():
                ticks.append(None)

        bench.run(body, count)
    assert abs((took[1] - took[0]) / 8 - (20 + IMAGE_ROW + more)) <= 1


@pytest.mark.parametrize("ports", [1, 2, 3])
@pytest.mark.parametrize("opcode", [Opcode.LOAD_PARAMS, Opcode.LOAD_TAPS, Opcode.LOAD_TABLES])
def test_records_come_over_the_second_port(ports, opcode):
    """The first one fetches commands as well; there is no other if it is alone."""
    bench, asked = Bench(small_config(tables=2, ports=ports, port_bits=32), stall=0), []

    async def body(ctx):
        await put(ctx, bench.dut.cmd, command(opcode, count=2))
        await until(ctx, bench.dut.idle)

    async def requests(ctx):
        while True:
            found = (await ctx.tick().sample(*(r.valid for r in bench.dut.req)))[2:]
            asked.extend(number for number, valid in enumerate(found) if valid)

    bench.run(body, requests)
    assert set(asked) == {min(1, ports - 1)} and len(bench.log["p"] + bench.log["t"] + bench.log["c"]) >= 2


def test_ports_that_load_activations():
    """As many as fill a group in each cycle, as the configuration lets them, as there are; an image takes two."""
    wide = small_config(ic=32, ports=4, port_bits=64)
    for most, lanes, image_lanes in ((8, 4, 2), (3, 3, 2), (1, 1, 1)):
        config = small_config(ic=32, ports=4, port_bits=64, act_ports=most)
        assert (config.act_lanes, config.image_lanes) == (lanes, image_lanes)
        assert (config.digest == wide.digest) == (most == wide.act_ports)
    with pytest.raises(AlloyError, match="act_ports is 0: it must be 1 to 8"):
        small_config(act_ports=0)


def test_parameters():
    config = small_config(**WIDE)
    good = {name: getattr(config, name) for name in ImageReader.parameters()}
    check_parameters(ImageReader, good, [
        ("image_lanes", 3, "1 to 2"), ("image_lanes", 0, "1 to 2"), ("port_bits", 16, "one of 32, 64, 128, 256"),
        ("pixels", 1, "2 or more"), *((name, 0, "1 or more") for name in ("ic", "act_depth", "group_beats"))])
    ring = dict(banks=16, port_bits=128)
    check_parameters(RowRing, ring, [("banks", 3, "4 or more"), ("port_bits", 16, "one of 32, 64, 128, 256")])
    with pytest.raises(AlloyError, match="no RowRing has 12 banks: give a power of two"):
        RowRing(**ring | {"banks": 12})
