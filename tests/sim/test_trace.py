"""``sim.run --trace``: a difference, or a run that breaks off, leaves a waveform of the cycles in question."""

from dataclasses import replace

import numpy as np
import pytest

import boards
from sim import run as simulation
from sim.run import layer_network, run_network
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network
from tests.sim.verilator.test_waveform import changes

TINY = EngineConfig(name="trace", ic=2, pixels=2, dsp_filters=2, lut_filters=0, act_depth=64, weight_depth=32,
                    param_depth=4, tap_depth=16, ports=1, port_bits=64, addr_bits=32, portable_dsp=True)
BOARD = boards.get("pynq-z2")

pytestmark = pytest.mark.slow       # two simulators of an engine


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A layer, its image and the folder of the simulators."""
    network = layer_network("3x3,4,4,6", TINY)
    images = np.random.default_rng(1).integers(0, 16, (2, *network.tensors["image"].shape))
    return network, images, str(tmp_path_factory.mktemp("cache"))


def run(case, path, **options):
    network, images, cache = case
    lines = []
    return run_network(BOARD, TINY, network, images, cache=cache, trace=str(path), say=lines.append, **options), lines


def test_difference(case, tmp_path, monkeypatch):
    """The golden model is made to be wrong in one value of the second image."""
    right = Network.codes

    def wrong(network, images):
        found = right(network, images)
        found["out"][1, 2, 3, 1] ^= 1
        return found
    monkeypatch.setattr(Network, "codes", wrong)
    result, lines = run(case, tmp_path / "w.fst", stalls=3)
    assert "image 1: layer layer: tensor out" in result["difference"] and result["tensors_equal"] == 1
    found = changes(tmp_path / "w.fst")
    times = [time for values in found.values() for time, _ in values]
    window = next(line for line in lines if "once more for the waveform of image 1" in line)
    first, end = (int(word.strip(",")) for word in window.split() if word.strip(",").isdigit() and word != "1,")
    assert 2 * first <= min(times) and max(times) < 2 * end
    assert lines[lines.index(window) + 1:][-1].startswith("RTL, for cycles")


def test_no_difference(case, tmp_path):
    result, lines = run(case, tmp_path / "w.fst")
    assert result["difference"] is None and not (tmp_path / "w.fst").exists()
    assert f"there is no difference to show: {tmp_path / 'w.fst'} is not written" in lines


def test_a_run_that_breaks_off(case, tmp_path, monkeypatch):
    """Here at a command that the engine does not have."""
    def damaged(network, config, **options):
        program = compiled(network, config, **options)
        at = program.command_offset + 2 * 128
        return replace(program, image=program.image[:at] + b"\xff" + program.image[at + 1:])
    compiled = simulation.compile
    monkeypatch.setattr(simulation, "compile", damaged)
    monkeypatch.setattr(simulation, "model", lambda *args, **options: [])
    with pytest.raises(AlloyError, match="image 0: the engine stopped with error code"):
        run(case, tmp_path / "w.fst")
    assert changes(tmp_path / "w.fst")
