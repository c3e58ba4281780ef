"""The command model refuses what the engine would get wrong: each kind of defect, put into a good program, is seen."""

from dataclasses import replace
from pathlib import Path
import re

import numpy as np
import pytest

from compiler import compile
from compiler.hazards import SEMAPHORE
from sim import command_model
from spec.commands import (
    COMMAND_BYTES, PARAM_BYTES, PARAM_FIELDS, QUEUES, TAP_FIELDS, Opcode, pack, pack_record, unpack, unpack_record)
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.numerics import Scheme
from spec.operators.convolution import Conv
from tests.networks import random_config, random_network

TINY = dict(act_depth=24, weight_depth=24, tap_depth=12)
PROGRAMS = (0, 1, 5, 6, 12, 16)
ORDERS = 12


def case(seed, **values):
    """A network, a configuration, input codes, the compiled program and the golden tensors."""
    rng = np.random.default_rng(seed)
    network, config = random_network(rng), random_config(rng, **values)
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    expected = {n: t[0] for n, t in network.codes(codes).items()}
    return config, codes[0], compile(network, config, keep="all"), expected


def edit(program, change):
    """The program with ``change(index, fields)`` applied to every command; a command for which it returns None is left
    out."""
    kept = [new for i, record in enumerate(program.commands) if (new := change(i, unpack(record))) is not None]
    records = b"".join(pack(fields.pop("opcode"), **fields) for fields in map(dict, kept))
    size = program.command_count * COMMAND_BYTES
    assert program.command_offset == 0
    return replace(program, image=records.ljust(size, b"\0") + program.image[size:], command_count=len(kept))


def without(program, semaphore):
    """Nothing waits for a semaphore any more, and nothing gives it."""
    keep = 255 & ~(1 << semaphore)
    return edit(program, lambda i, f: f | {name: f[name] & keep for name in ("wait", "give", "release")})


def seen(config, codes, program, expected, orders=ORDERS):
    """True if any order of the queues ends in an error or in wrong codes."""
    for seed in range(orders):
        try:
            got = command_model.run(program, config, codes, seed)
        except AlloyError:
            return True
        if any((got[name] != expected[name]).any() for name in got):
            return True
    return False


@pytest.fixture(scope="module")
def spilled():
    """Programs that use every kind of command: strips, accumulations in parts, all tensors stored."""
    return [case(seed, **TINY) for seed in PROGRAMS]


def test_every_order_of_a_good_program_is_right(spilled):
    for config, codes, program, expected in spilled:
        assert not seen(config, codes, program, expected)


# A wait of a store for a load is always covered by the store's wait for the layer in between.
@pytest.mark.parametrize("pair", [p for p in SEMAPHORE if p != ("load", "store")], ids="-".join)
def test_a_missing_dependency_is_seen(pair, spilled):
    assert any(seen(config, codes, without(program, SEMAPHORE[pair]), expected)
               for config, codes, program, expected in spilled)


def chain(filters, size=8, channels=4, residual=False):
    """1x1 convolutions of fixed-4 weights 7: the image to ``a`` (and ``b``), then ``a`` (plus ``b``) to ``out``."""
    def tensor(name, count):
        return Tensor(name=name, channels=count, height=size, width=size, bits=4)

    def conv(source, out, inputs, **values):
        return Conv(name=out, input=source, output=out, weight=np.full((filters, inputs, 1, 1), 7, np.int16),
                    mult=np.arange(1, filters + 1, dtype=np.int32), scheme=np.full(filters, Scheme.FIXED4, np.uint8),
                    bias=np.zeros(filters, np.int64), shift=9, lo=0, hi=15, **values)
    nodes = [conv("image", "a", channels)] + ([conv("image", "b", channels)] if residual else [])
    nodes.append(conv("a", "out", filters, **({"residual": "b", "res_mult": 300} if residual else {})))
    tensors = {"image": tensor("image", channels)} | {node.output: tensor(node.output, filters) for node in nodes}
    return Network(name="chain", input="image", output="out", tensors=tensors, nodes=nodes)


CONFIG = EngineConfig(name="model", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=64, weight_depth=64,
                      ports=1, port_bits=32)


@pytest.mark.parametrize("values, network", [
    (dict(param_depth=2), chain(24)), (dict(act_depth=12, param_depth=64), chain(4, residual=True))],
                         ids=["params", "residual"])
