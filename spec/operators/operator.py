"""What an operator is: its node in the integer network, and its layer in the float network that is quantized."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from ..errors import AlloyError
from ..records import check_types, from_values

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Operator", "Layer", "Call", "OPERATORS", "LAYERS", "register", "find"]

T = TypeVar("T", bound="Operator | Layer")

OPERATORS: dict = {}        # (kind, op) of the file -> class
LAYERS: list = []           # classes of float layers


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """One node of the integer network. Its fields are its file form, under the name ``kind`` and, where several
    operators share that, ``op``.

    An operator gives :meth:`shape`, :meth:`run` and :meth:`lower`; the others where the general ones do not do. In all
    of them ``network`` is the :class:`spec.network.Network` with the tensors that it names.
    """
    name: str
    input: str
    output: str
    kind = ""
    optional: ClassVar[tuple[str, ...]] = ()        # fields that a file leaves out where they are their defaults

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

    def shape(self, network: "Network") -> tuple[int, int, int]:
        """(C, H, W) of the output."""
        raise NotImplementedError

    def check(self, network: "Network") -> None:
        """Raise :class:`AlloyError` for the first thing that does not fit its tensors."""
        shape, out = self.shape(network), network.tensors[self.output]
        if out.shape != shape:
            raise AlloyError(f"layer {self.name} makes {'x'.join(map(str, shape))}, but tensor {out.name} is "
                             f"{'x'.join(map(str, out.shape))}")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        """Codes of the output, int64 (N, C, H, W), from those of each of :attr:`inputs`."""
        raise NotImplementedError

    def macs(self, network: "Network") -> int:
        """Multiply-accumulates of one image."""
        return 0

    def lower(self, builder: Any) -> None:
        """Say what the engine does, with the calls of a :class:`compiler.lower.Builder`."""
        raise NotImplementedError

    def form(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The file form: the node's entry in the graph, and its arrays."""
        entry: dict[str, Any] = {"kind": self.kind}
        arrays = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in self.optional and (not value.size if isinstance(value, np.ndarray) else value == f.default):
                continue
            if isinstance(value, np.ndarray):
                arrays[f.name] = value
            else:
                entry[f.name] = list(value) if isinstance(value, tuple) else value
        return entry, arrays


@dataclass(frozen=True)
class Call:
    """What a PyTorch model calls: a function of ATen.

    Attributes
    ----------
    name : of the value that it makes; ``where`` names the layer in a message; ``function`` is the function's name.
    sources, shapes : names and shapes (C, H, W) of the tensors that it reads.
    arguments : all others by name, with their defaults where they are not given.
    """
    name: str
    where: str
    function: str
    sources: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...]
    arguments: dict[str, Any]


