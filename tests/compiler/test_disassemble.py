"""The readable list of commands."""

from dataclasses import replace

import pytest

from compiler import compile
from compiler.disassemble import disassemble
from spec.commands import VERSION, Opcode, unpack
from spec.errors import AlloyError
from tests.compiler.graphs import CONFIG, layer, network
from tests.spec.program.test_program import damaged


@pytest.fixture(scope="module")
def program():
    return compile(network({"image": (3, 4, 4), "out": (6, 4, 4)}, layer("image", "out", 6, 3)), CONFIG)


def test_every_command_is_listed(program):
    lines = disassemble(program)
    commands = [unpack(record) for record in program.commands]
    assert len(lines) == len(commands)
    for number, (line, command) in enumerate(zip(lines, commands, strict=True)):
        assert line.split()[:3] == [str(number), str(command["tag"]), command["opcode"].name]
        for semaphores in ("wait", "give"):
            assert (f" {semaphores} " in line) == (command[semaphores] != 0)
    conv = next(line for line, command in zip(lines, commands, strict=True) if command["opcode"] == Opcode.CONV)
    assert "rows=4 cols=4 taps=1" in conv and "out=B[0.0]x2" in conv and "acc_first acc_last" in conv and "in=A" in conv
    assert f"digest={CONFIG.digest} version={VERSION}" in lines[0]


def test_what_it_cannot_read_is_refused(program):
    with pytest.raises(AlloyError, match="has version 77 of the commands"):
        disassemble(damaged(program, version=77))
    with pytest.raises(AlloyError, match="does not begin with START"):
        disassemble(replace(program, command_count=0))
