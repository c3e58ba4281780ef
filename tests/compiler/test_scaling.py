"""Channels that are scaled by what the network computes: programs that write their own parameter records."""

from dataclasses import replace

import numpy as np
import pytest

import boards
from compiler import allocate, compile
from compiler.build import lowered, planned
from compiler.passes.records import make_records
from compiler.scaling import Groups, Product, RecordLayout, Records
from sim import command_model
from spec.commands import PARAM_BYTES, PARAM_FIELDS, unpack_record
from spec.errors import AlloyError
from tests.compiler.graphs import CONFIG, engine
from tests.networks import random_config, scaled_network


def right(network, config, seed, images=1):
    """Whether the commands, in a random order of the queues, make every tensor what it is."""
    codes = np.random.default_rng(seed).integers(0, 256, (images, *network.tensors["image"].shape))
    program, expected = compile(network, config, keep="all"), network.codes(codes)
    for index in range(images):
        got = command_model.run(program, config, codes[index], seed + index)
        assert got.keys() >= {node.output for node in network.nodes}
        if any((got[name] != expected[name][index]).any() for name in got):
            return False
    return True


@pytest.mark.parametrize("seed", range(14))
def test_random_networks(seed):
    """Kind: any channels, sizes, zero points and engines whose words have no holes."""
    rng = np.random.default_rng(seed)
    ports = int(rng.choice([32, 64]))
    config = random_config(rng, ic=ports // 8, port_bits=ports)
    assert right(scaled_network(rng), config, seed, images=2)


@pytest.mark.parametrize("name, signed", [("zcu102", True), ("pynq-z2", False)])
def test_boards(name, signed):
    """More channels than a group, and no multiple of one."""
    config = replace(boards.get(name).config, tables=1)
    assert right(scaled_network(np.random.default_rng(5), channels=70, size=(5, 4), signed=signed), config, 5)


@pytest.mark.parametrize("signed", [False, True])
def test_strips(signed, monkeypatch):
    """Maps that live in DRAM are scaled in parts; the records, too, are made in parts where they are many."""
    monkeypatch.setattr(allocate, "MOVES", 0)       # or another one does
    monkeypatch.setattr(allocate, "BEGIN", 0)
    config = engine(act_depth=84, tables=1)
    net = scaled_network(np.random.default_rng(2), channels=18, size=(9, 7), signed=signed)
    strips = {step.op.name: len(step.strips) for step in planned(lowered(net, config), config).steps}
    assert strips["to_y"] > 1 and strips["to_y.records"] == 1 + signed
    assert right(net, config, 3)


def test_what_is_read_from_dram_stays_there():
    """Kind: a value that another unit reads is moved to the chip because that would cost less."""
    config = engine(act_depth=84, tables=1)
    graph = lowered(scaled_network(np.random.default_rng(2), channels=18, size=(9, 7), signed=True), config)
    fixed = frozenset(value for op in graph.ops for value in op.from_dram)
    plan, homes = allocate._plan(graph, config, allocate.Homes(fixed, passed=allocate._passed_on(graph)))
    costs = {step.op: 1.0 for step in plan.steps}
    moved = list(allocate._moves(graph, plan, costs, homes, fixed))
    assert fixed and moved and all(fixed <= other.spilled for other in moved)


def test_tables_in_turn():
    """Records of several layers in a buffer that holds those of two tiles."""
    assert right(scaled_network(np.random.default_rng(4), channels=11), engine(param_depth=2, tables=1), 1)


def test_records_become_operations():
    net = scaled_network(np.random.default_rng(0), channels=10)
    ops = lowered(net, CONFIG).ops
    kinds = [type(op) for op in ops if isinstance(op, Groups | Records | Product)]
    assert kinds == [Groups, Records, Product] * 2
    for op in ops:
        if isinstance(op, Product):
            assert op.input.order == op.output.order == op.factor.order and op.records.order == tuple(
                range(op.records.channels))
            assert op.records.height == 3 and op.from_dram == [op.records] and op.factor not in op.reads
    assert make_records.__name__ == "make_records"


@pytest.mark.parametrize("mult", [0, 16 * 77])
@pytest.mark.parametrize("values", [
    {}, dict(ic=8, port_bits=32, dsp_filters=2), dict(ic=5, port_bits=64), dict(ic=12, port_bits=128),
    dict(ic=20, port_bits=128), dict(ic=32, port_bits=256, dsp_filters=6, lut_filters=3), dict(ic=4, port_bits=64)])
def test_layouts(values, mult):
    """Each channel's records hold its code, lane and bias where a filter tile has a slot for it; all others are off."""
    config = engine(**values)
    if values.get("ic") == 20 and mult:     # the second record of a pair begins where codes end
        with pytest.raises(AlloyError, match="choose an ic that is a multiple of 16"):
            RecordLayout.of("l", config.ic, 3, mult, config)
        return
    layout = RecordLayout.of("l", config.ic, 1 << 20, mult, config)
    for channels in (config.ic, 1):
        row, slots = bytearray(layout.row(channels)), layout.slots(channels)
        assert len(row) == layout.parts * layout.size and len(row) % config.act_group_bytes == 0
        assert all(row[at] == 0 for at in range(len(row)) if at % config.act_group_bytes >= config.ic)
        assert len({at for *_, at in slots}) == channels
        for channel, (_, _, at) in enumerate(slots):
            assert at % config.act_group_bytes < config.ic
            row[at] = channel + 100
        found = {}
        for part in range(layout.parts):
            for slot in range(config.slots):
                at = part * layout.size + PARAM_BYTES * slot
                found[part, slot] = unpack_record(PARAM_FIELDS, bytes(row[at:at + PARAM_BYTES]))
        for channel, (part, slot, _) in enumerate(slots):
            one, two = found.pop((part, slot)), found.pop((part, slot + 1)) if mult else None
            assert one == dict(bias=1 << 20, mult=mult or channel + 100, lane=channel, valid=1, join=int(mult > 0),
                               second=0, reserved=0)
            assert two is None or two == dict.fromkeys(two, 0) | {"mult": channel + 100}
        assert not any(record["valid"] for record in found.values())


@pytest.mark.parametrize("values, words", [
    (dict(dsp_filters=0), "layer to_y scales channels by what the network computes, .*: give dsp_filters"),
    (dict(ic=8, port_bits=128), "written as 8 codes in each 16 bytes: choose an ic that is a multiple of 16"),
    (dict(ic=3, port_bits=32), "written as 3 codes in each 4 bytes: choose an ic that is a multiple of 4"),
    (dict(act_digit_bits=3), "layer .* reads 8-bit codes, two digits hold 6: raise act_digit_bits"),
])
def test_refusals(values, words):
    with pytest.raises(AlloyError, match=words):
        compile(scaled_network(np.random.default_rng(1), channels=3), engine(act_depth=512, tables=1, **values))
