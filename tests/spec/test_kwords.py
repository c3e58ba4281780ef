"""The bits of a k-word, on the chip and in DRAM, against the sentence that tells them; words are read back."""

import numpy as np
import pytest

from spec.coding import pack_lengths, unpack_lengths
from spec.config import EngineConfig
from spec.kwords import beats_of, gather, number, pack_words, spread, unpack_words, word_bits

CONFIG = EngineConfig(name="words", ic=3, pixels=2, dsp_filters=4, lut_filters=1, ports=3, port_bits=32)


def engine(**values):
    return EngineConfig.from_dict(CONFIG.to_dict() | values)


def nibbles(config, count, seed=0, top=16):
    return np.random.default_rng(seed).integers(0, top, (count, config.slots, config.ic)).astype(np.uint8)


def read(stored, count, config):
    """What a LOAD_WEIGHTS of these words gets."""
    command = {"count": count, "beats": 0, "codes": 0, **stored.fields(config)}
    size = beats_of(command, config) * config.port_bytes
    assert size == command["stride"]
    streams = [np.frombuffer(stored.data, np.uint8, size, port * command["stride"]) for port in range(config.ports)]
    return unpack_words(np.array(streams), command, config)


def test_nibbles_are_in_the_order_of_slots_and_channels():
    words = nibbles(CONFIG, 2)
    assert number(words[1]) == sum(int(words[1, s, c]) << 4 * (s * CONFIG.ic + c) for s in range(5) for c in range(3))
    assert number(np.full((5, 3), 15)) == (1 << word_bits(CONFIG.slots, CONFIG.ic)) - 1
    assert (spread(gather(words), CONFIG) == words).all()


def test_wide_beats_are_shared_out_to_the_ports():
    """Byte b of a k-word is byte b mod port_bytes of port b / port_bytes mod ports."""
    words = nibbles(CONFIG, 4)
    stored, (ports, size) = pack_words(gather(words), CONFIG), (CONFIG.ports, CONFIG.port_bytes)
    assert stored.codes == 0 and stored.beats == 4 * CONFIG.weight_beats
    assert len(stored.data) == stored.beats * ports * size
    for k in range(4):
        whole = number(words[k]).to_bytes(CONFIG.weight_beats * ports * size, "little")
        for b, value in enumerate(whole):
            beat, port = divmod(b // size, ports)
            assert stored.data[port * stored.beats * size + (k * CONFIG.weight_beats + beat) * size + b % size] == value


@pytest.mark.parametrize("values", [
    {}, dict(ports=1), dict(ports=2, port_bits=128, ic=16), dict(dsp_filters=0, lut_filters=7)])
@pytest.mark.parametrize("lanes", [0, 1])
def test_words_are_read_back(values, lanes):
    config = engine(**values)
    config = engine(**values, decode_lanes=lanes * config.wide_bytes)
    for top in (2, 16):
        words = nibbles(config, 9, top=top)
        assert (read(pack_words(gather(words), config), 9, config) == words).all()


def test_words_are_coded_where_that_is_shorter():
    config = engine(ic=24, decode_lanes=CONFIG.wide_bytes)
    flat = pack_words(gather(nibbles(config, 40, top=2)), config)
    assert flat.codes and flat.beats < 40 * config.weight_beats and flat.fields(config)["beats"] == flat.beats
    full = pack_words((np.arange(40 * 120).reshape(40, 120) % 16).astype(np.uint8), config)
    assert not full.codes and full.beats == 40 * config.weight_beats and "beats" not in full.fields(config)


def test_lengths_of_codes_are_packed():
    lengths = list(range(8)) * 2
    assert unpack_lengths(pack_lengths(lengths)) == lengths and pack_lengths(lengths) < 1 << 48
    assert pack_lengths([0, 0, 5]) == 5 << 6
