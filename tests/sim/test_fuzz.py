"""Damaged programs on the Verilated engine: whatever a bit of a program says, the engine ends, stays in its window, and
does what the
command model does, or stops with a code."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from compiler import compile
from rtl.generate import generate
from sim import command_model, verilator
from spec.commands import COMMAND_BYTES, FIELDS, Error, unpack
from spec.errors import AlloyError
from tests.networks import random_config, random_network
from tests.verilated import shared_cache

from .verilator.test_engines import CONFIGS

ORDERS = 3
NETWORKS = {"portable": (3, 11, 14), "dsp48e2": (5, 8, 20)}
UNUSED = ("opcode", "tag", "magic")     # damage here is seen at once, or means nothing


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Name -> (config, model, [(network, codes, program)]), built on first use."""
    built = {}

    def get(name):
        if name not in built:
            config = random_config(np.random.default_rng(1), **CONFIGS[name])
            model = verilator.build(generate(config), config, shared_cache(tmp_path_factory),
                                    report=lambda line: None)
            built[name] = config, model, [case(seed, config) for seed in NETWORKS[name]]
        return built[name]
    return get


def case(seed, config):
    rng = np.random.default_rng(seed)
    network = random_network(rng, layers=3)
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    return network, codes, compile(network, config, keep="all")


def flipped(program, places):
    """The program with the bits at ``places`` of its image flipped."""
    image = bytearray(program.image)
    for place in places:
        image[place // 8] ^= 1 << place % 8
    return replace(program, image=bytes(image))


def in_command(program, dice):
    """Bits of one field of one command behind START: one of them, or up to three."""
    number = dice.randrange(1, program.command_count)
    opcode = unpack(program.commands[number])["opcode"]
    field = dice.choice([f for f in FIELDS.values() if opcode in f.opcodes and f.name not in UNUSED])
    at = 8 * (program.command_offset + number * COMMAND_BYTES) + field.lo
    return f"command {number} {opcode.name} {field.name}", {at + dice.randrange(field.width)
                                                            for _ in range(dice.choice((1, 1, 1, 3)))}


def in_data(program, dice):
    """A few bits of what the commands load."""
    first = 8 * (program.command_offset + program.command_count * COMMAND_BYTES)
    return "data", {dice.randrange(first, 8 * len(program.image)) for _ in range(dice.choice((1, 8, 64)))}


def modelled(program, config, codes):
    """What the command model says in several orders: the tensors, or None if it refuses or the orders differ."""
    out = None
    for seed in range(ORDERS):
        try:
            got = command_model.run(program, config, codes, seed)
        except AlloyError:
            return None
        if out is not None and any((out[name] != got[name]).any() for name in got):
            return None
        out = got
    return out


def fuzz(engine, damage, seed, trials):
    """Trials that ended in (right, stopped, refused by the model alone)."""
    config, model, cases = engine
    dice, count = Random(seed), [0, 0, 0]
    for trial in range(trials):
        network, codes, program = cases[trial % len(cases)]
        what, places = damage(program, dice)
        broken, where = flipped(program, places), f"seed {seed} trial {trial}: {what}, bits {sorted(places)}"
        result = model.run(broken, codes, watchdog=20_000, limit=3_000_000, stall=0.2 * (trial % 2), seed=trial,
                           check=False)
        run, expected = result.runs[0], modelled(broken, config, codes[0])
        assert result.violation == "", f"{where}: {result.violation}"
        assert not run.hung and run.code != Error.TIMEOUT, where
        assert run.done == (run.code == 0), where
        if expected is None:
            count[2 if run.done else 1] += 1
            continue
        assert run.done, f"{where}: the engine stops with {run.code}, the command model does not"
        got = {name: program.unpack(name, data) for name, data in zip(program.outputs, run.regions, strict=True)}
        assert all((got[name] == expected[name]).all() for name in got), where
        count[0] += 1
    return count


def test_undamaged(engines):
    for name in CONFIGS:
        config, model, cases = engines(name)
        for network, codes, program in cases:
            expected = modelled(program, config, codes[0])
            assert all((expected[n] == network.codes(codes)[n][0]).all() for n in expected)
            run = model.run(program, codes, watchdog=20_000).runs[0]
            assert run.done and all((program.unpack(n, d) == expected[n]).all() for n,
                                    d in zip(program.outputs, run.regions, strict=True))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("damage", [in_command, in_data])
def test_a_damaged_program_ends_and_is_seen(engines, name, damage):
    """Kind: what a bit of a program can do. It may hang nothing, leave no window, and not be silently different from
    the model."""
    right, stopped, refused = fuzz(engines(name), damage, 1, 120 if damage is in_command else 40)
    assert right > 20 and (stopped > 20 or damage is in_data)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("damage", [in_command, in_data])
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_damaged_programs(engines, name, damage, seed):
    fuzz(engines(name), damage, seed, 500)
