"""The check in hardware against the rule in :mod:`spec.check`: one command, one verdict."""

from random import Random

import pytest

from rtl.control.check import Check
from spec.check import refuse
from spec.commands import COMMAND_BYTES, FIELDS, VERSION, Error, Opcode, pack, pack_record, unpack_record
from tests.spec.check_cases import EDGES, GOOD, SIZE

from spec.latency import CHECK

from ..axi_models import simulate, small_config
from ..command_models import start
from ..parameters import check_parameters


def whole(opcode, **values):
    """All fields of a command, also those that the opcode does not have."""
    return unpack_record(FIELDS, pack(opcode, **values))


def mutants(config, rng, count):
    """Good commands with one or two fields changed: a bit, or a value at or beside what the configuration has."""
    limits = (0, 1, 2, config.act_depth, config.weight_depth, config.tap_depth, config.param_depth * config.slots,
              config.pixels, SIZE)
    for number in range(count):
        opcode = list(GOOD)[number % len(GOOD)]
        fields = whole(opcode, **GOOD[opcode])
        for _ in range(rng.choice((1, 1, 2))):
            field = rng.choice([f for f in FIELDS.values() if opcode in f.opcodes])
            value = fields[field.name] ^ 1 << rng.randrange(field.width)
            if rng.random() < 0.5:
                value = max(0, rng.choice(limits) + rng.randint(-1, 1)) % (1 << field.width)
            fields[field.name] = value
        # Fields overlap where opcodes differ: what the bits say counts.
        names = [n for n, f in FIELDS.items() if opcode in f.opcodes]
        yield unpack_record(FIELDS, pack_record(FIELDS, {n: fields[n] for n in names}, COMMAND_BYTES))


def verdicts(config, commands, size=SIZE):
    """(error code or 0) that the hardware gives for each command, ``first`` and later ones alike."""
    check, out = Check.of(config), []

    async def body(ctx):
        ctx.set(check.size, size)
        for first, fields in commands:
            ctx.set(check.clear, 1)
            await ctx.tick()
            ctx.set(check.clear, 0)
            ctx.set(check.out.ready, 1)
            opening = [] if first else [start(config)]
            names = [n for n, f in FIELDS.items() if fields["opcode"] in f.opcodes or n in ("opcode", "magic")]
            record = pack_record(FIELDS, {n: fields[n] for n in names}, COMMAND_BYTES)
            for data in [*opening, record]:
                ctx.set(check.cmd.payload.as_value(), int.from_bytes(data, "little"))
                ctx.set(check.cmd.valid, 1)
                while not (ctx.get(check.cmd.ready) or ctx.get(check.error.valid)):
                    await ctx.tick()
                out.append(ctx.get(check.error.code) if ctx.get(check.error.valid) else 0)
                await ctx.tick()
                ctx.set(check.cmd.valid, 0)
                await ctx.tick()
            if opening:
                assert out.pop(-2) == 0, "the START of the configuration is refused"
    simulate({"check": check}, body, limit=200_000)
    return out


@pytest.mark.parametrize("values", [dict(),
                                    dict(tables=1, ports=3, port_bits=128, decode_lanes=96, act_depth=100,
                                         weight_depth=20),
                                    dict(ports=1, port_bits=32, pixels=6, ic=5), dict(row_taps=3)])
def test_hardware_and_rule_agree(values):
    """Kind: a command that one of engine and command model takes and the other does not."""
    config, rng = small_config(**values), Random(len(values))
    commands = [(rng.random() < 0.1, fields) for fields in mutants(config, rng, 600)]
    expected = [refuse(fields, config, SIZE, first) for first, fields in commands]
    assert verdicts(config, commands) == [int(e[0]) if e else 0 for e in expected]
    assert {e[0] if e else Error.NONE for e in expected} >= {Error.NONE, Error.OPCODE, Error.FIELD, Error.WINDOW,
                                                             Error.PROGRAM}


