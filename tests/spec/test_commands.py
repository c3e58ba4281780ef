"""Records: each field is where the table says, and what does not fit is refused with its words."""

import numpy as np
import pytest

from spec.commands import (
    COMMAND_BYTES, FIELDS, MAGIC, PARAM_BYTES, PARAM_FIELDS, TAP_BYTES, TAP_FIELDS, Opcode, pack, pack_record,
    pack_records, unpack, unpack_record)
from spec.errors import AlloyError

TABLES = [(TAP_FIELDS, TAP_BYTES), (PARAM_FIELDS, PARAM_BYTES)]


@pytest.mark.parametrize("fields, size", TABLES)
def test_each_field_has_bits_of_its_own(fields, size):
    for name, field in fields.items():
        value = -1 if field.signed else (1 << field.width) - 1
        data = pack_record(fields, {name: value}, size)
        assert int.from_bytes(data, "little") == (1 << field.width) - 1 << field.lo
        found = unpack_record(fields, data)
        assert found.pop(name) == value and not any(found.values())


@pytest.mark.parametrize("opcode", Opcode)
def test_commands_are_read_back(opcode):
    """No two fields of one opcode share bits."""
    names = [name for name, field in FIELDS.items() if opcode in field.opcodes and name not in ("opcode", "magic")]
    values = {name: (1 << FIELDS[name].width) - 1 - i for i, name in enumerate(names) if FIELDS[name].width >= 8}
    found = unpack(pack(opcode, **values))
    assert found.pop("opcode") is opcode and found.pop("magic") == MAGIC
    assert {name: value for name, value in found.items() if value} == {n: v for n, v in values.items() if v}


@pytest.mark.parametrize("fields, name, value, words", [
    (PARAM_FIELDS, "lane", 256, r"command field lane is 256, outside 0\.\.255: the tensor or buffer is too large"),
    (PARAM_FIELDS, "mult", -1, r"command field mult is -1, outside 0\.\.65535"),
    (TAP_FIELDS, "dy", 1 << 15, r"command field dy is 32768, outside -32768\.\.32767"),
    (TAP_FIELDS, "dy", -(1 << 15) - 1, r"command field dy is -32769, outside")])
def test_what_does_not_fit_is_refused(fields, name, value, words):
    with pytest.raises(AlloyError, match=words):
        pack_record(fields, {name: value}, 16)
    with pytest.raises(AlloyError, match=words):
        pack_records(fields, {name: np.array([0, value, 1])}, 16)


@pytest.mark.parametrize("fields, size", TABLES)
def test_many_records_at_once(fields, size):
    """Numbers of any size, those that just fit among them, flags, and none at all."""
    rng = np.random.default_rng(3)
    values = {name: np.array([*f.limits, *map(int, rng.integers(*f.limits, 5))], object) for name, f in fields.items()}
    expected = [pack_record(fields, {name: value[i] for name, value in values.items()}, size) for i in range(7)]
    assert [one.tobytes() for one in pack_records(fields, values, size)] == expected
    name = next(name for name, f in fields.items() if f.width == 1 or not f.signed)
    flags = pack_records(fields, {name: np.array([True, False])}, size)
    assert [one.tobytes() for one in flags] == [pack_record(fields, {name: bit}, size) for bit in (1, 0)]
    assert pack_records(fields, {name: np.zeros(0, int)}, size).shape == (0, size)
    with pytest.raises(AlloyError, match="outside"):
        pack_records(fields, {name: np.array([0, 1 << 70], object)}, size)


def test_fields_of_other_opcodes_are_refused():
    with pytest.raises(AlloyError, match="command LOAD_TAPS has no field pitch"):
        pack(Opcode.LOAD_TAPS, pitch=3)


@pytest.mark.parametrize("data, words", [
    (bytes(5), "a command has 128 bytes, not 5"),
    (pack_record(FIELDS, {"magic": 3, "opcode": 6}, COMMAND_BYTES), "this is no command: opcode 6, magic 0x03"),
    (pack_record(FIELDS, {"magic": MAGIC, "opcode": 77}, COMMAND_BYTES), "this is no command: opcode 77, magic 0xa1")])
def test_what_is_no_command_is_refused(data, words):
    with pytest.raises(AlloyError, match=words):
        unpack(data)