def test_what_the_post_unit_reads_is_not_free_at_release(values, network):
    """``release`` frees weights, taps and input only: giving the loads their go for the rest then is an error that
    shows."""
    mask, config = 1 << SEMAPHORE["compute", "load"], EngineConfig.from_dict(CONFIG.to_dict() | values)

    def early(index, fields):
        if fields["opcode"] == Opcode.CONV and fields["give"] & mask:
            return fields | {"give": fields["give"] & ~mask, "release": fields["release"] | mask}
        return fields
    program = compile(network, config, keep="all")
    codes = np.random.default_rng(2).integers(0, 16, network.tensors["image"].shape)
    expected = {n: t[0] for n, t in network.codes(codes[None]).items()}
    assert not seen(config, codes, program, expected)
    assert seen(config, codes, edit(program, early), expected)


@pytest.fixture(scope="module")
def plain():
    return case(3)


def fails(plain, program, words):
    with pytest.raises(AlloyError, match=words):
        for seed in range(ORDERS):
            command_model.run(program, plain[0], plain[1], seed)


def test_deadlock(plain):
    fails(plain, edit(plain[2], lambda i, f: f | {"give": 0}), "waits for semaphores that never come")


def test_semaphores_left_over(plain):
    last = max(i for i, c in enumerate(plain[2].commands) if unpack(c)["opcode"] != Opcode.END)
    fails(plain, edit(plain[2], lambda i, f: f | {"give": 1} if i == last else f), "left over at the end")


def test_semaphore_overflow(plain):
    config, _, program, _ = plain
    load = next(unpack(c) for c in program.commands if unpack(c)["opcode"] == Opcode.LOAD_TAPS) | {"wait": 0, "give": 1}
    records = [pack(load["opcode"], **{k: v for k, v in load.items() if k not in ("opcode", "magic")})] * 300
    records = [program.commands[0], *records, pack(Opcode.END)]
    model = command_model.CommandModel(program, config)
    model.program = replace(program, image=b"".join(records), command_count=len(records))
    with pytest.raises(AlloyError, match="semaphore 0 overflows: it counts to 255"):
        model.execute()


class Watched(command_model.CommandModel):
    """Notes how many loads wait whenever one begins."""

    def _start_load(self):
        self.waited.append(len(self.queues["load"]))
        super()._start_load()


def test_units_run_ahead_of_each_other(plain):
    """In some order all loads are there before the first begins, in others each begins before the next is there."""
    config, _, program, _ = plain
    load = next(unpack(c) for c in program.commands if unpack(c)["opcode"] == Opcode.LOAD_TAPS) | {"wait": 0, "give": 0}
    records = [pack(load["opcode"], **{k: v for k, v in load.items() if k not in ("opcode", "magic")})] * 12
    records = [program.commands[0], *records, pack(Opcode.END)]
    model, most = Watched(program, config), set()
    model.program = replace(program, image=b"".join(records), command_count=len(records))
    for seed in range(ORDERS):
        model.waited = []
        model.execute(seed)
        most.add(max(model.waited))
    assert {1, 12} <= most


@pytest.mark.parametrize("opcode, words", [
    (Opcode.LOAD_WEIGHTS, "weights that are not loaded"), (Opcode.LOAD_TAPS, "taps that are not loaded"),
    (Opcode.LOAD_PARAMS, "parameters that are not loaded"), (Opcode.LOAD_ACT, "activations that nothing has written"),
    (Opcode.STORE_ACT, "values that nothing has written")])
def test_what_nothing_wrote_is_not_read(plain, opcode, words):
    def drop(index, fields):
        return None if fields["opcode"] == opcode else fields | dict.fromkeys(("wait", "give", "release"), 0)
    config, codes, program, _ = plain
    model = command_model.CommandModel(program, config)
    model.put(codes)
    model.program = edit(program, drop)
    with pytest.raises(AlloyError, match=words):
        in_order(model)


def in_order(model):
    """One command after the other, whatever the semaphores say; then all outputs."""
    events = {"load": ("_start_load", "_land"), "store": ("_store",), "compute": ("_issue", "_feed", "_read", "_write")}
    for record in model.program.commands:
        command = unpack(record)
        if command["opcode"] == Opcode.END:
            break
        if command["opcode"] in QUEUES:
            queue = QUEUES[command["opcode"]]
            model.clear()
            model.queues[queue].append(command)
            for event in events[queue]:
                if (event, command["opcode"]) != ("_feed", Opcode.POOL):
                    getattr(model, event)()
    for output in model.program.outputs:
        model.output(output)


