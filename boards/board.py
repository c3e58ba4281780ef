"""What the flow needs to know about a board."""

from dataclasses import dataclass
from typing import TypedDict

from spec import devices
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.tables import html, short

from .resources import multipliers, rams

__all__ = ["Board", "Dram", "LIMITS"]

# Largest share of the budget at which a design counts as fitting.
LIMITS = {"lut": 0.80, "ff": 0.90, "dsp": 0.97, "bram36": 0.90, "uram": 1.00}
DRAM_SHARE = 0.75       # of the peak bandwidth: the rest goes into refreshes, turns of the bus and rows that are opened


class Dram(TypedDict):
    """The DRAM as simulator and cycle model take it: bytes that a port gets in each cycle, at most its width, and all
    ports together; cycles from a read's address to its data."""
    bytes_per_cycle: float
    all_bytes_per_cycle: float
    latency: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Board:
    """A board.

    Attributes
    ----------
    part : as its vendor's tools call it. family : one of :data:`spec.devices.FAMILIES`.
    budget : number of each of :data:`spec.devices.RESOURCES` in the part.
    processor : the one beside the fabric, one of :data:`spec.devices.PROCESSORS`, or None. preset : its board in the
        vendor's board files, a pattern without the version, or None.
    clock_mhz : clock for figures. dram_gbs : peak bandwidth of the DRAM, GB/s, of which :data:`DRAM_SHARE` is assumed
        to come. latency : assumed read latency of the DRAM model, cycles.
    """
    name: str
    part: str
    family: str
    budget: dict[str, int]
    clock_mhz: int
    dram_gbs: float
    config: EngineConfig
    latency: int = 60
    processor: str | None = None
    preset: str | None = None

    def __post_init__(self):
        if not self.name or not self.name.isprintable() or set(self.name) & set("/\\{}") or self.name.strip(" .") == "":
            raise AlloyError(f"the name of a board is {self.name!r}: give printable characters that are no path")
        devices.family(self.family)
        if set(self.budget) != set(devices.RESOURCES) or not all(count >= 0 for count in self.budget.values()):
            raise AlloyError(f"the budget of {self.name} is {self.budget}: give the number of each of "
                             f"{', '.join(devices.RESOURCES)}, 0 of what the part has not")
        if self.clock_mhz <= 0 or self.dram_gbs <= 0:
            raise AlloyError(f"clock and DRAM of {self.name} are {self.clock_mhz} MHz and {self.dram_gbs} GB/s: give "
                             "more than 0")
        if self.processor is not None and self.processor not in devices.PROCESSORS:
            raise AlloyError(f"the processor of {self.name} is {self.processor!r}: choose "
                             f"{', '.join(devices.PROCESSORS)} or None")

    def facts(self) -> list[tuple[str, str]]:
        """What there is to know of it, as (name, value) for people."""
        budget = ", ".join(f"{count:,} {name}" for name, count in self.budget.items())
        return [("board", self.name), ("part", self.part), ("clock", f"{self.clock_mhz} MHz"),
                ("DRAM", f"{self.dram_gbs:g} GB/s at best"), ("resources", budget), *self.config.facts()]

    def __repr__(self) -> str:
        return short("Board", self.facts())

    def _repr_html_(self) -> str:
        return html("Board", self.facts())

    def memory(self, config: EngineConfig) -> Dram:
        """The DRAM behind an engine."""
        together = self.dram_gbs * (1e3 * DRAM_SHARE) / self.clock_mhz
        return {"bytes_per_cycle": min(config.port_bytes, together), "all_bytes_per_cycle": together,
                "latency": self.latency}

    def over(self, resources: dict[str, float]) -> list[tuple[str, float, int]]:
        """(resource, used, limit) of everything beyond its share of the budget."""
        return [(r, used, int(LIMITS[r] * self.budget[r])) for r, used in resources.items()
                if used > LIMITS[r] * self.budget[r]]

    def refuse(self, resources: dict[str, float]) -> None:
        """Raise :class:`AlloyError` for the first resource that does not fit."""
        way = {"lut": "lut_filters, dsp_filters or pixels", "ff": "pixels or ic", "dsp": "dsp_filters, pixels or ic",
               "bram36": "act_depth, weight_depth or pixels", "uram": "act_depth"}
        for resource, used, limit in self.over(resources):
            raise AlloyError(f"the configuration needs {used:g} {resource} and {self.name} gives at most {limit} "
                             f"({LIMITS[resource]:.0%} of {self.budget[resource]}): reduce {way[resource]}")

    def check(self, config: EngineConfig) -> None:
        """Check before synthesis: the multiplier is the board's; multipliers and memories fit (:mod:`.resources`)."""
        device = devices.family(self.family).multiplier.name
        if config.dsp_device != device and not config.portable_dsp:
            raise AlloyError(f"the configuration is for {config.dsp_device} and {self.name} has {device}: "
                             f"set dsp_device to {device}")
        if config.act_ram == "ultra" and not self.budget["uram"]:
            raise AlloyError(f"the configuration has activation memories of ultra RAM and {self.name} has none: set "
                             "act_ram to block")
        self.refuse({"dsp": multipliers(config), **rams(config, self.family)})
