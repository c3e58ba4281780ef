"""Parts of AMD by name, as boards without anything around them (DS180, DS190, DS891, DS922, DS987)."""

from spec import devices
from spec.config import EngineConfig
from spec.errors import AlloyError

from .board import Board

__all__ = ["PARTS", "of_part"]

# LUTs, DSPs, block RAMs of 36 kbit, ultra RAMs; each LUT has two flip-flops beside it.
PARTS = {
    "xc7s6": (3_752, 10, 5, 0), "xc7s15": (8_000, 20, 10, 0), "xc7s25": (14_600, 80, 45, 0),
    "xc7s50": (32_600, 120, 75, 0), "xc7s75": (48_000, 140, 90, 0), "xc7s100": (64_000, 160, 120, 0),
    "xc7a12t": (8_000, 40, 20, 0), "xc7a15t": (10_400, 45, 25, 0), "xc7a25t": (14_600, 80, 45, 0),
    "xc7a35t": (20_800, 90, 50, 0), "xc7a50t": (32_600, 120, 75, 0), "xc7a75t": (47_200, 180, 105, 0),
    "xc7a100t": (63_400, 240, 135, 0), "xc7a200t": (134_600, 740, 365, 0),
    "xc7k70t": (41_000, 240, 135, 0), "xc7k160t": (101_400, 600, 325, 0), "xc7k325t": (203_800, 840, 445, 0),
    "xc7k355t": (222_600, 1_440, 715, 0), "xc7k410t": (254_200, 1_540, 795, 0), "xc7k420t": (260_600, 1_680, 835, 0),
    "xc7k480t": (298_600, 1_920, 955, 0),
    "xc7z007s": (14_400, 66, 50, 0), "xc7z010": (17_600, 80, 60, 0), "xc7z012s": (34_400, 120, 72, 0),
    "xc7z014s": (40_600, 170, 107, 0), "xc7z015": (46_200, 160, 95, 0), "xc7z020": (53_200, 220, 140, 0),
    "xc7z030": (78_600, 400, 265, 0), "xc7z035": (171_900, 900, 500, 0), "xc7z045": (218_600, 900, 545, 0),
    "xc7z100": (277_400, 2_020, 755, 0),
    "xczu2": (47_232, 240, 150, 0), "xczu3": (70_560, 360, 216, 0), "xczu4": (87_840, 728, 128, 48),
    "xczu5": (117_120, 1_248, 144, 64), "xczu6": (214_604, 1_973, 714, 0), "xczu7": (230_400, 1_728, 312, 96),
    "xczu9": (274_080, 2_520, 912, 0), "xczu11": (298_560, 2_928, 600, 80), "xczu15": (341_280, 3_528, 744, 112),
    "xczu17": (423_403, 1_590, 796, 102), "xczu19": (522_720, 1_968, 984, 128), "xck26": (117_120, 1_248, 144, 64),
    "xcku3p": (162_720, 1_368, 360, 48), "xcku5p": (216_960, 1_824, 480, 64),
}
# Beginning of a name -> family, clock, processor, memory ports and their bits, GB/s: those of our boards where there is
# a processor, else one controller in the fabric beside 16 bits of DDR3, or 64 of DDR4.
KINDS = {
    "xc7z": ("xc7", 100, devices.ZYNQ.core, 4, 64, 2.1), "xc7": ("xc7", 100, None, 1, 128, 1.3),
    "xczu": ("xcup", 150, devices.ZYNQ_MPSOC.core, 4, 128, 19.2),
    "xck26": ("xcup", 150, devices.ZYNQ_MPSOC.core, 4, 128, 19.2), "xcku": ("xcup", 150, None, 1, 256, 19.2),
}


def of_part(name: str, clock_mhz: int | None = None, dram_gbs: float | None = None) -> Board:
    """A board of nothing but a part, called as the vendor does, with or without package and speed; a small engine.

    Without ``clock_mhz`` and ``dram_gbs`` those of boards with such parts are taken.
    """
    found = max((one for one in PARTS if _is(name.lower(), one)), key=len, default=None)
    if found is None:
        raise AlloyError(f"there is no part {name!r} among those that are known: choose {', '.join(PARTS)}")
    family, clock, processor, ports, bits, gbs = KINDS[max(filter(found.startswith, KINDS), key=len)]
    lut, dsp, bram36, uram = PARTS[found]
    engine = EngineConfig(
        name=found, ic=4, pixels=2, dsp_filters=2, lut_filters=1, act_depth=64, weight_depth=64, tables=2, ports=ports,
        port_bits=bits, dsp_device=devices.family(family).multiplier.name, addr_bits=32 if family == "xc7" else 40)
    return Board(
        name=found, part=name, family=family, processor=processor, clock_mhz=clock if clock_mhz is None else clock_mhz,
        dram_gbs=gbs if dram_gbs is None else dram_gbs, config=engine,
        budget={"lut": lut, "ff": 2 * lut, "dsp": dsp, "bram36": bram36, "uram": uram})


def _is(name, part):
    """Whether a name is that of a part, with anything but another digit behind it."""
    return name.startswith(part) and not name[len(part):len(part) + 1].isdigit()
