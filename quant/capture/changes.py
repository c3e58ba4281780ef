"""Changes in place of an exported program, where it is plain that nobody sees them: ``relu_`` of what only it reads is
``relu``. PyTorch resolves any of them by running the program a second time, which takes as long as exporting it."""

from collections import Counter
import operator
from typing import Any

import torch
from torch import fx

from .moves import MOVES, REAL

__all__ = ["without_changes"]


def without_changes(graph: fx.Graph) -> dict[fx.Node, str] | None:
    """Names of the nodes of a graph from which all changes in place are gone, as PyTorch would number them; None if one
    is not plain."""
    titles: dict[fx.Node, str] = {}
    taken: Counter[str] = Counter()
    for node in graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        target: Any = node.target
        if not isinstance(target, torch._ops.OpOverload):
            if target is not operator.getitem:
                return None     # a graph in the graph
        elif target._schema.is_mutable:
            twin = _twin(node)
            if twin is None:
                return None
            node.target = twin
        name = _function(node)
        titles[node] = f"{name}_{taken[name]}" if taken[name] else name
        taken[name] += 1
    return titles


def _function(node):
    schema = getattr(node.target, "_schema", None)
    return node.target.__name__ if schema is None else schema.name.split("::")[-1]


def _twin(node: Any) -> Any:
    """The function that makes a new tensor of what the one of a node writes into its first argument; None unless
    nothing but the node reads that, and it shares its memory with nothing."""
    target, changed = node.target, node.args[0] if node.args else None
    if not isinstance(changed, fx.Node) or changed.op != "call_function" or len(changed.users) > 1:
        return None
    made = getattr(changed.target, "_schema", None)
    if made is None or _function(changed) in MOVES | REAL or any(one.alias_info for one in made.returns):
        return None
    written = [one.name for one in target._schema.arguments if one.alias_info and one.alias_info.is_write]
    name = target._schema.name.split("::")[-1]
    twin = getattr(getattr(torch.ops.aten, name.removesuffix("_"), None), target._overloadname, None)
    if twin is None or not name.endswith("_") or written != [target._schema.arguments[0].name]:
        return None
    return None if twin._schema.is_mutable or len(twin._schema.returns) != 1 else twin
