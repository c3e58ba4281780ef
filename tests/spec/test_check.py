"""The rule by which commands are refused, at both sides of every edge; the hardware is held to the same ones."""

import pytest

from spec.check import RULES, refuse
from spec.commands import FIELDS, VERSION, Error, Opcode, pack, unpack_record

from .check_cases import EDGES, GOOD, SIZE, Edge


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.name)
def test_edges(edge):
    good, bad = (refuse(command, edge.engine(), SIZE) for command in edge.commands())
    assert good is None and bad == (edge.error, edge.rule)


def test_every_rule_has_edges():
    assert {edge.rule for edge in EDGES if edge.error == Error.FIELD} == set(RULES)


@pytest.mark.parametrize("opcode", [o for o in Opcode if o != Opcode.START])
def test_good_commands(opcode):
    engine = Edge("", opcode, {}, {}, dict(tables=1)).engine()
    fields = unpack_record(FIELDS, pack(opcode, **GOOD[opcode]))
    assert refuse(fields, engine, SIZE) is None
    assert refuse(fields | {"magic": 0}, engine, SIZE) == (Error.OPCODE, "")
    assert refuse(fields, engine, SIZE, first=True) == (Error.PROGRAM, "")


def test_opcodes():
    """A START is the first command and no other; what is no opcode is refused."""
    engine = Edge("", Opcode.START, {}, {}).engine()
    start = unpack_record(FIELDS, pack(Opcode.START, digest=int(engine.digest, 16), version=VERSION))
    assert refuse(start, engine, SIZE, first=True) is None and refuse(start, engine, SIZE) == (Error.OPCODE, "")
    for wrong in ({"digest": start["digest"] ^ 1}, {"version": VERSION + 1}, {"magic": 0}):
        assert refuse(start | wrong, engine, SIZE, first=True) == (Error.PROGRAM, "")
    assert refuse(start | {"opcode": 0xEE}, engine, SIZE) == (Error.OPCODE, "")
