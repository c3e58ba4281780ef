"""What :mod:`alloy.check` finds, and its form as JSON (docs/check.md)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
import re
from typing import Any

from spec.config import EngineConfig
from spec.errors import Unsupported

from .rewrites import REWRITES, rewrite

__all__ = ["SCHEMA", "Finding", "Fit", "Layer", "Performance", "Report", "Risk", "Rounding"]

SCHEMA = 1          # version of the JSON form
_WHERE = re.compile(r"layer (?P<layer>\S+)(?: \((?P<place>.*)\))?")
_CODE = re.compile(r"(?P<file>.+), line (?P<line>\d+)")


@dataclass(frozen=True)
class Finding:
    """One thing that cannot run.

    Attributes
    ----------
    layer : name of the module or call, None for the model as a whole. place : in the user's code or file; file, line :
        of the call in code.
    operation : the function of ATen, or the operator of an ONNX file, that is not supported, None if something else
        about the layer is.
    reason : what is not supported. limit : what is. rewrite : the way out.
    stage : who would have refused it: "model", "quantization" or "compiler".
    """
    layer: str | None
    place: str | None
    file: str | None
    line: int | None
    operation: str | None
    reason: str
    limit: str | None
    rewrite: str
    stage: str

    @classmethod
    def of(cls, refusal: Unsupported, stage: str, config: EngineConfig, places: Mapping[str, str]) -> "Finding":
        """Of a refusal; ``places`` maps names of layers to what stands for them in messages."""
        where = refusal.where
        if where.startswith("layer "):
            where = places.get(where.removeprefix("layer "), where)
        found = _WHERE.fullmatch(where)
        layer, place = found.groups() if found else (None, None)
        code = _CODE.fullmatch(place or "")
        named = re.match(r"is ([\w.]+), which is not supported", refusal.reason)
        function = named[1] if named else None
        limit, way = _limit(refusal.way, config), refusal.way
        if limit == way or not way or function in REWRITES:
            way = rewrite(function)
        return cls(layer, place, code["file"] if code else None, int(code["line"]) if code else None,
                   function, refusal.reason, limit, way, stage)

    @property
    def where(self) -> str:
        """Layer and place, for people."""
        if self.layer is None:
            return "the model"
        return self.layer + (f" ({self.place})" if self.place else "")


def _limit(way, config):
    """What is supported, as the end of a refusal tells it, or the field of the configuration that it names."""
    if re.search(r"\b(is|are) supported$", way):
        return way
    named = [name for name in config.to_dict() if re.search(rf"\b{name}\b", way)]
    return ", ".join(f"{name} {getattr(config, name)}" for name in named) or None


@dataclass(frozen=True)
class Fit:
    """What the network takes.

    Attributes
    ----------
    weights : number of them. weight_bits : of each, on average, as the recipe codes them.
    image_bytes : of commands, weights and parameters in DRAM. window_bytes : of DRAM altogether, tensors included.
    in_parts : layers that do not fit the activation memories as a whole, with the number of their parts.
    warnings : fields of the configuration that are so small that they cost many cycles.
    """
    weights: int
    weight_bits: float
    image_bytes: int
    window_bytes: int
    in_parts: dict[str, int]
    warnings: list[str]


@dataclass(frozen=True)
class Layer:
    """One layer: multiply-accumulates, cycles of the cycle model and share of the array that they use."""
    name: str
    macs: int
    cycles: int
    utilisation: float


@dataclass(frozen=True)
class Performance:
    """Of one image after the other (batch 1, one in flight), without the ``host``'s part."""
    cycles: int
    clock_mhz: float | None
    fps: float | None
    macs: int
    layers: list[Layer]
    host: list[str]
    error: str
    batch: int = 1
    images_in_flight: int = 1


@dataclass(frozen=True)
class Risk:
    """What may cost accuracy, and why; ``layers`` are those that it is about, empty for the network."""
    kind: str
    layers: list[str]
    reason: str


@dataclass(frozen=True)
class Rounding:
    """Where the network of a quantized file is not what the file says.

    Attributes
    ----------
    layer : None for the model as a whole. place : in the file.
    share, most : of all sums that the layer can have, those whose code differs, and the largest difference in codes.
    reason : as a sentence.
    """
    layer: str | None
    place: str | None
    share: float
    most: int
    reason: str

    @classmethod
    def of(cls, where: str, share: float, most: int, text: str) -> "Rounding":
        """Of what a message calls the layer."""
        found = _WHERE.fullmatch(where)
        layer, place = found.groups() if found else (None, None)
        return cls(layer, place, share, most, text)


@dataclass(frozen=True)
class Report:
    """Everything that :mod:`alloy.check` says. Without refusals there are ``fit`` and ``performance``."""
    model: str
    platform: str
    recipe: str
    shape: tuple[int, int, int]
    layers: int
    refused: list[Finding]
    fit: Fit | None
    performance: Performance | None
    risks: list[Risk]
    roundings: list[Rounding]
    seconds: float
    schema: int = field(default=SCHEMA, init=False)

    @property
    def accepted(self) -> bool:
        return not self.refused

    def form(self) -> dict[str, Any]:
        """For JSON."""
        values = asdict(self)
        return {"schema": values.pop("schema"), "accepted": self.accepted, **values, "shape": list(self.shape)}
