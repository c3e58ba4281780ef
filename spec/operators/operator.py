"""What an operator is: its node in the integer network."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import AlloyError
from ..records import check_types, from_values

__all__ = ["Operator", "OPERATORS", "register", "find"]

OPERATORS: dict = {}        # (kind, op) of the file -> class


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """One node of the integer network. Its fields are its file form, under the name ``kind`` and, where several operators share that, ``op``.

    An operator gives :meth:`shape`, :meth:`run` and :meth:`lower`; the others where the general ones do not do. In all of them ``network``
    is the :class:`spec.network.Network` with the tensors that it names.
    """
    name: str
    input: str
    output: str
    kind = ""

    def __post_init__(self) -> None:
        where = f"layer {self.name}"
        check_types(self, f"{where}:")
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray) and not np.issubdtype(value.dtype, np.integer):
                raise AlloyError(f"{where} has {f.name} of {value.dtype}, values that are not integers")
        if "" in (self.name, self.output, *self.inputs):
            raise AlloyError(f"{where} has an empty name for itself or a tensor: give every one a name")

    @property
    def inputs(self) -> list[str]:
        """Names of the tensors that it reads."""
        return [self.input]

    def shape(self, network) -> tuple[int, int, int]:
        """(C, H, W) of the output."""
        raise NotImplementedError

    def check(self, network) -> None:
        """Raise :class:`AlloyError` for the first thing that does not fit its tensors."""
        shape, out = self.shape(network), network.tensors[self.output]
        if out.shape != shape:
            raise AlloyError(f"layer {self.name} makes {'x'.join(map(str, shape))}, but tensor {out.name} is "
                             f"{'x'.join(map(str, out.shape))}")

    def run(self, network, *codes: np.ndarray) -> np.ndarray:
        """Codes of the output, int64 (N, C, H, W), from those of each of :attr:`inputs`."""
        raise NotImplementedError

    def macs(self, network) -> int:
        """Multiply-accumulates of one image."""
        return 0

    def lower(self, builder) -> None:
        """Say what the engine does, with the calls of a :class:`compiler.lower.Builder`."""
        raise NotImplementedError

    def form(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The file form: the node's entry in the graph, and its arrays."""
        entry: dict[str, Any] = {"kind": self.kind}
        arrays = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                arrays[f.name] = value
            else:
                entry[f.name] = list(value) if isinstance(value, tuple) else value
        return entry, arrays


def register(cls):
    """Class decorator: the file form of ``cls`` is known from here on."""
    OPERATORS[cls.kind, getattr(cls, "op", None)] = cls
    return cls


def find(entry: dict, arrays: dict[str, np.ndarray]) -> Operator:
    """The node of a file's ``entry`` and ``arrays``; the inverse of :meth:`Operator.form`."""
    entry = dict(entry)
    name, kind, op = entry.get("name"), entry.pop("kind", None), entry.get("op")
    cls = next((cls for key, cls in OPERATORS.items() if key == (kind, op)), None)
    if cls is None:
        known = ", ".join(" ".join(filter(None, key)) for key in OPERATORS)
        raise AlloyError(f"layer {name} is of the unknown kind {kind!r}{'' if op is None else f' {op!r}'}: known are {known}")
    return from_values(cls, entry | arrays, f"layer {name}:")
