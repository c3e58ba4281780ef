"""A RISC-V processor runs the C driver on the engine beside it, in a system by hand and in one by LiteX."""

from dataclasses import replace
from importlib import util
import os
import subprocess

import numpy as np
import pytest

from compiler import compile
from examples.soc.__main__ import compared, main
from examples.soc.firmware import firmware
from examples.soc.system import HERE, SYSTEMS, build, processor, run
from rtl.generate import generate
from sim.verilator import tool
from spec.commands import ERROR_TEXT, Error, Opcode, unpack
from spec.config import EngineConfig
from spec.errors import EXTRAS, AlloyError, Failed
from spec.program import Program
from tests.compiler.graphs import layer, network
from tests.verilated import shared_cache

CONFIG = EngineConfig(name="soc", ic=4, pixels=2, dsp_filters=2, lut_filters=0, dsp_device="mult18", portable_dsp=True,
                      act_depth=128, weight_depth=64, param_depth=4, tap_depth=36, ports=1, port_bits=32, addr_bits=32,
                      burst=8, outstanding=2, queue_depth=2)
CLASSES = ("one", "two", "three", "four", "five")


def classifier():
    """Two layers of random weights, and an image of each of three classes; (network, images, codes (N, C))."""
    rng = np.random.default_rng(3)
    first, last = (rng.integers(-7, 8, shape).astype(np.int16) for shape in ((6, 2, 3, 3), (5, 6, 4, 4)))
    net = network({"image": (2, 8, 8), "a": (6, 4, 4), "out": (5, 1, 1)},
                  layer("image", "a", 6, 2, (3, 3), weight=first, stride=(2, 2), padding=(1, 1), mult=900, shift=16,
                        hi=31, bias=900_000),
                  layer("a", "out", 5, 6, (4, 4), weight=last, mult=900, shift=14, hi=255, bias=2_000_000), bits=8)
    images = rng.integers(0, 256, (100, 2, 8, 8))
    classes = net.codes(images)["out"].reshape(100, -1).argmax(1)
    images = images[[np.flatnonzero(classes == number)[0] for number in (0, 2, 3)]]
    return net, images, net.codes(images)["out"].reshape(3, -1)


NETWORK, IMAGES, CODES = classifier()
PROGRAM = compile(NETWORK, CONFIG, classes=CLASSES)


def damaged(at, value):
    """The program with another byte in its image."""
    image = bytearray(PROGRAM.image)
    image[at] ^= value
    return Program(**{**vars(PROGRAM), "image": bytes(image)})


@pytest.fixture(scope="module")
def engine():
    return generate(CONFIG)["alloy.v"]


@pytest.fixture(scope="module")
def simulate(engine, tmp_path_factory):
    """Run a program on a system, which is built on first use."""
    cache = shared_cache(tmp_path_factory)

    def simulated(program, name="verilog", config=CONFIG, **options):
        folder = tmp_path_factory.mktemp("soc")
        simulator = build(name, engine, cache, optimize="-O0", say=lambda line: None)
        return run(name, simulator, firmware(program, config, IMAGES, folder, irq=SYSTEMS[name].irq), folder, **options)
    return simulated


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_processor_classifies(simulate, name):
    shown = []
    found = simulate(PROGRAM, name, show=shown.append)
    assert found.status == 0 and found.note.endswith(" cycles") and tuple(shown) == found.lines, found
    assert found.lines[0] == f"engine {CONFIG.digest}, program {CONFIG.digest}"
    assert found.lines[-1] == "images 3, interrupts 3"
    for number, best in enumerate((0, 2, 3)):
        assert f"image {number}: class {best} ({CLASSES[best]}), " in found.lines[number + 1]
    assert compared(found, CODES) == [True] * 3 and len(found.lines) == 5


def test_another_weight_is_seen(simulate):
    at = next(c["dram"] for c in map(unpack, PROGRAM.commands) if c["opcode"] == Opcode.LOAD_WEIGHTS)
    found = simulate(damaged(at, 0x05))
    assert found.status == 0 and not all(compared(found, CODES))


def test_a_program_for_another_engine(simulate):
    found = simulate(compile(NETWORK, replace(CONFIG, burst=4)))
    with pytest.raises(Failed, match="error: the program is for another configuration: compile it for this engine$"):
        compared(found, CODES)
    assert len(found.lines) == 2


def test_the_engine_stops(simulate):
    """A load from beyond the window."""
    found = simulate(damaged(PROGRAM.command_offset + 128 + 8 + 3, 0xff))
    assert found.status == 1 and found.lines[1:] == (f"layer 0: {ERROR_TEXT[Error.WINDOW]}",)


def test_software_that_says_nothing(simulate):
    found = simulate(PROGRAM, limit=1000)
    with pytest.raises(Failed, match="error: the software has not ended within 1000 cycles$"):
        compared(found, CODES)


def test_too_many_images(tmp_path):
    with pytest.raises(AlloyError, match="the software does not compile: .* will not fit in region 'ram'"):
        firmware(PROGRAM, CONFIG, np.zeros((8200, 2, 8, 8), np.uint8), tmp_path, irq=0)


def test_no_verilog(tmp_path):
    with pytest.raises(AlloyError, match="verilator_bin failed: .*syntax error"):
        build("verilog", "module alloy(;", tmp_path)


def test_verilog_is_clean(engine, tmp_path):
    """No warning about what is written by hand, but for pins that lead nowhere and bits of addresses that nobody
    needs."""
    binary, root = tool()
    (tmp_path / "alloy.v").write_text(engine)
    done = subprocess.run([binary, "--lint-only", "-Wall", "-Wno-UNUSEDSIGNAL", "-Wno-PINCONNECTEMPTY", "--top-module",
                           "soc", *HERE.glob("*.v"), processor(), "alloy.v"], cwd=tmp_path, capture_output=True,
                          text=True, env=os.environ | {"VERILATOR_ROOT": str(root)})
    assert "VexRiscv.v:" in done.stderr, done.stderr
    assert [line for line in done.stderr.splitlines() if str(HERE) in line] == []


@pytest.mark.parametrize("work", [
    lambda folder: build("verilog", "", folder), lambda folder: firmware(PROGRAM, CONFIG, IMAGES, folder, irq=0)])
def test_a_package_that_is_not_there(monkeypatch, tmp_path, work):
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as error:
        work(tmp_path)
    assert EXTRAS[error.value.name] == "soc"


def test_no_such_system(capsys):
    assert main(["--system", "amber"]) == 2
    assert "there is no system 'amber': choose verilog, litex" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_example(name, tmp_path, capsys):
    """ResNet-8 and images of clothes."""
    assert main(["--system", name, "--images", "3", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "bit-exact: 3 of 3 images" in shown and shown.count("uart: image ") == 3
