"""The window of DRAM that a program lives in: its commands first, then what they load, then the tensors."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from spec.commands import COMMAND_BYTES, VERSION, Opcode, pack
from spec.config import EngineConfig
from spec.network import Network
from spec.program import Layer, Program, Region

from .graph import Graph, Value
from .steps import Emission

__all__ = ["place_program"]

PAGE = 4096


def place_program(emission: Emission, graph: Graph, kept: Collection[Value], network: Network,
                  config: EngineConfig) -> Program:
    """The program of an emission; ``kept`` are the tensors that the host may read."""
    commands = [(Opcode.START, {"digest": config.digest_word, "version": VERSION}), *emission.commands,
                (Opcode.END, {})]
    start = _pages(len(commands) * COMMAND_BYTES)       # of the image
    at, regions = start + _pages(len(emission.image)), {}
    for value, region in emission.regions.items():
        regions[value] = replace(region, offset=at)
        at += _pages(region.size)
    records = [_packed(opcode, fields, start, regions) for opcode, fields in commands]
    return Program(image=b"".join(records).ljust(start, b"\0") + bytes(emission.image), command_offset=0,
                   command_count=len(records), window_size=at, input=regions[graph.input], fold=graph.fold,
                   output=graph.output.name, outputs={v.name: r for v, r in regions.items() if v in kept},
                   layers=_layers(emission, network))


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _packed(opcode: Opcode, fields: Mapping[str, Any], start: int, regions: Mapping[Value, Region]) -> bytes:
    """One command; DRAM addresses are those in the image, which begins at ``start``, or in the region of a value."""
    fields = dict(fields)
    value = fields.pop("value", None)
    if "dram" in fields:
        fields["dram"] += start if value is None else regions[value].offset
    return pack(opcode, **fields)


def _layers(emission: Emission, network: Network) -> tuple[Layer, ...]:
    """Those whose output a command makes: what the compiler has merged has the number and the name of the first."""
    counts = Counter(fields["tag"] for _, fields in emission.commands)
    made = {node.output: emission.layers[node.output] for node in network.nodes if node.output in emission.layers}
    nodes = {output: network.nodes[values["tag"]] for output, values in made.items()}
    return tuple(Layer(name=nodes[output].name, output=output, macs=nodes[output].macs(network),
                       commands=counts[values["tag"]], **values) for output, values in made.items())
