"""Boards: lookup, arithmetic check and limits."""

from dataclasses import replace

import pytest

import boards
from compiler.explore.propose import source
from spec.config import EngineConfig
from spec.errors import AlloyError

NAMES = ("zcu102", "pynq-z2", "kv260", "zc706", "zu15eg")


def test_all_boards_are_listed():
    assert tuple(boards.BOARDS) == NAMES


def test_unknown_board_lists_the_choices():
    with pytest.raises(AlloyError, match=f"no platform 'zcu103': choose {', '.join(NAMES)}, or a file"):
        boards.get("zcu103")


def test_a_board_of_ones_own(tmp_path):
    """A file anywhere; what is written for a part is one, too."""
    path = tmp_path / "mine.py"
    path.write_text("from dataclasses import replace\nimport boards\n"
                    "BOARD = replace(boards.get('pynq-z2'), name='mine', clock_mhz=80)\n")
    assert boards.get(str(path)) == replace(boards.get("pynq-z2"), name="mine", clock_mhz=80)
    board = boards.of_part("xc7a100tcsg324-1", dram_gbs=2.5)
    path.write_text(source(board))
    assert boards.get(str(path)) == board


@pytest.mark.parametrize("text, said", [
    (None, "there is no file .*mine.py of a board: give one, or choose zcu102"),
    ("BOARD = 3", "mine.py has no board: give a boards.Board the name BOARD in it"),
    ("import nothing_like_this", "cannot be read as a board .ModuleNotFoundError"),
    ("BOARD =", "cannot be read as a board .SyntaxError"),
    ("import boards; from dataclasses import replace\nBOARD = replace(boards.get('zc706'), family='ice40')",
     "mine.py: there is no family of parts 'ice40'")])
def test_a_board_that_is_none(tmp_path, text, said):
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    with pytest.raises(AlloyError, match=said):
        boards.get(str(tmp_path / "mine.py"))


@pytest.mark.parametrize("change, said", [
    ({"name": "a/b"}, "the name of a board is 'a/b'"), ({"name": ".."}, "the name of a board is '..'"),
    ({"budget": {"lut": 3}}, "the budget of zc706 is {'lut': 3}: give the number of each of lut, ff"),
    ({"clock_mhz": 0}, "clock and DRAM of zc706 are 0 MHz and 4.3 GB/s: give more than 0"),
    ({"processor": "arm"}, "the processor of zc706 is 'arm': choose processing_system7, zynq_ultra_ps_e or None")])
def test_boards_check_what_they_are_given(change, said):
    with pytest.raises(AlloyError, match=said):
        replace(boards.get("zc706"), **change)


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_those_of_the_boards(name):
    """Two tables that say the same; what fits beside it is sensible."""
    board = boards.get(name)
    found = boards.of_part(board.part.split("-")[0] if name == "kv260" else board.part)
    assert found.budget == board.budget and found.family == board.family and found.processor == board.processor
    assert found.config.dsp_device == board.config.dsp_device and found.config.port_bits == board.config.port_bits


def test_parts():
    for name in boards.PARTS:
        board = boards.of_part(name)
        assert board.name == name and board.config.name == name and board.clock_mhz in (100, 150)
    board = boards.of_part("XC7A15TFTG256-1", clock_mhz=90, dram_gbs=2)
    assert (board.name, board.part, board.clock_mhz, board.dram_gbs) == ("xc7a15t", "XC7A15TFTG256-1", 90, 2)
    for name in ("xc7a", "xc9a100t", "xczu91", ""):
        with pytest.raises(AlloyError, match=f"there is no part '{name}' among those that are known: choose xc7s6, "):
            boards.of_part(name)


@pytest.mark.parametrize("name", NAMES)
def test_default_configuration(name):
    board = boards.get(name)
    assert board.name == board.config.name == name
    assert EngineConfig.from_dict(board.config.to_dict()) == board.config
    board.check(board.config)
    assert set(board.budget) == {"lut", "ff", "dsp", "bram36", "uram"}
    memory = board.memory(board.config)
    assert 0 < memory["bytes_per_cycle"] <= min(board.config.port_bytes, memory["all_bytes_per_cycle"])


def test_memory():
    """A port's width each, and three quarters of the peak together."""
    zcu102, pynq = boards.get("zcu102"), boards.get("pynq-z2")
    assert zcu102.memory(zcu102.config) == {"bytes_per_cycle": 16, "all_bytes_per_cycle": 96, "latency": 60}
    of_pynq = pynq.memory(pynq.config)      # of 2.1 GB/s at 100 MHz
    assert of_pynq["bytes_per_cycle"] == 8 and of_pynq["all_bytes_per_cycle"] == pytest.approx(15.75)


@pytest.mark.parametrize("change, text", [
    ({"dsp_filters": 32, "row_taps": 1},
     r"needs 4416 dsp and zcu102 gives at most 2444 \(97% of 2520\): reduce dsp_filters"),
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
