"""The integer network: what ``quant`` exports, ``compiler`` compiles and ``sim.golden`` executes.

It computes with integers only; what the codes of its input and output stand for may be kept beside them. One file
(``.npz``, no pickle): the entry ``graph`` is the UTF-8 bytes of a JSON object, every other entry is an integer array.
See ``docs/network.md``.
"""

from collections import Counter
from dataclasses import dataclass, fields
import json
from math import inf
from pathlib import Path

import numpy as np

from .errors import AlloyError
from .files import parse_json, read_arrays, save_arrays
from .numerics import Scheme
from .operators import find
from .records import check_types, from_values
from .tables import html, short

__all__ = ["Tensor", "Network", "Parts", "as_maps", "check_codes"]

FORMAT = 1
BATCH = 100_000         # values of the images of a batch: its tensors stay near the processor


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One activation tensor, (channels, height, width) per image, unsigned codes of ``bits`` bits.

    The real value of a code q is ``scale * (q - zero)``. The engine needs no scale; those of input and output are kept,
    if they are known.
    """
    name: str
    channels: int
    height: int
    width: int
    bits: int
    zero: int = 0
    scale: float | None = None

    def __post_init__(self):
        check_types(self, f"tensor {self.name}:")
        if not 1 <= self.bits <= 8:
            raise AlloyError(f"tensor {self.name} has {self.bits} bits: activations have 1 to 8")
        if not 0 <= self.zero < 1 << self.bits:
            raise AlloyError(f"tensor {self.name} has zero point {self.zero}, outside 0..{(1 << self.bits) - 1}")
        if min(self.channels, self.height, self.width) < 1:
            raise AlloyError(f"tensor {self.name} has an empty shape "
                             f"{self.channels}x{self.height}x{self.width}")
        if self.scale is not None and not 0 < self.scale < inf:
            raise AlloyError(f"tensor {self.name} has the scale {self.scale}: it must be finite and above 0")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    def form(self) -> dict:
        """Its entry in the file, without a scale that it has not."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "scale" or self.scale is not None}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Network:
    """An integer network: one input tensor, nodes in execution order, one output tensor."""
    name: str
    input: str
    output: str
    tensors: dict      # name -> Tensor
    nodes: list        # of spec.operators.Operator

    def __post_init__(self):
        check_types(self, f"network {self.name}:")
        self.check()

    def codes(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Codes of every tensor, ``{name: int64 (N, C, H, W)}``, for ``images`` of input codes, integers (N, C, H, W):
        the truth that everything else is compared with. Raises :class:`AlloyError` for what are no codes."""
        tensors = {self.input: check_codes(images, self.tensors[self.input])}
        for node in self.nodes:
            tensors[node.output] = node.run(self, *(tensors[name] for name in node.inputs))
        return tensors

    def run(self, images: np.ndarray) -> np.ndarray:
        """Codes of the output for ``images`` of input codes, integers (N, C, H, W): int64 (N, C) if it is one value for
        each channel, else (N, C, H, W). Any number of images; raises :class:`AlloyError` for what are no codes."""
        source, out = self.tensors[self.input], self.tensors[self.output]
        images = as_maps(np.asarray(images), source.shape)
        if images.shape[1:] != source.shape:
            check_codes(images, source)
        count = max(1, BATCH // int(np.prod(source.shape)))
        found = [self.codes(images[at:at + count])[self.output] for at in range(0, len(images), count)]
        codes = np.concatenate(found) if found else np.zeros((0, *out.shape), np.int64)
        return codes[:, :, 0, 0] if out.shape[1:] == (1, 1) else codes

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The real values of :meth:`run`, float32: what the float model would have computed, but for quantization."""
        out = self.tensors[self.output]
        if out.scale is None:
            raise AlloyError(f"network {self.name} keeps no scale of its output {out.name}, so its codes have no real "
                             "values: export it again")
        return ((self.run(images) - out.zero) * out.scale).astype(np.float32)

    def facts(self) -> list[tuple[str, str]]:
        """What there is to know of it, as (name, value) for people."""
        weights = [np.asarray(getattr(node, "weight", ())) for node in self.nodes]
        schemes = Counter(Scheme(int(s)).name for node in self.nodes for s in getattr(node, "scheme", ()))
        bits = sorted({tensor.bits for tensor in self.tensors.values()})
        def shape(name):
            return " x ".join(map(str, self.tensors[name].shape))
        return [("name", self.name), ("input", shape(self.input)), ("output", shape(self.output)),
                ("layers", f"{len(self.nodes)}"), ("weights", f"{sum(weight.size for weight in weights):,}"),
                ("multiply-accumulates", f"{sum(node.macs(self) for node in self.nodes):,}"),
                ("filters", ", ".join(f"{count:,} {name}" for name, count in sorted(schemes.items())) or "none"),
                ("bits of activations", ", ".join(map(str, bits)))]

    def __repr__(self) -> str:
        return short("Network", self.facts())

    def _repr_html_(self) -> str:
        return html("Network", self.facts())

    def check(self) -> None:
        """Raise :class:`AlloyError` for the first inconsistency; a valid network passes silently."""
        known, names = {self.input}, [node.name for node in self.nodes]
        for name in names:
            if names.count(name) > 1:
                raise AlloyError(f"two layers are called {name}: give each its own name")
        if any(name != tensor.name for name, tensor in self.tensors.items()):
            raise AlloyError("a tensor is listed under another name than its own: list it under its name")
        if self.input not in self.tensors:
            raise AlloyError(f"network input {self.input} is not among its tensors")
        for node in self.nodes:
            where = f"layer {node.name}"
            for name in node.inputs:
                if name not in known:
                    raise AlloyError(f"{where} reads tensor {name} before anything writes it: sort the layers")
            if node.output in known or node.output not in self.tensors:
                raise AlloyError(f"{where} writes tensor {node.output}, which is "
                                 + ("written already" if node.output in known else "not described"))
            node.check(self)
            known.add(node.output)
        if self.output not in known:
            raise AlloyError(f"network output {self.output} is written by no layer")

    def save(self, path: str | Path) -> None:
        """Write the documented single-file form; an existing file is replaced only when the new one is complete."""
        arrays: dict[str, np.ndarray] = {}
        nodes = []
        for node in self.nodes:
            entry, own = node.form()
            arrays |= {f"{node.name}.{key}": value for key, value in own.items()}
            nodes.append(entry)
        graph = {"format": FORMAT, "name": self.name, "input": self.input, "output": self.output,
                 "tensors": [tensor.form() for tensor in self.tensors.values()],
                 "nodes": nodes}
        text = json.dumps(graph, separators=(",", ":"), default=_plain_int)
        save_arrays(path, {"graph": np.frombuffer(text.encode(), np.uint8), **arrays})

    @classmethod
    def load(cls, path: str | Path) -> "Network":
        """Read :meth:`save`'s file; any damage is one :class:`AlloyError`."""
        fails = "is not a whole Alloy network file"
        arrays = read_arrays(path, "network file", needed=("graph",), fails=fails,
                             way="give the .npz that Network.save or python -m quant wrote")
        try:
            graph = parse_json(arrays.pop("graph").tobytes())
            if type(graph.get("format")) is not int or graph["format"] != FORMAT:
                raise AlloyError(f"it has network format {graph.get('format')} and this Alloy reads {FORMAT}")
            return cls._from_graph(graph, arrays)
        except ValueError as error:
            raise AlloyError(f"{path} {fails}: {error}; export it again") from None
        except (LookupError, TypeError, ArithmeticError) as error:
            raise AlloyError(f"{path} {fails}: its layers do not fit each other ({type(error).__name__}); export it "
                             "again") from None

    @classmethod
    def _from_graph(cls, graph, arrays):
        """The network of the JSON object ``graph`` and the ``arrays`` LAYER.FIELD."""
        lists = {key: graph.pop(key, None) for key in ("tensors", "nodes")}
        for key, entries in lists.items():
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise AlloyError(f"its {key} are no list of objects")
        tensors, nodes = {}, []
        for entry in lists["tensors"]:
            tensor = from_values(Tensor, entry, f"tensor {entry.get('name')}:")
            if tensor.name in tensors:
                raise AlloyError(f"two tensors are called {tensor.name}")
            tensors[tensor.name] = tensor
        for entry in lists["nodes"]:
            own = {key.rpartition(".")[2]: value for key, value in arrays.items()
                   if key.rpartition(".")[0] == entry.get("name")}
            nodes.append(find(entry, own))
        rest = {key: value for key, value in graph.items() if key != "format"}
        return from_values(cls, rest | {"tensors": tensors, "nodes": nodes}, "the network")


def _plain_int(value):
    return int(value)


class Parts(Network):
    """Nodes of a network of which some are missing: each can be looked at, together they cannot be run."""

    def check(self) -> None:
        """Nothing: see to each node."""


def as_maps(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Sequences (N, C, L) and vectors (N, F) as the maps of ``shape`` that they are; others as they are."""
    whole = images.ndim in (2, 3) and len(images) and images[0].size == int(np.prod(shape))
    return images.reshape(-1, *shape) if whole else images


def check_codes(images: np.ndarray, tensor: Tensor, what: str = "the images") -> np.ndarray:
    """``images`` as an int64 array; :class:`AlloyError` unless they are codes (N, C, H, W) of the input ``tensor``."""
    images, limit = as_maps(np.asarray(images), tensor.shape), 1 << tensor.bits
    if images.shape[1:] != tensor.shape:
        raise AlloyError(f"{what} are of shape {images.shape}: the network reads (N, "
                         f"{', '.join(map(str, tensor.shape))})")
    if not np.issubdtype(images.dtype, np.integer) or images.size and not 0 <= images.min() <= images.max() < limit:
        raise AlloyError(f"{what}, {images.dtype}, are no codes: the network reads integers from 0 to {limit - 1}")
    return images.astype(np.int64)
