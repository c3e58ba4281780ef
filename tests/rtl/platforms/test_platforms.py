"""Projects for boards: pins and parts of what Amaranth makes of a system around a small engine."""

import pytest

import boards
from rtl.platforms import PLATFORMS, platform
from rtl.system import System, Top
from spec.errors import AlloyError
from tests.rtl.test_build import TINY, generated

# Wires of the UART, and the light.
PINS = {"zcu102": ("E13", "F13", "AG14"), "kv260": ("H12", "E10", None), "pynq-z2": ("Y18", "Y19", "R14"),
        "arty-a7-35": ("A9", "D10", "H5"), "arty-a7-100": ("A9", "D10", "H5"), "arty-z7-20": ("Y18", "Y19", "R14"),
        "ulx3s": ("M1", "L4", "B2"), "ecpix5": ("R26", "R24", None)}


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_project(name):
    """It is complete: the engine's Verilog, a top around it, pins, part; and our boards' parts are those of the same
    name."""
    made = platform(name)
    made.add_file("alloy.v", generated(TINY)["alloy.v"])
    plan = made.build(Top(System(TINY, memory_bytes=4096, clock_hz=50e6, baud=1_000_000)), do_build=False)
    files = {at: text if isinstance(text, str) else text.decode() for at, text in plan.files.items()}
    open_tools = "top.lpf" in files
    constraints = files["top.lpf" if open_tools else "top.xdc"]
    for net, pin in zip(("uart_0__rx__io", "uart_0__tx__io", "led_0__io"), PINS[name], strict=True):
        assert (net in constraints) == (pin is not None)
        assert pin is None or (f'COMP "{net}" SITE "{pin}"' if open_tools else f'LOC {pin} [get_ports "{net}"]'
                               ) in constraints
    assert "module alloy(" in files["alloy.v"] and "alloy" in files["top.il" if open_tools else "top.v"]
    if name in boards.BOARDS and not open_tools:
        assert f"-part {boards.get(name).part}\n" in files["top.tcl"]
    if open_tools:
        assert "EHXPLLL" in files["top.il"] and "FREQUENCY NET" in constraints


def test_what_is_not_there(monkeypatch):
    with pytest.raises(AlloyError, match="there is no platform 'zc706' with pins: choose zcu102, kv260, pynq-z2"):
        platform("zc706")
    monkeypatch.setitem(PLATFORMS, "ulx3s", ("nothing_like_amaranth_boards", "X"))
    with pytest.raises(AlloyError, match="the pins of ulx3s are in amaranth-boards: pip install amaranth-boards"):
        platform("ulx3s")
