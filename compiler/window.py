"""The window of DRAM that a program lives in: its commands first, then what they load, then the tensors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spec.commands import COMMAND_BYTES, VERSION, Opcode, pack
from spec.config import EngineConfig
from spec.network import Network
from spec.program import Image, Layer, Program, Region

from .graph import Graph, Value
from .steps import Emission

if TYPE_CHECKING:
    from .operations import Operation

__all__ = ["place_program"]

PAGE = 4096


def place_program(emission: Emission, graph: Graph, network: Network, config: EngineConfig,
                  weights: bool = True) -> Program:
    """The program of an emission; without ``weights``, their bytes are 0."""
    commands = [(Opcode.START, {"digest": config.digest_word, "version": VERSION}), *emission.commands,
                (Opcode.END, {})]
    start = _pages(len(commands) * COMMAND_BYTES)       # of the image
    at = start + _pages(len(emission.image))
    regions: dict[Value, Region | Image] = {}
    for value, region in emission.regions.items():
        regions[value] = replace(region, offset=at)
        at += _pages(region.size)
    image = regions[graph.input]
    outputs = {value.name: region for value, region in regions.items() if value in graph.kept}
    assert isinstance(image, Image)
    records = [_packed(opcode, fields, start, regions) for opcode, fields in commands]
    return Program(image=b"".join(records).ljust(start, b"\0") + emission.image.data(later=weights), command_offset=0,
                   command_count=len(records), window_size=at, input=image,
                   output=graph.output.name, outputs=outputs,
                   layers=_layers(emission, network), source=network.input,
                   tensors={name: network.tensors[name] for name in (network.input, *outputs)})


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _packed(opcode: Opcode, fields: Mapping[str, Any], start: int, regions: Mapping[Value, Region | Image]) -> bytes:
    """One command; DRAM addresses are those in the image, which begins at ``start``, or in the region of a value."""
    fields = dict(fields)
    value = fields.pop("value", None)
    if "dram" in fields:
        fields["dram"] += start if value is None else regions[value].offset
    return pack(opcode, **fields)


def _layers(emission: Emission, network: Network) -> tuple[Layer, ...]:
    """Those whose output a command makes: what the compiler has merged has the number and the name of the first."""
    counts, layers = Counter(fields["tag"] for _, fields in emission.commands), []
    every = [(value.name, work) for value, works in emission.layers.items() for work in works]
    for tag, node in enumerate(network.nodes):
        # What makes a part of another value, or one with more channels, is a layer, too.
        works = ([work for name, work in every if name == node.output]
                 or [work for name, work in every if work[0].tag == tag
                     and (work[0].at is not None or name not in network.tensors)])
        if works:
            number = works[0][0].tag if len(works) == 1 else tag
            first = network.nodes[number]
            layers.append(Layer(number, first.name, node.output, first.macs(network), counts[number], **_work(works)))
    return tuple(layers)


def _work(works: list[tuple["Operation", dict[str, Any]]]) -> dict[str, Any]:
    """How a tensor is made: by one operation, or by several that make some of its channels each."""
    if len(works) == 1:
        return works[0][1]
    slots: dict[int, tuple[int, int]] = {}
    tiles = 0
    for op, work in works:
        slots |= {channel: (tiles + tile, slot) for channel, (tile, slot) in enumerate(work["slots"], op.makes.start)}
        tiles += 1 + max(tile for tile, _ in work["slots"])
    rows, cols = works[0][0].output.height, works[0][0].output.width
    return {"slots": tuple(slots[channel] for channel in sorted(slots)), "pixels": works[0][1]["pixels"],
            "strips": ((0, rows, 0, cols, cols),)}
