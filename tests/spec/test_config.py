"""The configuration: each refusal with its words, derived values, digest and JSON form."""

from dataclasses import fields, replace
import json

import pytest

from spec.config import _RANGES, ACT_RAMS, DSP_DEVICES, LUT_FORMS, EngineConfig
from spec.errors import AlloyError

GOOD = EngineConfig(name="good", ic=5, pixels=4, dsp_filters=4, lut_filters=3, ports=3, port_bits=64, burst=8,
                    outstanding=4)


@pytest.mark.parametrize("name, low, high", _RANGES)
def test_ranges(name, low, high):
    """The ends are taken, what is beside them is not."""
    for value in (low - 1, high + 1):
        with pytest.raises(AlloyError, match=f"^configuration {name} is {value}: it must be {low} to {high}$"):
            replace(GOOD, **{name: value})
    for value in (low, high):
        if name in ("decode_lanes", "out_pixels", "row_taps") and value == high:
            continue    # depends on the ports, on the pixels, on the channels
        assert getattr(replace(GOOD, **{name: value}), name) == value


@pytest.mark.parametrize("row_taps, ic, dsp, lut, good", [
    (3, 6, 2, 0, True), (3, 5, 2, 0, False), (2, 4, 2, 2, True), (2, 3, 2, 2, False), (3, 3, 0, 3, True),
    (3, 2, 0, 2, False), (3, 6, 4, 3, False), (3, 7, 4, 3, True)])
def test_taps_in_a_row(row_taps, ic, dsp, lut, good):
    """A channel for each slot, and as many lanes for a column as its slots meet codes."""
    values = dict(row_taps=row_taps, ic=ic, dsp_filters=dsp, lut_filters=lut)
    if good:
        assert replace(GOOD, **values).row_taps == row_taps
        return
    with pytest.raises(AlloyError, match=f"^configuration row_taps is {row_taps} of {dsp + lut} filter slots and {ic} "
                                         "channels: each slot needs one of its own, and each column of slots row_taps "
                                         "for each of its slots; give 1, or raise ic$"):
        replace(GOOD, **values)


def test_every_number_has_a_range():
    """``port_bits`` is chosen from a list."""
    numbers = {f.name for f in fields(EngineConfig) if f.type in (int, "int")}
    assert numbers == {name for name, *_ in _RANGES} | {"port_bits"}


@pytest.mark.parametrize("change, text", [
    (dict(pixels=5), "configuration pixels is 5: it must be even"),
    (dict(dsp_filters=3), "configuration dsp_filters is 3: it must be even"),
    (dict(dsp_filters=0, lut_filters=0), "the configuration has no filter slots: give dsp_filters or lut_filters"),
    (dict(dsp_device="dsp58"), "configuration dsp_device is 'dsp58': choose dsp48e2, dsp48e1, mult18"),
    (dict(lut_form="tree"), "configuration lut_form is 'tree': choose shift_add, product_lookup"),
    (dict(act_ram="uram"), "configuration act_ram is 'uram': choose block, ultra"),
    (dict(port_bits=48), "configuration port_bits is 48: choose 32, 64, 128 or 256"),
    (dict(burst=12), "configuration burst is 12: it must be a power of two"),
    (dict(decode_lanes=7), "configuration decode_lanes is 7: give a divisor of 192 from 6 to 96, so that each lane has "
                           "2 to 32 bits of a beat, or 0$"),
    (dict(decode_lanes=192), "configuration decode_lanes is 192: give a divisor of 192 from 6 to 96"),
    (dict(decode_lanes=3), "configuration decode_lanes is 3: give a divisor of 192 from 6 to 96"),
    (dict(out_pixels=3), "configuration out_pixels is 3 of 4 pixels: it must be 1 or an even number whose square "
                         "divides pixels"),
    (dict(out_pixels=4), "configuration out_pixels is 4 of 4 pixels"),
    (dict(out_pixels=2, pixels=6), "configuration out_pixels is 2 of 6 pixels"),
    (dict(name="a/b"), "configuration name is 'a/b': give a name of printable characters that is no path"),
    (dict(name=" . "), "configuration name is ' . ': give a name"),
    (dict(name="a\n"), r"configuration name is 'a\\n': give a name"),
    (dict(ic=2.0), "configuration ic is 2.0: it must be an integer")])
def test_refusals(change, text):
    with pytest.raises(AlloyError, match=f"^{text}"):
        replace(GOOD, **change)


@pytest.mark.parametrize("lanes, width, steps", [(96, 2, 1), (48, 4, 1), (12, 16, 3), (6, 32, 6)])
def test_decoding(lanes, width, steps):
    config = replace(GOOD, decode_lanes=lanes)
    assert (config.decode_width, config.decode_steps) == (width, steps)


def test_bursts():
    """No longer than 4 KB; a read port holds them all up to 512 beats, and two at least."""
    many = replace(GOOD, outstanding=64, burst=32)
    configs = GOOD, many, replace(GOOD, outstanding=1), replace(GOOD, burst=256)
    assert [(c.burst_beats, c.read_beats) for c in configs] == [(8, 32), (32, 512), (8, 16), (256, 512)]
    assert replace(GOOD, port_bits=256, burst=256).burst_beats == 128
    assert GOOD.beat_bits == 20 and replace(GOOD, ic=128, dsp_filters=128, port_bits=32, ports=1).beat_bits == 28


def test_derived_values():
    assert (GOOD.slots, GOOD.port_bytes, GOOD.wide_bytes) == (7, 8, 24)
    assert (GOOD.macs_dsp, GOOD.macs_lut) == (80, 60)
    assert GOOD.weight_beats == 1 and replace(GOOD, ic=7, dsp_filters=6).weight_beats == 2  # of 48 nibbles
    groups = {ic: replace(GOOD, ic=ic) for ic in (1, 8, 9, 40)}
    assert [c.act_group_bytes for c in groups.values()] == [8, 8, 16, 40]
    assert [c.act_lanes for c in groups.values()] == [1, 1, 2, 3]


def test_digest():
    """It names everything that shapes the hardware, and nothing else."""
    assert len(GOOD.digest) == 8 and int(GOOD.digest, 16) >= 0
    assert replace(GOOD, name="other").digest == GOOD.digest
    others = dict(dsp_device=DSP_DEVICES[1], lut_form=LUT_FORMS[1], portable_dsp=True, port_bits=128, burst=16,
                  act_ram=ACT_RAMS[1], pixels=8, dsp_filters=6, decode_lanes=12, out_pixels=2)
    roomy = replace(GOOD, ic=8)
    for f in fields(EngineConfig):
        if f.name != "name":
            value = others.get(f.name, getattr(GOOD, f.name) + 1 if f.name not in others else None)
            assert replace(roomy, **{f.name: 9 if f.name == "ic" else value}).digest != roomy.digest, f.name


def test_file(tmp_path):
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(GOOD.to_dict() | {"digest": GOOD.digest}))
    assert EngineConfig.load(path) == GOOD
    path.write_text(json.dumps(GOOD.to_dict() | {"digest": "01234567"}))
    with pytest.raises(AlloyError, match=f"^the configuration says digest 01234567 but has {GOOD.digest}: it was "
                                         "edited or is of another version of Alloy, remove the digest$"):
        EngineConfig.load(path)
