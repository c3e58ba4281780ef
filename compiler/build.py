"""The compiler's main road: lower, order, allocate, emit."""

from collections import Counter

from spec.commands import COMMAND_BYTES, VERSION, Opcode, pack
from spec.program import Layer, Program, Region

from .allocate import allocate
from .emit import Emitter
from .ir import lower
from .slots import channel_orders

__all__ = ["compile"]

PAGE = 4096


def compile(network, config, *, keep=(), warn=None):
    """Compile an integer network for one configuration.

    Parameters
    ----------
    network : spec.network.Network
    config : spec.config.EngineConfig
    keep : names of tensors that are also written to DRAM, or "all"; the network's output always is.
    warn : called with one sentence for each field of the configuration that is so small that it costs many cycles.

    Raises :class:`spec.errors.AlloyError` naming the layer that the configuration cannot run.
    """
    graph = lower(network, config)
    kinds = channel_orders(graph, config)
    steps, input_place = allocate(graph, config)
    outputs = [op.output for op in graph.ops if op.output.name in network.tensors]
    kept = {v for v in outputs if keep == "all" or v.name in keep} | {graph.output}

    # The window: commands first (their number is known at the end), then image, input and tensors.
    emitter = Emitter(config, kinds)
    regions = {}

    def region(value):
        if value not in regions:
            groups = -(-value.channels // config.ic)
            regions[value] = Region(0, value.channels, value.height, value.width, groups, config.act_group_bytes, config.ic,
                                    tuple(int(c) for c in value.order))
        return regions[value]
    in_dram = {graph.input} | kept | {v for step in steps for v in step.dram}
    for value in [graph.input, *(op.output for op in graph.ops)]:
        if value in in_dram:
            emitter.tensor(value, region(value))
    if input_place is not None:
        emitter.input(graph.input, input_place)
    for step in steps:
        emitter.step(step)
        if step.op.output in kept and step.op.output not in step.dram:
            strip = step.strips[0]
            emitter.store(step.op.output, strip.output, (0, step.op.output.height), (0, step.op.output.width), tag=step.op.tag)

    for sentence in emitter.costs.sentences() if warn else ():
        warn(f"warning: {sentence}")
    counts = Counter(fields["tag"] for _, fields in emitter.commands)
    begin = {"digest": int(config.digest, 16), "version": VERSION}
    commands = [(Opcode.START, begin), *emitter.commands, (Opcode.END, {})]
    start = -(-len(commands) * COMMAND_BYTES // PAGE) * PAGE        # image behind the commands
    at = -(-(start + len(emitter.image)) // PAGE) * PAGE
    places = {}
    for value, area in regions.items():
        places[value] = at
        at += -(-area.size // PAGE) * PAGE
    records = [_packed(opcode, fields, start, places) for opcode, fields in commands]
    image = b"".join(records).ljust(start, b"\0") + bytes(emitter.image)
    moved = {v: Region(**{**vars(r), "offset": places[v]}) for v, r in regions.items()}
    work = {step.op.output.name: emitter.work(step) for step in steps}
    layers = tuple(Layer(tag, node.name, node.output, int(network.node_macs(node)), counts[tag], **work[node.output])
                   for tag, node in enumerate(network.nodes))
    return Program(image=image, command_offset=0, command_count=len(records), window_size=at,
                   input=moved[graph.input], fold=graph.fold, output=graph.output.name,
                   outputs={v.name: moved[v] for v in kept}, layers=layers)


def _packed(opcode, fields, start, places):
    """One command; DRAM addresses are those in the image, which begins at ``start``, or in the region of a value."""
    fields = dict(fields)
    value = fields.pop("value", None)
    if "dram" in fields:
        fields["dram"] += start if value is None else places[value]
    return pack(opcode, **fields)
