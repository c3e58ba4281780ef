"""Names of layers: those of the modules that the network was written with, as far as the file tells them."""

import ast
import re
from collections import Counter
from typing import Any

__all__ = ["name_nodes"]

BESIDE = ("Identity", "Quant", "IntQuant", "QuantizeLinear", "DequantizeLinear")       # no layers
SHAPES = ("Shape", "Size")      # of images of one size: constants
LAYERS = ("Conv", "ConvTranspose", "Gemm", "BatchNormalization")
SCOPES = "pkg.torch.onnx.name_scopes"       # of the exporter that is built on torch.export


def name_nodes(nodes: Any, weights: set[str]) -> list[str]:
    """A name for each of the ``nodes`` of a graph; ``weights`` are the names of its initializers.

    That of its scope if no other node has that scope or one inside it, else of its weights, else its own. Names are
    paths with dots. What makes constants is no layer, whatever scope and weights it has.
    """
    beside = _beside(nodes, weights)
    scopes = [() if alone else _scope(node) for node, alone in zip(nodes, beside, strict=True)]
    inside = Counter(scope[:end] for scope in scopes for end in range(1, len(scope) + 1))
    names, taken = [], Counter[str]()
    for index, (node, scope, alone) in enumerate(zip(nodes, scopes, beside, strict=True)):
        name = "" if alone else _of_weights(node, weights)
        if not name or node.name.startswith("/"):
            operator = [] if scope and inside[scope] == 1 or node.op_type in LAYERS else [node.op_type]
            own = name or node.name.strip("/") or f"{node.op_type}_{index}"
            name = ".".join([scope[-1], *operator]) if scope else own
        name = re.sub(r"[^0-9A-Za-z_.]", "_", name).strip(".") or f"node_{index}"
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}_{taken[name] - 1}")
    return names


def _beside(nodes, weights):
    """For each node whether it makes a constant, or is one of :data:`BESIDE`."""
    known, found = {"", *weights}, []
    for node in nodes:
        needed = () if node.op_type in SHAPES else node.input[:1] if node.op_type == "CastLike" else node.input
        constant = all(name in known for name in needed)
        known.update(node.output if constant else ())
        found.append(constant or node.op_type in BESIDE)
    return found


def _scope(node):
    """Paths of the modules that a node lies in, the outermost first: ("layer1", "layer1.0", "layer1.0.conv1")."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            try:
                return tuple(scope for scope in ast.literal_eval(entry.value)[:-1] if scope)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                return ()
    if not node.name.startswith("/"):
        return ()
    paths: list[str] = []       # of the older exporter: /layer1/layer1.0/conv1/Conv
    above = last = ""
    for part in node.name.split("/")[1:-1]:
        if not last or not part.startswith(f"{last}."):
            above = f"{paths[-1]}." if paths else ""
        paths.append(above + part)
        last = part
    return tuple(paths)


def _of_weights(node, weights):
    """The module whose parameter a node reads first: ``layer1.0.conv1`` of ``layer1.0.conv1.weight``."""
    for name in node.input:
        path, _, last = name.rpartition(".")
        if name in weights and path and "::" not in name and last in ("weight", "bias", "running_mean", "kernel"):
            return path
    return ""
