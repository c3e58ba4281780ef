"""``sim.run``: bad input is refused before long work starts, the verdict is the last line and the status, cycles come
from the trace."""

import json
import re
import time

import numpy as np
import pytest

import boards
from sim import run as simulation
from sim.run import layer_network, main as run, rtl_layer_cycles
from sim.verilator.model import Result, Run, Window
from spec.errors import AlloyError
from spec.numerics import Scheme
from tests.networks import random_network

FILES = {"junk": b"junk\n", "empty": b"", "cut": None}


@pytest.fixture(autouse=True)
def _no_long_work(monkeypatch):
    """Whatever is refused here must be refused before the engine is made."""
    def started(*args, **kwargs):
        raise AssertionError("long work has started")
    monkeypatch.setattr(simulation, "generate", started)


@pytest.fixture
def network(tmp_path):
    """File of a small network and its input shape."""
    network = random_network(np.random.default_rng(4))
    path = tmp_path / "network.npz"
    network.save(path)
    return path, network.tensors[network.input].shape


def refused(capsys, *arguments):
    """Run on the ZCU102, expect status 2, return the one line on stderr."""
    assert run(["--platform", "zcu102", *(str(a) for a in arguments)]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


def damaged(path, kind, whole):
    path.write_bytes(whole[:len(whole) // 2] if FILES[kind] is None else FILES[kind])
    return path


@pytest.mark.parametrize("text", ["3x3", "3,16,16,8", "3x3,0,16,8", "3x3,16,16,-8", "3x3,16,16", "9x3,4,4,0",
                                  "axb,1,1,1", "3x3,1.5,1,1"])
def test_bad_layer(capsys, text):
    assert f"the layer '{text}' is not KxK,CHANNELS,FILTERS,SIZE such as 3x3,256,256,14" in refused(capsys, "--layer",
                                                                                                    text)


@pytest.mark.parametrize("kind", FILES)
def test_damaged_network(capsys, tmp_path, network, kind):
    path = damaged(tmp_path / "bad.npz", kind, network[0].read_bytes())
    assert "is not a whole Alloy network file" in refused(capsys, "--network", path)


def test_missing_files(capsys, tmp_path, network):
    none = tmp_path / "none"
    assert "there is no network file" in refused(capsys, "--network", none)
    assert "there is no file of images" in refused(capsys, "--network", network[0], "--images-file", none)
    assert "there is no configuration file" in refused(capsys, "--config", none, "--layer", "1x1,4,4,4")


@pytest.mark.parametrize("kind", FILES)
def test_damaged_images(capsys, tmp_path, network, kind):
    good = tmp_path / "good.npz"
    np.savez(good, images=np.zeros((3, *network[1]), np.uint8), labels=np.zeros(3))
    path = damaged(tmp_path / "images.npz", kind, good.read_bytes())
    assert "holds no images and labels" in refused(capsys, "--network", network[0], "--images-file", path)


@pytest.mark.parametrize("change, count, message", [
    ({"images": lambda shape: np.zeros((3, *shape, 1), np.uint8)}, 1, "the network reads"),
    ({"labels": lambda shape: np.zeros(2)}, 1, "holds 3 images and labels of shape (2,): each image needs one label"),
    ({"images": lambda shape: np.zeros((3, *shape), np.float32)}, 1,
     "float32, are no codes: the network reads integers from 0 to 255"),
    ({"images": lambda shape: np.full((3, *shape), 256)}, 1, "are no codes"),
    ({"images": lambda shape: np.full((3, *shape), -1)}, 1, "are no codes"),
    ({}, 4, "4 images asked for: the file has 3"),
    ({}, 0, "0 images asked for: the file has 3"),
])
def test_unfit_images(capsys, tmp_path, network, change, count, message):
    arrays = {"images": np.zeros((3, *network[1]), np.uint8), "labels": np.zeros(3)}
    arrays |= {key: make(network[1]) for key, make in change.items()}
    np.savez(tmp_path / "images.npz", **arrays)
    assert message in refused(capsys, "--network", network[0], "--images-file", tmp_path / "images.npz",
                              "--images", count)


def outcome(equal, difference):
    entry = {"name": "layer", "rtl_cycles": 200, "model_cycles": 190, "macs": 1000, "utilisation": 0.1,
             "equal": equal == 2,
             "losses": dict.fromkeys(simulation.CAUSES, 0)}
    return {"layers": [entry], "cycles": 250, "fps": 4000.0, "tensors": 2, "tensors_equal": equal,
            "outputs": np.zeros((1, 1)),
            "difference": difference}


@pytest.mark.parametrize("equal, difference, status", [(2, None, 0), (1, "image 0: layer a", 1)])
def test_verdict_is_the_last_line_and_the_status(capsys, tmp_path, monkeypatch, equal, difference, status):
    monkeypatch.setattr(simulation, "run_network", lambda *a, **k: outcome(equal, difference))
    path = tmp_path / "run.json"
    assert run(["--platform", "zcu102", "--layer", "1x1,4,4,4", "--json", str(path)]) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"bit-exact: {equal} of 2 tensors, 1 images"
    assert (lines[-2] == "first difference: image 0: layer a") == (status == 1)
    result = json.loads(path.read_text())
    assert result["tensors_equal"] == equal and result["batch"] == 1 and result["images_in_flight"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.json"]


def test_layer_of_one_weight():
    """Some of its filters have no weight but 0."""
    conv = layer_network("1x1,1,200,1", boards.get("zcu102").config).nodes[0]
    assert not conv.weight.reshape(200, -1).any(1).all() and (conv.mult > 0).all()


def test_layer_has_the_schemes_of_the_slots():
    config = boards.get("zcu102").config
    conv = layer_network("3x3,5,24,7", config).nodes[0]
    count = {s: int((conv.scheme == s).sum()) for s in (Scheme.FIXED4, Scheme.POT4)}
    assert count == {Scheme.FIXED4: 16, Scheme.POT4: 8}     # 16 DSP and 8 LUT columns
    assert conv.weight.shape == (24, 5, 3, 3)


def test_cycles_of_a_layer_end_with_its_last_completion():
    trace = [(5, 0, 1), (90, 2, 1), (100, 2, 1), (120, 1, 2), (150, 2, 2), (155, 3, 1)]
    assert rtl_layer_cycles(trace) == {1: 100, 2: 50}


@pytest.mark.parametrize("layer, words", [
    ("3x3,256,256,2000", "weights, 1,024,000,000 input and 1,024,000,000 output codes: give a smaller one"),
    ("1x1,100000,100000,1", "10,000,000,000 weights"),
    ("5x5,256,256,700", "the layer '5x5,256,256,700' needs at least"),
    ("1x1,1,1,99999999999", "give a smaller one")])
def test_layers_that_cannot_end_are_refused_at_once(capsys, layer, words):
    """Not after minutes without a line. The kind: work whose size is known before it starts."""
    began = time.monotonic()
    assert words in refused(capsys, "--layer", layer)
    assert time.monotonic() - began < 5


def test_sizes_are_said_before_the_work(capsys):
    with pytest.raises(AssertionError, match="long work"):
        run(["--platform", "zcu102", "--layer", "3x3,64,64,28"])
    lines = capsys.readouterr().out.splitlines()
    assert "compiling 28,901,376 multiply-accumulates for zcu102" in lines[0]
    assert re.search(r"KiB of image, about [3-5],\d{3} cycles", lines[1])


def test_small_fields_are_said(capsys, tmp_path):
    """The compiler's warnings come before the work, too."""
    (tmp_path / "small.json").write_text(json.dumps(boards.get("zcu102").config.to_dict() | {"tap_depth": 4}))
    with pytest.raises(AssertionError, match="long work"):
        run(["--platform", "zcu102", "--config", str(tmp_path / "small.json"), "--layer", "3x3,64,64,28"])
    assert "warning: tap_depth 4 splits 1 layer" in capsys.readouterr().out


def test_networks_that_cannot_end_are_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(simulation.verilator, "LIMIT", 100)
    layer_network("1x1,4,4,8", boards.get("zcu102").config).save(tmp_path / "network.npz")
    np.savez(tmp_path / "images.npz", images=np.zeros((1, 4, 8, 8), np.uint8), labels=np.zeros(1))
    text = refused(capsys, "--network", tmp_path / "network.npz", "--images-file", tmp_path / "images.npz", "--images",
                   1)
    assert text.endswith("cycles and the simulator stops after 100: give a smaller one\n")


class Broken:
    """An engine whose runs end in a given way."""

    def __init__(self, result):
        self.result = result

    def run(self, *arguments, **options):
        self.given = arguments, options
        return self.result


def ended(status=2, hung=False):
    return Run(status=status, hung=hung, cycles=7, counters={}, trace=[], regions=[])


@pytest.mark.parametrize("result, words", [
    (Result([ended()], "WLAST is early"), "the engine broke the bus protocol: WLAST is early"),
    (Result([ended(), ended(hung=True)], ""), "image 1: the engine hung after 7 cycles"),
    (Result([ended(status=0x0300)], ""), "image 0: the engine stopped with error code 3 after 7 cycles")])
def test_runs_that_do_not_end_well(monkeypatch, result, words):
    """Neither where results are compared nor where cycles are counted."""
    board, network = boards.get("pynq-z2"), layer_network("1x1,4,4,4", boards.get("pynq-z2").config)
    images = np.zeros((2, *network.tensors[network.input].shape), np.uint8)
    monkeypatch.setattr(simulation, "generate", lambda config: {})
    monkeypatch.setattr(simulation.verilator, "build", lambda *a, **k: Broken(result))
    monkeypatch.setattr(simulation, "_compared", lambda *a: {"wrong": set(), "first": None})     # they wrote nothing
    with pytest.raises(AlloyError, match=words):
        simulation.run_network(board, board.config, network, images, say=lambda text: None)
    with pytest.raises(AlloyError, match=words):
        simulation._timed(Broken(result), None, images, {}, {}, set(), lambda text: None)


def test_filters_of_a_layer_are_in_no_order():
    """Kind: a layer that is slow for the order of its filters alone. Of each run of some, about a third is LUT's."""
    scheme = layer_network("1x1,8,192,4", boards.get("zcu102").config).nodes[0].scheme
    shares = (scheme.reshape(4, 48) == Scheme.POT4).mean(1)
    assert abs(shares.mean() - 1 / 3) < 0.01 and shares.min() > 0.1 and shares.max() < 0.6


def test_a_waveform_is_made_up_to_its_image():
    """The same job again, of no image behind it."""
    engine, said, window = Broken(Result([ended()] * 2, "")), [], Window(1, 30, 90, "w.fst")
    simulation._show_waveform(engine, None, np.arange(5), {"stall": 0.2}, window, said.append)
    (_, images), options = engine.given
    assert images.tolist() == [0, 1] and options["window"] == window and options["stall"] == 0.2
    assert "waveform of image 1, cycles 30 to 90" in said[0] and said[-1] == "waveform written to w.fst"


def test_codes_of_a_layer_are_about_the_middle():
    """Where no code of the image is above 0 they are just there."""
    network = layer_network("3x3,5,24,7", boards.get("zcu102").config)
    codes = network.codes(np.zeros((1, 5, 7, 7), int))["out"]
    assert (codes == 1 << network.tensors["out"].bits - 1).all()
