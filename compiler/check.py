"""Everything for which a network cannot be compiled: it goes on where :func:`compiler.compile` would stop."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from spec.config import EngineConfig
from spec.errors import AlloyError, Unsupported
from spec.network import Network
from spec.program import Image, Program

from .allocate import allocate
from .build import compile
from .graph import Graph, Value
from .im2col import plain
from .lower import Builder
from .operations import Operation
from .passes import PASSES

__all__ = ["check", "refusals"]


@dataclass(frozen=True, eq=False)
class _Given(Operation):
    """Makes its output of nothing: the surroundings of an operation that is looked at alone."""

    @property
    def kernel(self) -> tuple[int, int]:
        return 1, 1


def check(network: Network, config: EngineConfig) -> tuple[Program | None, list[Unsupported], list[str]]:
    """(program, what is not supported, warnings) of a network for an engine: a program without weights or refusals, one
    of them."""
    warnings: list[str] = []
    try:
        return compile(network, config, warn=lambda text: warnings.append(text.removeprefix("warning: ")),
                       weights=False), [], warnings
    except AlloyError as error:
        whole = Unsupported.of(error, f"network {network.name}")
    return None, list(refusals(network, config)) or [whole], []


def refusals(network: Network, config: EngineConfig) -> Iterator[Unsupported]:
    """What is not supported of each node by itself, whatever is around it; some may be missing."""
    for tag, node in enumerate(network.nodes):
        builder = Builder(network)
        try:
            node.check(network)
            builder.lower(tag, node)
            for op in builder.ops:
                _look(op, config)
        except AlloyError as error:
            yield Unsupported.of(error, f"layer {node.name}")


def _look(op: Operation, config: EngineConfig) -> None:
    """Raise :class:`AlloyError` if an operation alone cannot be compiled."""
    source = Value("", op.input.channels, op.input.height, op.input.width, op.input.bits, op.input.zero)
    given = [_Given("", op.tag, source, value) for value in dict.fromkeys(op.reads)]
    image = Image(0, source.channels, source.height, source.width, source.channels, source.width * source.channels)
    graph = Graph(source, op.output, (*given, op), plain(image, source.zero))
    for change in PASSES:
        graph = change(graph, config)
    plan = allocate(replace(graph), config)
    for step in plan.steps:
        if not isinstance(step.op, _Given):
            step.op.work(config)
