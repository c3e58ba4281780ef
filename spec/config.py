"""Configuration of one engine: frozen dataclasses with checks, JSON form and digest."""

from dataclasses import asdict, dataclass
from hashlib import sha256
import json
import os
from typing import Any

from .commands import LAYOUT
from .devices import MULTIPLIERS
from .errors import AlloyError
from .files import read_json
from .records import check_types, from_values
from .rows import ROW_TAPS, enough
from .tables import html

__all__ = ["EngineConfig", "ACT_RAMS", "BOUNDARY", "DSP_DEVICES", "LUT_FORMS", "PORT_BITS", "leaves"]

DSP_DEVICES = tuple(MULTIPLIERS)
LUT_FORMS = ("shift_add", "product_lookup")
ACT_RAMS = ("block", "ultra")
PORT_BITS = (32, 64, 128, 256)
BOUNDARY = 4096         # bytes: no burst crosses a multiple of it (IHI 0022, A3.4.1)
READ_BEATS = 512        # that a read port holds: one column of 36-kbit block RAMs


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Everything that shapes the generated hardware.

    Attributes
    ----------
    ic : input channels per vector; one k-step of the array is one dot product over ``ic`` channels.
    pixels : pixel lanes, even; also the number of banks of each activation memory.
    dsp_filters : filter slots on packed DSP multipliers, even, may be 0.
    lut_filters : filter slots on LUT columns, may be 0.
    act_digit_bits : bits of one activation digit; codes of up to twice that many bits take two pixel lanes.
    acc_width : bits of the array's accumulators, signed.
    dsp_device : body of the packed multiplier.
    portable_dsp : use the portable body (plain operators) whatever the device; the packing stays the device's.
    lut_form : form of the LUT column, ``shift_add`` or ``product_lookup``.
    act_depth : words per bank of each of the two activation memories.
    act_ram : what these are made of: ``block`` RAM, or ``ultra`` RAM where the device has it (UltraScale+).
    out_pixels : pixels of a row that leave the array, and that post and pool unit read and write, in each cycle: 1, or
        an even number whose square divides ``pixels``.
    row_taps : taps in a row of the kernel that filters of one channel each (depthwise) meet in one k-step, up to 3;
        1: the array has no wires for that. Each slot needs a channel of its own (:func:`spec.rows.lane`).
    weight_depth : k-words of the weight buffer (the compiler splits it into regions).
    param_depth : parameter records per filter slot that fit on chip (regions as well).
    tap_depth : entries of the tap table.
    tables : tables of 256 codes behind the requantizers (levels that are not uniform); 0: none.
    decode_lanes : coded weights (:mod:`spec.coding`) decoded in each cycle, 0: all weights are stored plainly.
    ports : AXI4 read ports: weights use all of them, records the second, commands the first, activations the last.
    act_ports : of these that load activations, at most; as many as fill a channel group in each cycle are enough.
    port_bits : data width of each AXI4 port.
    addr_bits : bits of a DRAM address.
    burst : beats of the longest AXI4 burst.
    outstanding : bursts in flight on each read port.
    queue_depth : commands that each of the three queues holds.
    """
    name: str
    ic: int
    pixels: int
    dsp_filters: int
    lut_filters: int
    act_digit_bits: int = 5
    acc_width: int = 22
    dsp_device: str = "dsp48e2"
    portable_dsp: bool = False
    lut_form: str = "shift_add"
    act_depth: int = 1024
    act_ram: str = "block"
    out_pixels: int = 1
    row_taps: int = 1
    weight_depth: int = 512
    param_depth: int = 16
    tap_depth: int = 128
    tables: int = 0
    decode_lanes: int = 0
    ports: int = 4
    act_ports: int = 4
    port_bits: int = 128
    addr_bits: int = 40
    burst: int = 16
    outstanding: int = 8
    queue_depth: int = 4

    def __post_init__(self):
        check_types(self, "configuration")
        name = self.name
        if not name.strip(" .") or not name.isprintable() or set(name) & set("/\\"):
            raise AlloyError(f"configuration name is {name!r}: give a name of printable characters that is no path")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise AlloyError(f"configuration {name} is {value}: it must be {low} to {high}")
        for name in ("pixels", "dsp_filters"):
            if getattr(self, name) % 2:
                raise AlloyError(f"configuration {name} is {getattr(self, name)}: it must be even")
        if not leaves(self.out_pixels, self.pixels):
            raise AlloyError(f"configuration out_pixels is {self.out_pixels} of {self.pixels} pixels: it must be 1 or "
                             "an even number whose square divides pixels")
        if self.slots == 0:
            raise AlloyError("the configuration has no filter slots: give dsp_filters or lut_filters")
        if not enough(self.row_taps, self.ic, self.dsp_filters, self.lut_filters):
            raise AlloyError(f"configuration row_taps is {self.row_taps} of {self.slots} filter slots and {self.ic} "
                             "channels: each slot needs one of its own, and each column of slots row_taps for each of "
                             "its slots; give 1, or raise ic")
        if self.dsp_device not in DSP_DEVICES:
            raise AlloyError(f"configuration dsp_device is {self.dsp_device!r}: choose {', '.join(DSP_DEVICES)}")
        if self.lut_form not in LUT_FORMS:
            raise AlloyError(f"configuration lut_form is {self.lut_form!r}: choose {', '.join(LUT_FORMS)}")
        if self.act_ram not in ACT_RAMS:
            raise AlloyError(f"configuration act_ram is {self.act_ram!r}: choose {', '.join(ACT_RAMS)}")
        if self.port_bits not in PORT_BITS:
            raise AlloyError(f"configuration port_bits is {self.port_bits}: choose 32, 64, 128 or 256")
        if self.burst & (self.burst - 1):
            raise AlloyError(f"configuration burst is {self.burst}: it must be a power of two")
        wide = self.wide_bytes
        if self.decode_lanes and (8 * wide % self.decode_lanes or not 2 <= self.decode_width <= 32):
            raise AlloyError(f"configuration decode_lanes is {self.decode_lanes}: give a divisor of {8 * wide} from "
                             f"{wide // 4} to {wide * 4}, so that each lane has 2 to 32 bits of a beat, or 0")

    @property
    def slots(self) -> int:
        """Filter slots; 0..dsp_filters-1 are DSP slots (pairs 2p, 2p+1 share slices), the rest LUT slots."""
        return self.dsp_filters + self.lut_filters

    @property
    def joined_width(self) -> int:
        """Bits of the sum of two pixel digits, signed: what a requantizer multiplies."""
        return MULTIPLIERS[self.dsp_device].joined

    @property
    def port_bytes(self) -> int:
        """Bytes of one beat of one port."""
        return self.port_bits // 8

    @property
    def burst_beats(self) -> int:
        """Beats of the longest burst: bursts are cut at multiples of it, so :data:`BOUNDARY` needs no further care."""
        return min(self.burst, BOUNDARY // self.port_bytes)

    @property
    def read_beats(self) -> int:
        """Beats that a read port holds or has on the way: all its bursts up to READ_BEATS, at least two bursts."""
        return max(2 * self.burst_beats, min(READ_BEATS, self.outstanding * self.burst_beats))

    @property
    def beat_bits(self) -> int:
        """Bits of the beats of one request: the longest weight stream and the longest activation row fit."""
        weights = 16 + self.weight_beats.bit_length()
        row = (self.pixels * self.act_depth).bit_length() + self.group_beats.bit_length()
        return max(20, weights, row)

    @property
    def act_group_bytes(self) -> int:
        """DRAM bytes of one pixel's ``ic`` channels, rounded up to whole beats of a port."""
        return -(-self.ic // self.port_bytes) * self.port_bytes

    @property
    def group_beats(self) -> int:
        """Beats of one port for one pixel's ``ic`` channels."""
        return self.act_group_bytes // self.port_bytes

    @property
    def act_lanes(self) -> int:
        """Ports that load rows of activations side by side: as many as fill one channel group in each cycle, if there
        are so many."""
        return min(self.ports, self.group_beats, self.act_ports)

    @property
    def image_lanes(self) -> int:
        """Of these, those that load the rows of an image in turn; a pair of rows needs two."""
        return min(2, self.act_lanes)

    @property
    def record_port(self) -> int:
        """Port that loads records: not that of the commands, if there is another."""
        return min(1, self.ports - 1)

    @property
    def wide_bytes(self) -> int:
        """Bytes of one beat over all ports together."""
        return self.ports * self.port_bytes

    @property
    def weight_beats(self) -> int:
        """Wide beats of one k-word (``slots * ic`` nibbles, padded)."""
        return -(-self.slots * self.ic // (2 * self.wide_bytes))

    @property
    def decode_width(self) -> int:
        """Bits of each decoding lane in a wide beat, 0 if there is none."""
        return 8 * self.wide_bytes // self.decode_lanes if self.decode_lanes else 0

    @property
    def decode_steps(self) -> int:
        """Steps of all lanes for one k-word, 0 if there is none."""
        return -(-self.slots * self.ic // self.decode_lanes) if self.decode_lanes else 0

    @property
    def macs_dsp(self) -> int:
        """Products of one k-step on DSP columns."""
        return self.pixels * self.dsp_filters * self.ic

    @property
    def macs_lut(self) -> int:
        """Products of one k-step on LUT columns."""
        return self.pixels * self.lut_filters * self.ic

    def to_dict(self) -> dict:
        """All fields by name."""
        return asdict(self)

    def facts(self) -> list[tuple[str, str]]:
        """What there is to know of it, as (name, value) for people."""
        size = self.act_depth * self.ic * self.pixels // 1024
        return [("configuration", self.name), ("digest", self.digest),
                ("MACs per cycle", f"{self.macs_dsp:,} in DSPs, {self.macs_lut:,} in LUTs"),
                ("filter slots", f"{self.dsp_filters} DSP, {self.lut_filters} LUT"),
                ("pixels x channels", f"{self.pixels} x {self.ic}"),
                ("activation memories", f"2 of {size:,} KiB"),
                ("memory ports", f"{self.ports} of {self.port_bits} bits")]

    def _repr_html_(self) -> str:
        return html("EngineConfig", self.facts())

    @property
    def digest(self) -> str:
        """First 8 hex digits of the SHA-256 of all but the name, in canonical JSON, and of the layout of commands.

        A register of the engine, and in the START of every program.
        """
        values = {name: value for name, value in self.to_dict().items() if name != "name"}
        text = json.dumps(values, sort_keys=True, separators=(",", ":")) + LAYOUT
        return sha256(text.encode()).hexdigest()[:8]

    @property
    def digest_word(self) -> int:
        """The digest as the 32-bit word that registers and programs hold."""
        return int(self.digest, 16)

    @classmethod
    def from_dict(cls, values: Any) -> "EngineConfig":
        """Build from a mapping.

        Unknown or missing keys, and a ``digest`` of another configuration, raise :class:`AlloyError`.
        """
        values = dict(values) if isinstance(values, dict) else values
        digest = values.pop("digest", None) if isinstance(values, dict) else None
        config = from_values(cls, values, "configuration")
        if digest not in (None, config.digest):
            raise AlloyError(f"the configuration says digest {digest} but has {config.digest}: it was edited or is of "
                             "another version of Alloy, remove the digest")
        return config

    @classmethod
    def load(cls, path: str | os.PathLike) -> "EngineConfig":
        """Read a JSON file."""
        return cls.from_dict(read_json(path, "configuration"))


def leaves(out_pixels: int, pixels: int) -> bool:
    """Whether ``out_pixels`` pixels can leave an array of ``pixels`` together: so many chains of its rows, each with so
    many pixels, or a multiple of it."""
    return out_pixels == 1 or out_pixels % 2 == 0 and pixels % out_pixels ** 2 == 0


_RANGES = (("ic", 1, 128), ("pixels", 2, 64), ("dsp_filters", 0, 128), ("lut_filters", 0, 128),
           ("act_digit_bits", 1, 8), ("acc_width", 12, 27), ("act_depth", 8, 65536), ("out_pixels", 1, 8),
           ("row_taps", 1, ROW_TAPS), ("weight_depth", 4, 65536),
           ("param_depth", 2, 1024), ("tap_depth", 4, 1024), ("tables", 0, 15), ("decode_lanes", 0, 1024),
           ("ports", 1, 8), ("act_ports", 1, 8), ("addr_bits", 32, 64), ("burst", 1, 256),
           ("outstanding", 1, 64), ("queue_depth", 1, 16))