@pytest.mark.parametrize("field, opcode, value, words", [
    ("dram", Opcode.LOAD_WEIGHTS, 1 << 31, "stops the engine with WINDOW"),
    ("dram", Opcode.LOAD_TAPS, 2, "FIELD: .* no multiple of the port"),
    ("dst", Opcode.LOAD_WEIGHTS, 60000, "FIELD: k-words"), ("in_base", Opcode.CONV, 60000, "activation"),
    ("out_cur_addr0", Opcode.CONV, 60000, "FIELD: a view"), ("in_base", Opcode.CONV, 200, "activation"),
    ("magic", Opcode.CONV, 0, "stops the engine with OPCODE"),
    ("digest", Opcode.START, 1, "compiled for configuration 00000001"),
    ("rows", Opcode.STORE_ACT, 60000, "more pixels times groups"),
    ("lo", Opcode.CONV, 255, "FIELD: `shift` above 63, or `lo` above `hi`")])
def test_fields_outside_the_configuration(plain, field, opcode, value, words):
    fails(plain, edit(plain[2], lambda i, f: f | {field: value} if f["opcode"] == opcode else f), words)


@pytest.mark.parametrize("flip, words", [
    ("mem_res", "a residual in the memory of the input"), ("mem_out", "layer 2 .*"), ("step_x", "steps that are no")])
def test_commands_that_wait_for_themselves_or_race(flip, words):
    """Kind: one bit of a command that looks legal. A residual in the memory of the input holds the engine for ever."""
    network, config = chain(4, residual=True), EngineConfig.from_dict(CONFIG.to_dict() | {"act_depth": 40})
    program, codes = compile(network, config, keep="all"), np.full((4, 8, 8), 3)
    assert command_model.run(program, config, codes)

    def change(index, fields):
        return fields | {flip: fields[flip] ^ 1} if fields["opcode"] == Opcode.CONV and fields["residual"] else fields
    fails((config, codes), edit(program, change), words)


@pytest.mark.parametrize("opcode", [Opcode.LOAD_ACT, Opcode.CONV])
def test_a_command_that_writes_a_word_twice(opcode):
    """All rows at the place of the first."""
    same = {"out_step_addr": 0, "out_step_bank": 0} | {f"out_row_{n}{p}": 0 for n in ("addr", "bank") for p in range(4)}
    same |= {f"out_cur_{n}{p}": 0 for n in ("addr", "bank") for p in range(2)}
    program = edit(compile(chain(4), CONFIG), lambda i, f: f | same if f["opcode"] == opcode else f)
    fails((CONFIG, np.full((4, 8, 8), 3)), program, "writes a word that it reads or has written before")


@pytest.mark.parametrize("change, words", [
    (lambda f: {"acc_last": 0, "tiles": 1}, "goes on with sums|nothing has written"),
    (lambda f: {"acc_first": 0, "tiles": 2}, "FIELD: sums in parts"),
    (lambda f: {"acc_first": 0, "tiles": 1}, "goes on with sums that nothing has begun"),
    (lambda f: {"mem_out": f["mem_in"], **{n: v for n, v in f.items() if n.startswith("out_")},
                "out_cur_addr0": f["in_base"], "out_row_addr0": f["in_base"]}, "writes a word that it reads")])
def test_what_the_engine_does_otherwise(plain, change, words):
    """Kind: a command that the model would run, and the engine would run otherwise."""
    config, codes, program, _ = plain
    first = next(i for i, c in enumerate(program.commands) if unpack(c)["opcode"] == Opcode.CONV)
    fails(plain, edit(program, lambda i, f: f | change(f) if i == first else f), words)


def test_accumulator_overflow():
    """A program that was proved for a wide accumulator on an engine with a narrow one."""
    program = compile(chain(40), CONFIG)
    narrow = EngineConfig.from_dict(CONFIG.to_dict() | {"acc_width": 12})
    program = edit(program, lambda i, f: f | {"digest": int(narrow.digest, 16)} if f["opcode"] == Opcode.START else f)
    with pytest.raises(AlloyError, match="layer 1 overflows the 12-bit accumulator"):
        command_model.run(program, narrow, np.full((4, 8, 8), 15))


