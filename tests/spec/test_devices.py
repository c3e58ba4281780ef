"""Families of parts: the facts hang together, what boards and configurations name is there, what is not is refused."""

from dataclasses import FrozenInstanceError
from fnmatch import fnmatchcase

import pytest

import boards
from spec import devices
from spec.config import DSP_DEVICES, EngineConfig
from spec.devices import FAMILIES, MULTIPLIERS, PROCESSORS, RESOURCES
from spec.errors import AlloyError
from spec.packing import solve


@pytest.mark.parametrize("name", MULTIPLIERS)
def test_multipliers(name):
    m = devices.multiplier(name)
    assert m.name == name and 0 < m.narrow <= m.wide < m.total
    assert m.narrow < m.joined <= m.wide + m.narrow, "a requantizer multiplies on one slice, or on two side by side"
    assert solve(name, 4).products >= 2
    config = EngineConfig(name="x", ic=1, pixels=2, dsp_filters=2, lut_filters=0, dsp_device=name)
    assert config.joined_width == m.joined
    with pytest.raises(FrozenInstanceError):
        m.wide = 1


def test_configurations_choose_among_them():
    assert DSP_DEVICES == tuple(MULTIPLIERS)


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name):
    family = devices.family(name)
    assert family.name == name and family.multiplier in MULTIPLIERS.values()
    assert {"lut", "ff", "dsp"} <= {resource for resource, _ in family.cells.values()} <= {*RESOURCES, None}
    text = "\n".join(family.steps)
    assert text.startswith("read_verilog {source}\n") and "times.v" in text and "adders.v" in text
    assert text.count("{mapper}") == 1 and family.area != family.delay
    # The vendor's flow goes on where it was left, and once through.
    runs = [step.split()[-1].split(":") for step in family.steps if " -run " in step]
    assert [start for start, _ in runs[1:]] == [end for _, end in runs[:-1]] and runs[0][0] == "begin"
    # Paths end at what keeps a value, so nothing that costs nothing, and no plain LUT, is among it.
    for cell, (resource, _) in family.cells.items():
        ends = any(fnmatchcase(cell, pattern) or fnmatchcase(pattern, cell) for pattern in family.state)
        assert ends == (resource in ("ff", "dsp", "bram36", "uram") or cell.startswith(("SRL", "RAM"))), cell


@pytest.mark.parametrize("name", PROCESSORS)
def test_processors(name):
    """Every port to DRAM has pins and settings of its own, and memory behind it."""
    processor = PROCESSORS[name]
    assert processor.core == name and "{preset}" in processor.automation and processor.base % 4096 == 0
    pins = [processor.clock, processor.reset, processor.interrupt, processor.control, processor.control_clock]
    for port in processor.memory:
        pins += [port.interface, port.clock, port.use, port.width, *port.segments, *port.others]
        assert port.segments
    assert len(set(pins)) == len(pins) and processor.mhz not in processor.settings


def test_boards_name_families():
    assert {board.family for board in boards.BOARDS.values()} <= set(FAMILIES)
    for board in boards.BOARDS.values():
        assert board.config.dsp_device == FAMILIES[board.family].multiplier.name and set(board.budget) == set(RESOURCES)


def test_what_is_not_there():
    with pytest.raises(AlloyError, match="there is no multiplier 'dsp58': choose dsp48e2, dsp48e1"):
        devices.multiplier("dsp58")
    with pytest.raises(AlloyError, match="there is no family of parts 'ice40': choose xcup, xc7"):
        devices.family("ice40")
