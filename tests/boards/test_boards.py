"""Boards: lookup, arithmetic check and limits."""

from dataclasses import replace

import pytest

import boards
from spec.config import EngineConfig
from spec.errors import AlloyError

NAMES = ("zcu102", "pynq-z2", "kv260", "zc706", "zu15eg")


def test_all_boards_are_listed():
    assert tuple(boards.BOARDS) == NAMES


def test_unknown_board_lists_the_choices():
    with pytest.raises(AlloyError, match=f"no platform 'zcu103': choose {', '.join(NAMES)}"):
        boards.get("zcu103")


@pytest.mark.parametrize("name", NAMES)
def test_default_configuration(name):
    board = boards.get(name)
    assert board.name == board.config.name == name
    assert EngineConfig.from_dict(board.config.to_dict()) == board.config
    board.check(board.config)
    assert set(board.budget) == {"lut", "ff", "dsp", "bram36", "uram"}
    assert 0 < board.bytes_per_cycle(board.config) <= board.config.port_bytes


def test_bytes_per_cycle():
    zcu102, pynq = boards.get("zcu102"), boards.get("pynq-z2")
    assert zcu102.bytes_per_cycle(zcu102.config) == 16      # the port's width, and three quarters of 19.2 GB/s
    assert pynq.bytes_per_cycle(pynq.config) == pytest.approx(3.94, abs=0.01)     # of 2.1 GB/s at 100 MHz over four


@pytest.mark.parametrize("change, text", [
    ({"dsp_filters": 32}, r"needs 4416 dsp and zcu102 gives at most 2444 \(97% of 2520\): reduce dsp_filters"),
    ({"act_depth": 16384}, r"bram36 and zcu102 gives at most 820 \(90% of 912\): reduce act_depth"),
    ({"act_ram": "ultra"}, "of ultra RAM and zcu102 has none: set act_ram to block"),
    ({"dsp_device": "dsp48e1"}, "zcu102 has dsp48e2: set dsp_device to dsp48e2"),
])
def test_check_names_the_way_out(change, text):
    board = boards.get("zcu102")
    with pytest.raises(AlloyError, match=text):
        board.check(replace(board.config, **change))


@pytest.mark.parametrize("resource, share", [("lut", 0.80), ("ff", 0.90), ("dsp", 0.97), ("bram36", 0.90)])
def test_limits(resource, share):
    board = boards.get("zcu102")
    limit = int(share * board.budget[resource])
    assert not board.over({resource: limit})
    assert board.over({resource: limit + 1}) == [(resource, limit + 1, limit)]
    with pytest.raises(AlloyError, match=f"needs {limit + 1} {resource}"):
        board.refuse({resource: limit + 1})


def test_ultra_ram_is_no_block_ram():
    board = boards.get("kv260")
    board.check(board.config)
    with pytest.raises(AlloyError, match="bram36 and kv260 gives at most 129"):
        board.check(replace(board.config, act_ram="block"))


def test_uram_of_a_board_without():
    board = boards.get("zcu102")
    assert not board.over({"uram": 0})
    assert board.over({"uram": 1})
