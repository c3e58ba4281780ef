"""Commands with bad input: one sentence, status 2, nothing written."""

import json
import warnings

import numpy as np
import pytest

from compiler.__main__ import main as compile_main
from rtl.build import main as build_main
from sim.run import layer_network, main as run_main
from spec.config import EngineConfig
from spec.errors import AlloyError, command_line
from spec.network import Network
from spec.program import FORMS, Program
from tests.networks import random_network

CONFIG = EngineConfig(name="cli", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=64, weight_depth=64, ports=1,
                      port_bits=32)


def fails(capsys, main, arguments, words):
    """The program says one line with ``words`` and returns 2."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: ") and words in error, error


@pytest.fixture
def files(tmp_path):
    """A configuration and a network file."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    random_network(np.random.default_rng(1), layers=2).save(tmp_path / "network.npz")
    return tmp_path


def test_compile_and_disassemble(files, capsys):
    out = files / "program.alloy"
    assert compile_main(["compile", "--network", str(files / "network.npz"), "--config", str(files / "config.json"),
                         "--out", str(out)]) == 0
    assert compile_main(["disassemble", str(out)]) == 0
    assert "LOAD_WEIGHTS" in capsys.readouterr().out


def test_compile_for_images_with_gaps(files, capsys):
    """Bytes of a pixel and of a row, which no smaller ones can be."""
    image = Network.load(files / "network.npz").tensors["image"]
    base = ["compile", "--network", str(files / "network.npz"), "--config", str(files / "config.json"), "--out",
            str(files / "p")]
    pixel, row = image.channels + 1, image.width * (image.channels + 1) + 5
    assert compile_main([*base, "--pixel-bytes", str(pixel), "--row-bytes", str(row)]) == 0
    found = Program.load(files / "p").input
    assert (found.pixel, found.stride) == (pixel, row)
    fails(capsys, compile_main, [*base, "--pixel-bytes", str(image.channels - 1)], f"give {image.channels} or more")
    fails(capsys, compile_main, [*base, "--row-bytes", "1"], "a row of the image has 1 bytes")


def test_compile_for_a_board_of_ones_own(files, capsys):
    """The same program as for its configuration; one of both is given."""
    network, board = str(files / "network.npz"), files / "mine.py"
    board.write_text("from dataclasses import replace\nimport boards\nfrom spec.config import EngineConfig\n"
                     f"BOARD = replace(boards.get('pynq-z2'), name='mine', config={CONFIG!r})\n")
    base = ["compile", "--network", network, "--out"]
    assert compile_main([*base, str(files / "a"), "--platform", str(board)]) == 0
    assert compile_main([*base, str(files / "b"), "--config", str(files / "config.json")]) == 0
    assert (files / "a").read_bytes() == (files / "b").read_bytes()
    for words in ([], ["--platform", str(board), "--config", str(files / "config.json")]):
        fails(capsys, compile_main, [*base, str(files / "c"), *words], "give --platform or --config, one of them")


def test_other_forms_of_a_program(files, capsys):
    """Each beside the program, from the same names of classes; a mistake writes nothing."""
    net, out = Network.load(files / "network.npz"), files / "program.alloy"
    count = net.tensors[net.output].channels
    (files / "names.txt").write_text("\n".join(f"class {n}\n" for n in range(count)))
    (files / "odd.txt").write_bytes(b"\xff\xfe")
    base = ["compile", "--network", str(files / "network.npz"), "--config", str(files / "config.json"), "--out"]
    before = sorted(files.iterdir())
    for arguments, words in (
            ([str(out), "--also", "elf"], "there is no form 'elf' of a program: choose bin, h, hex"),
            ([str(files / "p.bin"), "--also", "bin"], "p.bin would be written twice: give --out another suffix"),
            ([str(out), "--classes", str(files / "odd.txt")], "is no text of UTF-8: give the names of classes"),
            ([str(out), "--classes", str(files / "none.txt")], "there is no file of classes")):
        fails(capsys, compile_main, base + arguments, words)
    assert sorted(files.iterdir()) == before
    assert compile_main([*base, str(out), "--classes", str(files / "names.txt"), "--also", "bin", "--also", "h",
                         "--also", "hex"]) == 0
    program = Program.load(out)
    assert program.classes == tuple(f"class {n}" for n in range(count))
    for form, content in FORMS.items():
        assert out.with_suffix(f".{form}").read_bytes() == content(program, "program")


def test_truncated_network(files, capsys):
    data = (files / "network.npz").read_bytes()
    (files / "cut.npz").write_bytes(data[:len(data) // 2])
    out = files / "program.alloy"
    fails(capsys, compile_main, ["compile", "--network", str(files / "cut.npz"), "--config", str(files / "config.json"),
                                 "--out", str(out)],
          "not a whole Alloy network file")
    assert not out.exists()


def test_missing_and_damaged_configuration(files, capsys):
    base = ["compile", "--network", str(files / "network.npz"), "--out", str(files / "p"), "--config"]
    fails(capsys, compile_main, [*base, str(files / "none.json")], "there is no configuration file")
    (files / "bad.json").write_text("{")
    fails(capsys, compile_main, [*base, str(files / "bad.json")], "is not a JSON configuration")
    (files / "bad.json").write_text(json.dumps({**CONFIG.to_dict(), "pixels": 3}))
    fails(capsys, compile_main, [*base, str(files / "bad.json")], "pixels is 3: it must be even")
    (files / "bad.json").write_text(json.dumps({**CONFIG.to_dict(), "ic": 5, "digest": CONFIG.digest}))
    fails(capsys, compile_main, [*base, str(files / "bad.json")], "remove the digest")
    assert not (files / "p").exists()


def test_unknown_platform(tmp_path, capsys):
    fails(capsys, build_main, ["--platform", "zcu999", "--out", str(tmp_path / "b")],
          "there is no platform 'zcu999': choose zcu102")
    fails(capsys, run_main, ["--platform", "zcu999"], "there is no platform")
    assert not (tmp_path / "b").exists()


def test_run_needs_a_network_and_images(files, capsys):
    fails(capsys, run_main, ["--platform", "zcu102", "--network", str(files / "none.npz")], "there is no network file")
    fails(capsys, run_main, ["--platform", "zcu102", "--network", str(files / "network.npz"), "--json",
                             str(files / "r.json")], "images are of shape")
    fails(capsys, run_main, ["--platform", "zcu102", "--layer", "3x3,256"], "is not KxK,CHANNELS,FILTERS,SIZE")
    assert not (files / "r.json").exists()


def test_layer_network_fills_the_slots():
    network = layer_network("3x3,16,30,8", CONFIG)
    scheme = network.nodes[0].scheme
    assert isinstance(network, Network) and (scheme == 16).sum() == 10 and (scheme == 4).sum() == 20


def test_unknown_key():
    with pytest.raises(AlloyError, match="unknown key 'lanes'"):
        EngineConfig.from_dict({**CONFIG.to_dict(), "lanes": 3})


def test_warnings_are_one_line(capsys):
    """What a library says by the way is for whoever gave the command, without a place in the code."""
    @command_line
    def main(arguments=None):
        warnings.warn("the images are few", stacklevel=1)
        return 0
    before = warnings.showwarning
    assert main([]) == 0 and capsys.readouterr().err == "warning: the images are few\n"
    assert warnings.showwarning is before
