"""Faults to plant in what ``alloy diff`` compares."""

from dataclasses import replace

from alloy.diff.__main__ import main
from spec.commands import unpack

__all__ = ["diff", "changed", "damaged", "loads"]


def diff(*arguments):
    """Status of the command."""
    return main([*map(str, arguments), "--quiet"])


def changed(network, name, **fields):
    """A network with other fields in one node."""
    return replace(network, nodes=[replace(node, **fields) if node.name == name else node for node in network.nodes])


def damaged(program, at, bit=1):
    """A program with other bits in one byte of its image."""
    image = bytearray(program.image)
    image[at] ^= bit
    return replace(program, image=bytes(image))


def loads(program, opcode):
    """(index, fields) of the commands of an opcode."""
    return [(index, c) for index, c in enumerate(map(unpack, program.commands)) if c["opcode"] == opcode]
