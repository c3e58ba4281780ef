"""Shapes of memories: cases by hand. That the engine's memories have them is in the tests of the resource model."""

import pytest

from spec import memories
from spec.config import EngineConfig
from spec.memories import Shape


def configuration(**values):
    return EngineConfig(**{**dict(name="memories", ic=8, pixels=16, dsp_filters=4, lut_filters=2, acc_width=22,
                                  act_depth=100, param_depth=5, tap_depth=9, queue_depth=3, port_bits=64, burst=16,
                                  outstanding=4, tables=2), **values})


def test_shapes():
    """Codes of 8 channels; 6 records of 128 bits for each group of parameters; 4 of 256 codes in a word of a table;
    3 commands without what the feeder alone reads; 16 k-steps of two pixels of 5 bits; 16 commands of 1024
    bits; four bursts of 16 beats; two bursts, with eight strobes in each beat."""
    config = configuration()
    assert memories.bank(config) == Shape(100, 64)
    assert memories.params(config) == Shape(30, 128) and memories.taps(config) == Shape(9, 128)
    assert memories.table(config) == Shape(128, 32, "block") and memories.table(configuration(tables=0)).depth == 0
    assert memories.commands(config) == Shape(3, 612) and memories.fetched(config) == Shape(256, 64)
    assert memories.previous(config) == Shape(16, 80)
    assert memories.read(config) == Shape(64, 64) and memories.written(config) == Shape(32, 72)
    assert memories.stored(config) == Shape(16, 64)


def test_weights():
    """Nibbles of all channels."""
    config = configuration(weight_depth=20)
    assert memories.weights(config, 2) == Shape(20, 64) and memories.weights(config, config.slots).width == 192


@pytest.mark.parametrize("act_ram, ram", [("block", "any"), ("ultra", "ultra")])
def test_synthesis_never_chooses_ultra_ram(act_ram, ram):
    assert memories.bank(configuration(act_ram=act_ram)).ram == ram


@pytest.mark.parametrize("out_pixels", [1, 2, 4])
def test_the_parts_of_an_entry_are_as_wide_as_it(out_pixels):
    """Two columns in each part, of as many rows as the entry has."""
    config = configuration(out_pixels=out_pixels)
    found, whole = memories.row_parts(config), memories.rows(config)
    assert sum(part.width for part, _ in found) == whole.width and {part.depth for part, _ in found} == {whole.depth}
    assert {part.ram for part, _ in found} == {whole.ram} and (len(found) > 1) == (out_pixels > 1)


@pytest.mark.parametrize("out_pixels, shape", [
    (1, Shape(5 * 4, 2 * 6 * 22)), (2, Shape(8 * 4, 2 * 6 * 22, "block")),
    (4, Shape(32, 2 * 6 * 22, "block"))])
def test_rows(out_pixels, shape):
    """Eight rows: two chains of five tiles, which come 20 cycles after their last steps; two chains of eight tiles;
    eight chains of 32."""
    assert memories.rows(configuration(out_pixels=out_pixels)) == shape
