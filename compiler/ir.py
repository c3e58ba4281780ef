"""The compiler's graph: values and operations, made from an integer network by :func:`lower`."""

from dataclasses import dataclass, field, replace

import numpy as np

from spec.errors import AlloyError
from spec.program import Fold

__all__ = ["Value", "Op", "Graph", "Builder", "lower"]

STRIDES = (1, 2)


@dataclass(eq=False)
class Value:
    """A tensor on its way through the engine.

    ``order[position]`` is the channel at that position (positions fill groups of ``ic``); ``phases`` (rows, columns) splits it
    into planes by parity; ``pitch`` is set by the layout pass.
    """
    name: str
    channels: int
    height: int
    width: int
    bits: int
    zero: int
    order: np.ndarray = None
    phases: tuple = (False, False)


@dataclass(eq=False)
class Op:
    """One convolution (``kind`` "conv") or max pool ("pool", a copy included)."""
    kind: str
    name: str
    tag: int
    input: Value
    output: Value
    kernel: tuple
    stride: tuple
    padding: tuple
    macs: int = 0
    residual: Value = None
    weight: np.ndarray = None       # (filters, channels of a convolution group, kernel)
    scheme: np.ndarray = None
    mult: np.ndarray = None
    bias: np.ndarray = None
    res_mult: int = 0
    shift: int = 1
    lo: int = 0
    hi: int = 255
    table: np.ndarray = None

    @property
    def reads(self):
        return [self.input] + ([self.residual] if self.residual is not None else [])

    @property
    def by_channel(self):
        """Whether every output channel reads the input channel of the same number only (depthwise convolution, average)."""
        return self.kind == "conv" and self.weight.shape[1] == 1 and len(self.weight) == self.input.channels > 1

    def filter(self, index):
        """Weights of one filter for all channels of the input: (channels, taps)."""
        share = self.weight.shape[1]
        dense = np.zeros((self.input.channels, self.kernel[0] * self.kernel[1]), np.int64)
        first = index // (len(self.weight) * share // self.input.channels) * share
        dense[first:first + share] = self.weight[index].reshape(share, -1)
        return dense


@dataclass(eq=False)
class Graph:
    """Operations in execution order."""
    input: Value
    output: Value
    ops: list
    fold: Fold
    values: dict = field(default_factory=dict)      # tensor name of the network -> Value


class Builder:
    """What a node of the network says its operations with (``node.lower(builder)``): each call appends one."""

    def __init__(self, network):
        self._network = network
        self.values = {t.name: Value(t.name, t.channels, t.height, t.width, t.bits, t.zero) for t in network.tensors.values()}
        self.ops = []

    def lower(self, tag, node):
        """Append the operations of ``node``, the layer of number ``tag``."""
        self._tag = tag
        for stride in node.stride:
            if stride not in STRIDES:
                raise AlloyError(f"layer {node.name} has stride {stride}: strides 1 and 2 are supported")
        node.lower(self)

    def channels(self, tensor):
        """Of the tensor of this name."""
        return self.values[tensor].channels

    def convolution(self, node, *, weight, scheme, mult, bias, residual=None, res_mult=0, table=None):
        """A convolution of ``node``'s input to its output: ``weight`` (filters, channels of a group, kernel) and one ``scheme``, ``mult``
        and ``bias`` for each filter; ``residual`` is the name of the tensor that is added times ``res_mult``, ``table`` 256 codes."""
        self._append("conv", node, weight.shape[2:], weight=weight.astype(np.int64), scheme=scheme, mult=mult.astype(np.int64),
                     bias=bias.astype(np.int64), residual=self.values[residual] if residual else None, res_mult=res_mult, table=table)

    def maximum(self, node, kernel):
        """The maximum over each window of ``kernel`` (rows, columns)."""
        self._append("pool", node, tuple(kernel))

    def _append(self, kind, node, kernel, **values):
        self.ops.append(Op(kind=kind, name=node.name, tag=self._tag, input=self.values[node.input], output=self.values[node.output],
                           kernel=kernel, stride=tuple(node.stride), padding=tuple(node.padding), shift=node.shift, lo=node.lo,
                           hi=node.hi, macs=self._network.node_macs(node), **values))


def lower(network, config):
    """Each node becomes its operations, few-channel inputs are folded, mixed strides get a copy."""
    builder = Builder(network)
    for tag, node in enumerate(network.nodes):
        builder.lower(tag, node)
    source = builder.values[network.input]
    graph = Graph(source, builder.values[network.output], builder.ops, Fold(zero=source.zero), builder.values)
    _fold_input(graph, config)
    _set_phases(graph)
    return graph


def _fold_input(graph, config):
    readers = [op for op in graph.ops if graph.input in op.reads]
    if len(readers) != 1 or readers[0].kind != "conv" or readers[0].residual is graph.input:
        return
    op, source = readers[0], graph.input
    (kh, kw), channels = op.kernel, source.channels
    if op.weight.shape[1] != channels:
        return
    if channels * kh * kw <= config.ic:
        fold = Fold(op.kernel, op.stride, op.padding, source.zero)
        weight = op.weight.reshape(len(op.weight), -1, 1, 1)
        op.kernel, op.stride, op.padding = (1, 1), (1, 1), (0, 0)
    elif channels * kw <= config.ic and kw > 1:
        fold = Fold((1, kw), (1, op.stride[1]), (0, op.padding[1]), source.zero)
        weight = op.weight.transpose(0, 1, 3, 2).reshape(len(op.weight), channels * kw, kh, 1)
        op.kernel, op.stride, op.padding = (kh, 1), (op.stride[0], 1), (op.padding[0], 0)
    else:
        return
    rows = (source.height + 2 * fold.padding[0] - fold.kernel[0]) // fold.stride[0] + 1
    cols = (source.width + 2 * fold.padding[1] - fold.kernel[1]) // fold.stride[1] + 1
    graph.input = Value(source.name, weight.shape[1], rows, cols, source.bits, source.zero)
    graph.fold, op.weight, op.input = fold, weight, graph.input


def _set_phases(graph):
    """A tensor is laid out for the stride of its readers; readers that want another layout get a copy."""
    ops = []
    for value in [graph.input] + [op.output for op in graph.ops]:
        wanted = {}
        for op in graph.ops:
            if op.input is value:
                wanted.setdefault(tuple(s == 2 for s in op.stride), []).append(op)
        layouts = sorted(wanted, key=lambda w: -len(wanted[w]))
        # A copy can only be made of a tensor in one plane.
        if len(layouts) > 1 and (False, False) in layouts:
            layouts.remove((False, False))
            layouts.insert(0, (False, False))
        if len(layouts) > 1 and layouts[0] != (False, False):
            layouts.insert(0, (False, False))
        value.phases = layouts[0] if layouts else (False, False)
        for phases in layouts[1:]:
            copy = replace(value, name=f"{value.name}.{'y' * phases[0]}{'x' * phases[1]}", phases=phases)
            first = min(graph.ops.index(op) for op in wanted[phases])
            ops.append((graph.ops[first], Op(kind="pool", name=copy.name, tag=graph.ops[first].tag, input=value, output=copy,
                                             kernel=(1, 1), stride=(1, 1), padding=(0, 0))))
            for op in wanted[phases]:
                op.input = copy
    for before, copy in ops:
        graph.ops.insert(graph.ops.index(before), copy)
