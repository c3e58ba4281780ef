"""Programs: their file, what runs them, their input, the place of a value; each refusal with its words."""

from dataclasses import replace
import json
import zipfile

import numpy as np
import pytest

from compiler import compile
from sim import command_model, cycle_model, verilator
from spec.commands import COMMAND_BYTES, FIELDS, MAGIC, VERSION, Opcode, pack_record
from spec.errors import AlloyError
from spec.program import Program
from tests.compiler.graphs import CONFIG, engine, layer, network

NETWORK = network({"image": (3, 4, 5), "out": (6, 4, 5)}, layer("image", "out", 6, 3))


@pytest.fixture(scope="module")
def program():
    return compile(NETWORK, CONFIG)


def test_file(program, tmp_path):
    program.save(tmp_path / "p.alloy")
    assert vars(Program.load(tmp_path / "p.alloy")) == vars(program)
    data = (tmp_path / "p.alloy").read_bytes()
    (tmp_path / "p.alloy").write_bytes(data[:len(data) // 2])
    with pytest.raises(AlloyError, match="p.alloy is not a whole Alloy program: it looks like .*; compile the network"):
        Program.load(tmp_path / "p.alloy")


def test_file_is_the_same_each_time(tmp_path):
    """Tensors are in the order of the layers, whatever the order of the sets that the compiler goes through."""
    net = network({"image": (3, 4, 4), "a": (5, 4, 4), "b": (5, 4, 4), "out": (5, 4, 4)}, layer("image", "a", 5, 3),
                  layer("a", "b", 5, 5), layer("b", "out", 5, 5))
    assert list(compile(net, CONFIG, keep="all").outputs) == ["a", "b", "out"]


@pytest.mark.parametrize("change, words", [
    (dict(outputs=[1]), "program outputs is no object"), (dict(layers={}), "program layers is no list"),
    (dict(command_count=10 ** 6), "program has 1000000 commands at 0, beyond its image of"),
    (dict(command_offset=-1), "commands at -1, beyond its image"),
    (dict(window_size=8192), "program has a tensor outside its window of 8192 bytes"),
    (dict(output="in"), "program has the output 'in' and no region for it"),
    (dict(input={"offset": 0}), "image is not complete: it has no channels, height"),
    (dict(format=1), "it is not of format 3, which this Alloy reads"), (dict(tensors={}), "program tensors is no list"),
    (dict(tensors=[]), "an image or an output that its list of tensors does not describe"),
    (dict(classes=["a"]), "1 names of classes are given and the output has 6 channels"),
    (dict(window_size="big"), "program window_size is 'big': it must be an integer"),
    (dict(more=1), "program has the unknown key 'more'")])
def test_a_damaged_file_is_refused(program, tmp_path, change, words):
    program.save(tmp_path / "p.alloy")
    with zipfile.ZipFile(tmp_path / "p.alloy") as file:
        meta, image = json.loads(file.read("program.json")), file.read("image.bin")
    with zipfile.ZipFile(tmp_path / "bad.alloy", "w") as file:
        file.writestr("program.json", json.dumps(meta | change))
        file.writestr("image.bin", image)
    with pytest.raises(AlloyError, match=f"bad.alloy is not a whole Alloy program: .*{words}.*; compile the network"):
        Program.load(tmp_path / "bad.alloy")


def tools(program, config):
    """Every tool that takes a program and a configuration, with these."""
    codes = np.zeros((1, 3, 4, 5), int)
    return {"command model": lambda: command_model.run(program, config, codes[0]),
            "cycle model": lambda: cycle_model.model(program, config),
            "simulator": lambda: verilator.Model("no such file", config).run(program, codes)}


def damaged(program, **values):
    """The program with fields of its first command changed."""
    start = pack_record(FIELDS, {"magic": MAGIC, **program.start, **values}, COMMAND_BYTES)
    return replace(program, image=start + program.image[COMMAND_BYTES:])


@pytest.mark.parametrize("tool", tools(None, None))
def test_a_program_for_something_else_is_refused(program, tool):
    """Kind: a program of another configuration runs. Every tool refuses it, and names both sides and the way out."""
    other = engine(ports=2)
    with pytest.raises(AlloyError, match=f"compiled for configuration {CONFIG.digest}, this one is {other.digest}: "
                                         "compile it again for this one"):
        tools(program, other)[tool]()
    with pytest.raises(AlloyError, match=f"has version 77 of the commands, this is version {VERSION}: compile the "
                                         "network again"):
        tools(damaged(program, version=77), CONFIG)[tool]()
    for values in (dict(opcode=Opcode.END), dict(opcode=200), dict(magic=0)):
        with pytest.raises(AlloyError, match="does not begin with START: it is damaged or older than this, compile the "
                                             "network again"):
            tools(damaged(program, **values), CONFIG)[tool]()


@pytest.mark.parametrize("image, words", [
    (lambda ok: ok[None], "is of shape .* not that of the program's input"),
    (lambda ok: ok.repeat(2, 1), "not that of the program's input"), (lambda ok: ok[:0], "holds no codes"),
    (lambda ok: ok / 255, "the image is float64 and holds no codes: give integers from 0 to 255"),
    (lambda ok: ok + 256, "holds no codes"), (lambda ok: -1 - ok, "holds no codes")])
def test_images_that_are_no_codes(program, image, words):
    """One sentence instead of bytes that wrap around."""
    right = np.random.default_rng(0).integers(0, 16, (3, 4, 5))
    assert len(program.pack_input(right)) == program.input.size
    with pytest.raises(AlloyError, match=words):
        program.pack_input(image(right))


def test_place_of_a_value(program):
    """Filter tile and slot, strip and pixel tile."""
    made, = program.layers
    assert made.made_at(0, 0, 0)[2:] == (0, 0) and made.made_at(0, 3, 4)[2] == 0
    assert made.made_at(0, 3, 4)[3] == (3 * made.strips[0][4] + 4) // CONFIG.pixels
    assert {made.made_at(channel, 0, 0)[:2] for channel in range(6)} == set(made.slots)
    with pytest.raises(AlloyError, match="layer to_out has no value at row 4, column 0"):
        made.made_at(0, 4, 0)