CONFIGS = {tuple(edge.config.items()): edge.engine() for edge in EDGES}


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_edges(changes):
    """Every condition of every rule: what is just taken and what is just refused, as :mod:`spec.check` has it."""
    edges = [edge for edge in EDGES if tuple(edge.config.items()) == changes]
    commands = [(False, fields) for edge in edges for fields in edge.commands()]
    codes = verdicts(CONFIGS[changes], commands)
    wrong = [edge.name for edge, good, bad in zip(edges, codes[::2], codes[1::2], strict=True)
             if (good, bad) != (0, edge.error)]
    assert not wrong


@pytest.mark.parametrize("field, value", [("digest", 0), ("version", VERSION + 1), ("magic", 0), ("opcode", Opcode.END),
                                          ("opcode", 0xEE)])
def test_only_the_start_of_this_engine_begins_a_program(field, value):
    """Kind: a program of another configuration runs."""
    config = small_config()
    right = whole(Opcode.START, digest=config.digest_word, version=VERSION)
    assert refuse(right, config, SIZE, first=True) is None and verdicts(config, [(True, right)]) == [0]
    wrong = right | {field: value}
    assert refuse(wrong, config, SIZE, first=True) == (Error.PROGRAM, "")
    check = [(True, wrong if field != "opcode" else whole(Opcode.END) | {"opcode": value})]
    assert verdicts(config, check) == [Error.PROGRAM]


@pytest.mark.parametrize("opcode, values, bits", [
    (Opcode.END, {}, 0), (Opcode.LOAD_TAPS, {}, 0), (Opcode.CONV, dict(depth=1), 1), (Opcode.CONV, dict(depth=5), 3),
    (Opcode.LOAD_ACT, dict(rows=3), 4), (Opcode.STORE_ACT, dict(rows=1), 2), (Opcode.POOL, dict(rows=4, groups=2), 5)])
def test_latency(opcode, values, bits):
    """A cycle more for each bit of what is multiplied."""
    check, config = Check.of(small_config()), small_config()

    async def body(ctx):
        ctx.set(check.size, SIZE)
        ctx.set(check.out.ready, 1)
        for data, expected in ((start(config), CHECK), (pack(opcode, **GOOD[opcode] | values), CHECK + bits)):
            ctx.set(check.cmd.payload.as_value(), int.from_bytes(data, "little"))
            ctx.set(check.cmd.valid, 1)
            cycles = 0
            while not ctx.get(check.cmd.ready):
                await ctx.tick()
                cycles += 1
            assert cycles == expected and ctx.get(check.out.valid)
            await ctx.tick()
            ctx.set(check.cmd.valid, 0)
            await ctx.tick()

    simulate({"check": check}, body)


LIMITS = dict(digest_word=7, slots=3, pixels=4, act_depth=8, row_taps=1, weight_depth=8, param_depth=2, tap_depth=4,
              tables=0, decode_lanes=0, ports=1, port_bytes=8, image_lanes=1, act_group_bytes=8, weight_beats=1)
BEYOND = [("digest_word", 1 << 32, "0 to 4294967295"), ("slots", 0, "1 or more"), ("pixels", 1, "2 or more"),
          ("act_depth", 0, "1 or more"), ("row_taps", 0, "1 to 3"), ("weight_depth", 0, "1 or more"),
          ("param_depth", 0, "1 or more"), ("tap_depth", 0, "1 or more"), ("tables", 16, "0 to 15"),
          ("decode_lanes", -1, "0 or more"),
          ("ports", 0, "1 or more"), ("port_bytes", 3, "one of 4, 8, 16, 32"), ("image_lanes", 3, "1 to 2"),
          ("act_group_bytes", 0, "1 or more"),
          ("weight_beats", 0, "1 or more")]


def test_parameters():
    check_parameters(Check, LIMITS, BEYOND)
