"""Boards as Amaranth's platforms: pins and clocks. Those that amaranth-boards does not have are files beside this one,
of the same form."""

from importlib import import_module

from amaranth.build import Platform

from spec.errors import AlloyError

__all__ = ["PLATFORMS", "platform"]

# Name -> module and class.
PLATFORMS = {
    "zcu102": ("rtl.platforms.zcu102", "ZCU102Platform"), "kv260": ("rtl.platforms.kv260", "KV260Platform"),
    "pynq-z2": ("rtl.platforms.pynq_z2", "PYNQZ2Platform"),
    "arty-a7-35": ("amaranth_boards.arty_a7", "ArtyA7_35Platform"),
    "arty-a7-100": ("amaranth_boards.arty_a7", "ArtyA7_100Platform"),
    "arty-z7-20": ("amaranth_boards.arty_z7", "ArtyZ720Platform"),
    "ulx3s": ("amaranth_boards.ulx3s", "ULX3S_85F_Platform"), "ecpix5": ("amaranth_boards.ecpix5", "ECPIX585Platform"),
}


def platform(name: str) -> Platform:
    """The platform called ``name``, a new one; :class:`AlloyError` lists the choices."""
    if name not in PLATFORMS:
        raise AlloyError(f"there is no platform {name!r} with pins: choose {', '.join(PLATFORMS)}")
    module, made = PLATFORMS[name]
    try:
        return getattr(import_module(module), made)()
    except ModuleNotFoundError:
        raise AlloyError(f"the pins of {name} are in amaranth-boards: pip install amaranth-boards") from None
