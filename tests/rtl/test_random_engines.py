"""Engines of random legal configurations, each of which runs a program bit for bit in Amaranth's simulator.

Kind: hardware that was elaborated at a few points only. Every field is drawn, its ends among the values.
"""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from compiler import compile
from spec.commands import unpack
from spec.config import DSP_DEVICES, LUT_FORMS, EngineConfig
from spec.errors import AlloyError
from spec.numerics import Scheme
from spec.operators.convolution import Conv
from tests.networks import random_network, separable_network

from .test_engine import Bench

# What must be among them, whatever is drawn for the other fields.
CASES = [
    dict(burst=1, outstanding=2, port_bits=64),
    dict(burst=1, outstanding=1, port_bits=32),
    dict(burst=1, outstanding=2, port_bits=32, ports=1),
    dict(burst=2, outstanding=1),
    dict(ports=8, port_bits=32),
    dict(ports=8, port_bits=64, burst=1, outstanding=1),
    dict(ports=5, port_bits=32),
    dict(ports=3, port_bits=32, burst=1, outstanding=2),
    dict(dsp_filters=4, lut_filters=0),
    dict(dsp_filters=0, lut_filters=3),
    dict(dsp_filters=0, lut_filters=1, lut_form="product_lookup", ic=1),
    dict(dsp_device="mult18"),
    dict(dsp_device="dsp48e1", dsp_filters=2),
    dict(dsp_device="mult18", ic=5, burst=1),
    dict(queue_depth=1, burst=1, outstanding=2),
    dict(queue_depth=1, port_bits=128),
    dict(port_bits=256),
    dict(port_bits=256, burst=256, outstanding=64),
    dict(pixels=2, ic=7),
    dict(pixels=6, ic=3),
    dict(addr_bits=64, port_bits=32),
    dict(decode_lanes=True, burst=1),
    dict(tables=0, act_digit_bits=8),
    dict(pixels=4, out_pixels=2),
    dict(pixels=8, out_pixels=2, ic=1),
    dict(pixels=16, out_pixels=4, ic=1, dsp_filters=0, lut_filters=1),
    dict(row_taps=3, ic=6, pixels=4, out_pixels=2, dsp_filters=2, lut_filters=2),
    dict(row_taps=3, ic=7, pixels=2, dsp_filters=4, lut_filters=0, dsp_device="dsp48e1"),
    dict(row_taps=2, ic=4, pixels=6, dsp_filters=2, lut_filters=1),
    dict(row_taps=3, ic=3, pixels=4, dsp_filters=0, lut_filters=3),
]

LONG = (1, 5, 13)       # of them: many cycles in Amaranth's simulator


def draw(seed, **fixed):
    """A legal configuration that is small enough for Amaranth's simulator."""
    rng = Random(seed)
    dsp, lut = rng.choice([(2, 1), (2, 0), (4, 2), (0, 2), (2, 3)])
    values = (
        dict(
            name=f"random{seed}",
            ic=rng.choice((1, 2, 3, 4, 5)),
            pixels=rng.choice((2, 4, 6)),
            dsp_filters=dsp,
            lut_filters=lut,
            act_digit_bits=rng.choice((4, 5, 6)),
            acc_width=rng.choice((22, 24, 27)),
            dsp_device=rng.choice(DSP_DEVICES),
            portable_dsp=True,
            lut_form=rng.choice(LUT_FORMS),
            act_depth=rng.choice((64, 96, 200)),
            weight_depth=rng.choice((24, 33, 64)),
            param_depth=rng.choice((2, 3, 5)),
            tap_depth=rng.choice((9, 18, 20)),
            tables=rng.choice((0, 1, 2)),
            ports=rng.choice((1, 2, 3, 4)),
            port_bits=rng.choice((32, 64, 128)),
            addr_bits=rng.choice((32, 40, 64)),
            burst=rng.choice((1, 2, 4, 16)),
            outstanding=rng.choice((1, 2, 3, 8)),
            queue_depth=rng.choice((1, 2, 3, 16)),
        )
        | fixed
    )
    decodes = values.pop("decode_lanes", False)
    config = EngineConfig(**values)
    return replace(config, decode_lanes=config.wide_bytes) if decodes else config


def program_for(config, seed):
    """Network, program and codes: the shortest of a few random ones that the configuration can run."""
    schemes = (
        [Scheme.FIXED8, Scheme.FIXED4]
        if config.dsp_filters and not config.lut_filters
        else [Scheme.POT4]
        if not config.dsp_filters
        else [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8]
    )
    found = []
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        if config.row_taps > 1:
            network = separable_network(rng, blocks=1, channels=(2, 8), size=(3, 6), schemes=schemes)
        else:
            network = random_network(rng, schemes=schemes, layers=2, max_size=4, max_channels=4)
        try:
            program = compile(network, config, keep="all")
        except AlloyError:
            continue
        commands = [unpack(record) for record in program.commands]
        if (any(c.get("in_row") for c in commands) if config.row_taps > 1 else
                sum(isinstance(node, Conv) for node in network.nodes) > 1):
            found.append(
                (
                    len(program.image),
                    attempt,
                    network,
                    program,
                    rng.integers(0, 256, (1, *network.tensors["image"].shape)),
                )
            )
        if len(found) == 6:
            break
    return min(found)[2:]


def check(config, seed):
    network, program, codes = program_for(config, seed)
    rng, status = Random(seed), []
    bench = Bench(network, program, codes, config, seed=seed, stall=rng.choice((0.0, 0.2, 0.4)),
                  latency=rng.choice((1, 15)))

    async def host(ctx):
        await bench.start(ctx)
        status.append(await bench.finish(ctx))

    bench.simulate(host, config, limit=100_000)
    assert status[0] & 0xFFFF == 2, hex(status[0])
    assert bench.right()


@pytest.mark.parametrize("seed", [
    pytest.param(seed, marks=pytest.mark.slow) if seed in LONG else seed for seed in range(len(CASES))])
def test_engine(seed):
    check(draw(seed, **CASES[seed]), seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 220))
def test_more_engines(seed):
    check(draw(seed, decode_lanes=seed % 4 == 0), seed)