@dataclass(eq=False, kw_only=True)
class Layer:
    """One layer of the float network. Its fields hold PyTorch tensors, but :meth:`apply` gets the module ``torch`` from
    its caller: only what quantizes needs PyTorch.

    A layer gives :meth:`read`, :meth:`apply`, :meth:`shape` and :meth:`export`; the others where the general ones do
    not do.

    Attributes
    ----------
    sources : names of the tensors that it is applied to; then the tensor ``residual`` is added, a ReLU follows if
        ``relu``, and ``cap`` (F, 1, 1) is the upper bound of a ReLU6, of each channel.
    calls : names of the functions of ATen that it is read from.
    learned : it has ``weight`` (F, C / groups, rows, columns) and ``bias`` (F,), which training changes.
    weighted : it is learned, and its filters get number systems.
    keeps : its output has the codes of its source: bits, zero point and step.
    narrows : it is quicker if its source has few bits.
    fine : its source must have 8 bits.
    joins : its output holds the values of its sources side by side; what nothing else reads can have its codes.
    channelwise : every channel of its output depends on the same channel of its sources only, and is scaled as those
        are that are :attr:`tied`; :meth:`origins` says which the same channels are.
    product : a step of its output is a fixed multiple, :meth:`ratio`, of the product of the steps of its sources.
    """
    name: str
    sources: tuple[str, ...]
    output: str
    residual: str | None = None
    relu: bool = False
    cap: Any = None

    calls: ClassVar[tuple[str, ...]] = ()
    learned: ClassVar[bool] = False
    weighted: ClassVar[bool] = False
    keeps: ClassVar[bool] = False
    narrows: ClassVar[bool] = True
    fine: ClassVar[bool] = False

    joins: ClassVar[bool] = False
    channelwise: ClassVar[bool] = True
    product: ClassVar[bool] = False

    @classmethod
    def read(cls, call: Call) -> "Layer":
        """The layer of a call; :class:`AlloyError` for what it does not compute."""
        raise NotImplementedError

    @property
    def input(self) -> str:
        """Its first source."""
        return self.sources[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """All tensors that it reads."""
        return self.sources if self.residual is None else (*self.sources, self.residual)

    @property
    def tied(self) -> tuple[str, ...]:
        """The sources whose channels are scaled as those of its output, if it is :attr:`channelwise`."""
        return self.sources

    @property
    def fresh(self) -> bool:
        """Whether batch norm, addition and ReLU can still go into it."""
        return False

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        """(C, H, W) of the output for those of the sources."""
        return shapes[0]

    def apply(self, torch: Any, *sources: Any) -> Any:
        """The layer on real tensors (N, C, H, W), before addition and ReLU."""
        raise NotImplementedError

    def finish(self, x: Any, residual: Any = None) -> Any:
        """Addition and ReLU."""
        x = x if residual is None else x + residual
        x = x.relu() if self.relu else x
        return x if self.cap is None else x.minimum(self.cap.to(x))

    def signed(self, sources: bool) -> bool:
        """Whether its output has values below 0; ``sources``: whether a source has."""
        return sources and not self.relu

    def origins(self, *channels: int) -> list[np.ndarray]:
        """Of each source that is :attr:`tied`, which has so many ``channels``, the one that each channel of the output
        is made of, int (C,), -1: none; those, (N, C), if it is made of several. Of a layer that is
        :attr:`channelwise`."""
        return [np.arange(count) for count in channels]

    def ratio(self, net: Any, wanted: float) -> float:
        """Of a :attr:`product`, in products of one step of each source: the smallest step of the output that can be had
        and is ``wanted`` or more."""
        raise NotImplementedError

    def needs(self, live: Any) -> list[Any]:
        """Of each source the channels, bool (C,), without which those that are ``live`` in the output would change;
        None: all."""
        return [live if self.channelwise else None] * len(self.sources)

    def export(self, net: Any) -> Operator:
        """The node of the integer network, with the numbers that the calibrated ``net`` (:class:`quant.net.QuantNet`)
        has for it."""
        raise NotImplementedError


def register(cls: type[T]) -> type[T]:
    """Class decorator: an operator's file form, or a layer's calls, are known from here on."""
    if issubclass(cls, Layer):
        LAYERS.append(cls)
    else:
        OPERATORS[cls.kind, getattr(cls, "op", None)] = cls
    return cls


def find(entry: dict, arrays: dict[str, np.ndarray]) -> Operator:
    """The node of a file's ``entry`` and ``arrays``; the inverse of :meth:`Operator.form`."""
    entry = dict(entry)
    name, kind, op = entry.get("name"), entry.pop("kind", None), entry.get("op")
    cls = next((cls for key, cls in OPERATORS.items() if key == (kind, op)), None)
    if cls is None:
        known = ", ".join(" ".join(filter(None, key)) for key in OPERATORS)
        raise AlloyError(f"layer {name} is of the unknown kind {kind!r}{'' if op is None else f' {op!r}'}: known are "
                         f"{known}")
    return from_values(cls, entry | arrays, f"layer {name}:")