def rewritten(program, opcode, number, change):
    """The program with other bytes in one of the records that the first load of this kind loads."""
    load = next(fields for fields in map(unpack, program.commands) if fields["opcode"] == opcode)
    at, image = load["dram"] + number * PARAM_BYTES, bytearray(program.image)
    image[at:at + PARAM_BYTES] = change(bytes(image[at:at + PARAM_BYTES]))
    return replace(program, image=bytes(image))


def record(fields, **values):
    """What changes fields of a record."""
    return lambda data: pack_record(fields, unpack_record(fields, data) | values, len(data))


@pytest.mark.parametrize("opcode, number, change, words", [
    (Opcode.LOAD_PARAMS, 0, record(PARAM_FIELDS, lane=4), "layer 0 slot 0 has parameters that the engine does not"),
    (Opcode.LOAD_PARAMS, 1, record(PARAM_FIELDS, bias=1 << 47), "slot 1 has parameters that the engine does not hold"),
    (Opcode.LOAD_PARAMS, 1, record(PARAM_FIELDS, bias=(1 << 47) - 1), "layer 0 overflows the 48-bit requantizer"),
    (Opcode.LOAD_PARAMS, 2, record(PARAM_FIELDS, second=1),
     "slot 2 writes a second group, but its command has no stra"),
    (Opcode.LOAD_PARAMS, 1, record(PARAM_FIELDS, join=1), "joins slot 1 to the next: pairs begin at even DSP slots"),
    (Opcode.LOAD_TAPS, 0, record(TAP_FIELDS, rot=4), "layer 0 has a tap of more banks than there are"),
    (Opcode.LOAD_WEIGHTS, 0, lambda data: data[:2] + b"\x78" + data[3:],
     "weights that no scheme has: -8 in an odd slot"),
    (Opcode.LOAD_WEIGHTS, 0, lambda data: data[:8] + b"\x7f" + data[9:], "no scheme has: .* or a negative zero")])
def test_records_that_the_engine_does_not_hold(opcode, number, change, words):
    program = rewritten(compile(chain(4), CONFIG), opcode, number, change)
    with pytest.raises(AlloyError, match=words):
        command_model.run(program, CONFIG, np.full((4, 8, 8), 3))


def test_codes_of_more_bits_than_the_layer_reads():
    program = compile(chain(4), CONFIG)
    wide = replace(program, tensors={name: replace(t, bits=8) for name, t in program.tensors.items()})
    with pytest.raises(AlloyError, match="layer 0 reads codes of more than 5 bits"):
        command_model.run(wide, CONFIG, np.full((4, 8, 8), 32))


def test_loads_of_what_nothing_has_written():
    program = compile(chain(4), CONFIG)
    at = program.outputs["out"].offset
    broken = edit(program, lambda i, f: f | {"dram": at} if f["opcode"] == Opcode.LOAD_TAPS else f)
    with pytest.raises(AlloyError, match=f"DRAM bytes {at}..{at + 16} are loaded before anything has written them"):
        command_model.run(broken, CONFIG, np.full((4, 8, 8), 3))


def test_a_program_without_end():
    program = compile(chain(4), CONFIG)
    with pytest.raises(AlloyError, match="the engine stops with OPCODE: no command is END"):
        command_model.run(replace(program, command_count=program.command_count - 1), CONFIG, np.full((4, 8, 8), 3))


def test_a_table_that_is_not_loaded():
    config, net = EngineConfig.from_dict(CONFIG.to_dict() | {"tables": 1}), chain(4)
    table = dict(table=np.arange(256, dtype=np.uint8) % 16, hi=255)
    nodes = [net.nodes[0], Conv(**{**vars(net.nodes[1]), **table})]
    program = compile(Network(name="n", input="image", output="out", tensors=net.tensors, nodes=nodes), config)
    model = command_model.CommandModel(program, config)
    model.put(np.full((4, 8, 8), 3))
    model.program = edit(program, lambda i, f: None if f["opcode"] == Opcode.LOAD_TABLES else f)
    with pytest.raises(AlloyError, match="layer 1 uses a table that is not loaded"):
        in_order(model)


def test_the_model_shares_no_arithmetic_with_the_compiler():
    """It knows the tables and layouts of ``spec`` alone."""
    folder = Path(command_model.__file__).parent
    texts = [path.read_text() for path in folder.glob("*.py")]
    assert texts and not any(re.search(r"^\s*(from|import) compiler", text, re.M) for text in texts)
