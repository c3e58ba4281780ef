"""A program against the compiler's: which command, and what of it."""

from dataclasses import replace

import pytest

from alloy.diff.programs import differences, with_all_tensors
from spec.commands import COMMAND_BYTES, FIELDS, Opcode, pack_record
from tests.alloy.diff.faults import damaged, loads
from tests.alloy.folder import CONFIG


@pytest.mark.parametrize("opcode, words", [(Opcode.LOAD_PARAMS, "bias of slot "), (Opcode.LOAD_TAPS, "addr of tap ")])
def test_wrong_records(subject, opcode, words):
    made = subject.program
    index, load = loads(made, opcode)[-1]
    found = differences(damaged(made, load["dram"]), made, subject.network, CONFIG)
    assert any(f"command {index} {opcode.name} of layer " in text and words in text for text in found)


def test_wrong_commands(subject):
    """A field, an opcode that there is not, a command less; data behind the last that anything loads."""
    made, network = subject.program, subject.network
    index, conv = next((i, c) for i, c in loads(made, Opcode.CONV))
    image, at = bytearray(made.image), made.command_offset + index * COMMAND_BYTES
    image[at:at + COMMAND_BYTES] = pack_record(FIELDS, conv | {"hi": 7}, COMMAND_BYTES)
    wrong = replace(made, image=bytes(image))
    assert differences(wrong, made, network, CONFIG) == [
        f"command {index} CONV of layer conv: hi is 7, the compiler makes {conv['hi']}"]
    assert with_all_tensors(wrong, made, made) is None
    assert f"command {index} CONV of layer conv: " in differences(damaged(made, at, 64), made, network, CONFIG)[0]
    assert f"it has {made.command_count - 1} commands" in differences(
        replace(made, command_count=made.command_count - 1), made, network, CONFIG)[0]
    assert differences(replace(made, image=made.image + b"\0"), made, network, CONFIG)[0].startswith("its image has")
    unused = made.command_offset + made.command_count * COMMAND_BYTES
    assert differences(damaged(made, unused), made, network, CONFIG) == [
        f"1 bytes that no command loads, the first at {unused}"]
    assert differences(made, made, network, CONFIG) == []
