"""The C driver: strict C99, clean under analysers, memory-safe on damaged files, and right on the Verilated engine."""

from dataclasses import replace
from pathlib import Path
import re
import subprocess
import sys

import numpy as np
import pytest

from compiler import compile
from rtl.generate import generate
from rtl.tools import write_software
from sim import verilator
from spec.program import FORMS
from tests.compiler.graphs import layer, network
from tests.networks import random_config
from tests.sim.verilator.test_engines import CONFIGS
from tests.verilated import shared_cache

HERE, SOURCE = Path(__file__).parent, Path(__file__).parents[3] / "driver" / "c"
STRICT = ["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes",
          "-Werror"]
CONFIG = random_config(np.random.default_rng(1), **CONFIGS["dsp48e2"])
IMAGES = 5


def scaled(net):
    return replace(net, tensors=net.tensors | {net.output: replace(net.tensors[net.output], scale=0.25)})


def classifier():
    """Three layers down to one pixel, with strides, a zero point and two classes that are always equal and right."""
    rng = np.random.default_rng(5)
    shapes = ((9, 2, 3, 2), (7, 9, 1, 1), (11, 7, 5, 6))
    first, second, last = (rng.integers(-7, 8, shape).astype(np.int16) for shape in shapes)
    last[2] = last[7]
    net = network({"image": (2, 9, 11), "a": (9, 5, 6), "b": (7, 5, 6), "out": (11, 1, 1)},
                  layer("image", "a", 9, 2, (3, 2), weight=first, stride=(2, 2), padding=(1, 1), mult=900, shift=16,
                        hi=31, bias=900_000),
                  layer("a", "b", 7, 9, weight=second, mult=700, shift=14, hi=31, bias=200_000),
                  layer("b", "out", 11, 7, (5, 6), weight=last, mult=300, shift=16, hi=31, bias=900_000), bits=5,
                  image=3)
    return scaled(replace(net, tensors=net.tensors | {"image": replace(net.tensors["image"], bits=8)}))


def four_bits():
    """A small network that reads codes of 4 bits, of whose kernel all positions are channels."""
    return network({"image": (1, 6, 8), "out": (5, 7, 9)}, layer("image", "out", 5, 1, (2, 2), padding=(1, 1)), image=5)


def write_job(folder, number, net, keep):
    """Program, images and expected outputs as ``scenarios.c`` reads them."""
    channels = net.tensors[net.output].channels
    program = compile(net, CONFIG, keep=keep, classes=[f"c{n}" for n in range(channels)])
    rng, source = np.random.default_rng(number), net.tensors[net.input]
    images = rng.integers(0, 1 << source.bits, (IMAGES, *source.shape))
    codes = net.codes(images)
    names = [program.output, *(name for name in program.outputs if name != program.output)]
    (folder / f"p{number}.bin").write_bytes(FORMS["bin"](program, "p"))
    (folder / f"p{number}.images").write_bytes(images.transpose(0, 2, 3, 1).astype(np.uint8).tobytes())
    (folder / f"p{number}.packed").write_bytes(b"".join(map(program.pack_input, images)))
    (folder / f"p{number}.expected").write_bytes(b"".join(
        codes[name][i].transpose(1, 2, 0).astype(np.uint8).tobytes() for i in range(IMAGES) for name in names))
    return program, codes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Header, driver as an object, and the two jobs."""
    folder = tmp_path_factory.mktemp("driver")
    write_software(folder, CONFIG)
    program, codes = write_job(folder, 0, classifier(), "all")
    assert len(program.outputs) == 3
    assert all(len(np.unique(values)) > 3 for values in codes.values())
    write_job(folder, 1, four_bits(), ())
    return folder


def strict(folder, source, target, *flags):
    subprocess.run([*STRICT, *flags, "-I", folder, "-I", SOURCE, "-I", verilator.HERE, "-c", source, "-o",
                    folder / target], check=True)
    return folder / target


@pytest.fixture(scope="module")
def scenarios(folder, tmp_path_factory):
    """The program of driver, scenarios and engine."""
    model = verilator.build(generate(CONFIG), CONFIG, shared_cache(tmp_path_factory), report=lambda line: None)
    return verilator.link(model, objects=[strict(folder, SOURCE / "alloy.c", "alloy.o", "-O1"),
                                          strict(folder, HERE / "scenarios.c", "scenarios.o", "-O1")])


@pytest.mark.parametrize("stall", ["0", "0.3"])
@pytest.mark.parametrize("name", ["by_polling", "by_interrupt", "in_place", "late_lines", "in_turn", "other_layouts",
                                  "refusals", "errors"])
def test_on_the_engine(scenarios, folder, name, stall):
    done = subprocess.run([scenarios, name, folder, stall], capture_output=True, text=True, timeout=300)
    assert done.stdout == "all is well\n" and done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", ["alloy.c", "ports/bare_metal.c", "ports/linux.c"])
def test_analysers_find_nothing(folder, path):
    """Strict warnings, the analyser of the compiler where it has one, and cppcheck."""
    analyser = ["-fanalyzer"] if b"-fanalyzer" in subprocess.run(["cc", "--help=common"], capture_output=True
                                                                 ).stdout else []
    strict(folder, SOURCE / path, "analysed.o", "-O2", *analyser)
    done = subprocess.run([Path(sys.executable).with_name("cppcheck"), "--enable=warning,performance,portability,style",
                           "--std=c99", "--inconclusive", "--error-exitcode=1", "--quiet", "-I", folder, "-I", SOURCE,
                           "--suppress=constParameterCallback", SOURCE / path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_example_of_the_page(folder, tmp_path):
    text = (SOURCE.parents[1] / "docs" / "driver.md").read_text()
    example, = re.findall(r"^```c\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "example.c").write_text(example)
    strict(folder, tmp_path / "example.c", "example.o")


def test_ports(folder, tmp_path):
    """On files that stand for /dev/mem and a device of UIO."""
    regs = re.findall(r"#define ALLOY_(ID|VERSION)_VALUE (\w+)u", (folder / "alloy_regs.h").read_text())
    values = {name: int(value, 0) for name, value in regs}
    for name, at, digest in (("mem", 4096, 78), ("uio", 0, 79)):
        words = np.zeros(2048, "<u4")
        words[at // 4:at // 4 + 3] = values["ID"], values["VERSION"], digest
        (tmp_path / name).write_bytes(words.tobytes())
    objects = [strict(folder, SOURCE / path, f"port{n}.o") for n, path in enumerate(
        ("alloy.c", "ports/bare_metal.c", "ports/linux.c"))] + [strict(folder, HERE / "ports.c", "ports.o")]
    subprocess.run(["cc", *objects, "-o", tmp_path / "ports"], check=True)
    done = subprocess.run([tmp_path / "ports", tmp_path / "mem", tmp_path / "uio"], capture_output=True, text=True,
                          timeout=60)
    assert done.stdout == "all is well\n", done.stdout


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_damaged_programs_are_refused_or_harmless(folder, tmp_path, number):
    """5,000 files each with words changed and a right checksum, under the sanitizers of addresses and of undefined
    behaviour."""
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    objects = [strict(folder, path, f"damaged{n}.o", *flags) for n, path in enumerate(
        (SOURCE / "alloy.c", HERE / "damaged.c"))]
    subprocess.run(["cc", *flags, *objects, "-o", tmp_path / "damaged"], check=True)
    done = subprocess.run([tmp_path / "damaged", folder / f"p{number}.bin", "5000"], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    used, refused = map(int, re.findall(r"\d+", done.stdout))
    assert used + refused > 4500 and used > 500 and refused > 500, done.stdout
