"""The resource model: memories and multipliers are counted as they are, LUTs and flip-flops are close for engines that
the fit has not seen."""

from collections import Counter
from dataclasses import replace
import json
import re
import time

import pytest

import boards
from boards.resources import FITTED, ROWS, Fit, features, left_out, memories, resources
from rtl.generate import generate
from spec.config import EngineConfig
from spec.errors import AlloyError

TABLE = json.loads(ROWS.read_text())
STORED = [row for row in TABLE if not row.get("part")]      # whole engines
OFF = {"lut": 0.08, "ff": 0.12}
SMALL = EngineConfig(name="small", ic=4, pixels=4, dsp_filters=2, lut_filters=1, act_depth=64, weight_depth=32, ports=2,
                     port_bits=32, tap_depth=20, param_depth=5, burst=8)
# Memories that are read in the same cycle cannot be in block RAM.
QUEUES = r"\.(queues|jobs|order|asked|arrived|words)|bank\d_"


def total(row, resource):
    return sum(block[resource] for block in row["blocks"].values())


@pytest.mark.parametrize("values", [
    {"tables": 2, "lut_filters": 0}, {"out_pixels": 2, "queue_depth": 3, "dsp_filters": 0, "act_ram": "ultra"}])
def test_memories_are_those_of_the_verilog(values):
    """Words and bits of every memory that may be in block RAM; equal modules are written once."""
    config, found, module = replace(SMALL, **values), set(), ""
    for line in "\n".join(generate(config).values()).splitlines():
        if line.startswith("module "):
            module = line
        elif (match := re.match(r" +reg \[(\d+):0\] \S+ \[(\d+):0\];", line)) and not re.search(QUEUES, module + line):
            found.add((re.match(r"module \\?alloy_([a-z]+)", module)[1], int(match[2]) + 1, int(match[1]) + 1))
    assert found == {(memory.block, memory.shape.depth, memory.shape.width) for memory in memories(config)}


@pytest.mark.parametrize("row", STORED, ids=lambda row: row["config"]["name"])
def test_multipliers_and_memories_are_exact(row):
    found = resources(EngineConfig.from_dict(row["config"]), row["family"])
    for resource in ("dsp", "bram36", "uram"):
        assert found[resource] == total(row, resource), resource


def test_engines_that_the_fit_has_not_seen():
    """The kind: weights that only repeat what they were fitted to."""
    for name, errors in left_out(TABLE):
        assert all(abs(errors[resource]) <= OFF[resource] for resource in FITTED), (name, errors)


def test_boards():
    """All boards fit by the model, but for what it is off; an answer takes milliseconds."""
    began = time.process_time()
    for board in boards.BOARDS.values():
        found = resources(board.config, board.family)
        assert not [name for name, used, limit in board.over(found) if used > limit * (1 + OFF.get(name, 0))]
    resources(SMALL, "xcup")        # the fit is made once
    began = time.process_time()
    for depth in range(100, 200):
        resources(replace(SMALL, act_depth=depth), "xcup")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("more", [{"ic": 8}, {"pixels": 8}, {"dsp_filters": 4}, {"lut_filters": 2}, {"ports": 4},
                                  {"out_pixels": 2}, {"act_digit_bits": 6}])
def test_more_takes_more(more):
    small, large = (resources(config, "xc7") for config in (replace(SMALL, act_digit_bits=4),
                                                            replace(SMALL, **{"act_digit_bits": 4, **more})))
    assert all(large[name] > small[name] for name in FITTED)


def test_counts_by_hand():
    """Two slices for each requantizer, four products for each slice of the array; a byte of nine bits holds eight."""
    config = EngineConfig(name="hand", ic=16, pixels=4, dsp_filters=4, lut_filters=2, act_depth=1024, weight_depth=512)
    found = resources(config, "xcup")
    assert found["dsp"] == 4 * 4 * 16 // 4 + 2 * 6
    # 1024 words of 16 bytes, four in each RAM; 512 words of 128 and of 64 bits; parameters, taps for two readers, words
    # of commands, four ports.
    assert found["bram36"] == 2 * 4 * 4 + 2 * 2 + 2 * 1 + 2 + 2 * 2 + 2 + 4 * 2
    assert resources(replace(config, act_ram="ultra"), "xcup")["uram"] == 2 * 4 * 2
    assert Counter(memory.block for memory in memories(config))["codetable"] == 0


def test_refused():
    with pytest.raises(AlloyError, match="no resource model for the family 'ecp5': choose xc7, xcup"):
        resources(SMALL, "ecp5")
    row = json.loads(json.dumps(STORED[0]))
    row["blocks"]["poolunit2"] = row["blocks"].pop("pool")
    with pytest.raises(AlloyError, match="have a block poolunit2 that it does not know: describe it in boards"):
        Fit.of([row])
    assert "pool" in features(SMALL, "xc7")
