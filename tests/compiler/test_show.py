"""The printer of graph, placement and schedule, and its command."""

import json

import pytest

import boards
from compiler import compile
from compiler.__main__ import main
from compiler.build import lowered, planned
from compiler.show import show_graph, show_placement, show_schedule
from spec.commands import QUEUES, unpack
from tests.compiler.graphs import engine, layer, network, pool

NETWORK = network({"image": (3, 8, 8), "a": (6, 8, 8), "b": (6, 4, 4), "c": (6, 4, 4)},
                  layer("image", "a", 6, 3, (3, 3), padding=(1, 1)), pool("a", "b"),
                  layer("b", "c", 6, 6, residual="b", res_mult=30))
CONFIG = engine(act_depth=256)


@pytest.fixture
def file(tmp_path):
    NETWORK.save(tmp_path / "n.npz")
    (tmp_path / "c.json").write_text(json.dumps(CONFIG.to_dict()))
    return tmp_path / "n.npz"


def test_graph():
    head, *lines = show_graph(lowered(NETWORK, CONFIG))
    assert head.startswith("graph: image 3x8x8.4 to c 6x4x4.4") and len(lines) == len(NETWORK.nodes)
    assert "to_a" in lines[0] and "Convolution  3x3 stride 1x1 padding 1x1  image 3x8x8.4 -> a 6x8x8.4 yx" in lines[0]
    assert "Maximum      2x2 stride 2x2" in lines[1] and "dsp" not in lines[1]
    assert "b 6x4x4.4 + b 6x4x4.4 -> c" in lines[2] and lines[2].endswith("6 dsp")
    mixed = show_graph(lowered(NETWORK, engine(act_depth=256, ic=32)))
    assert "of each pixel's window of the image 1 rows of 9 bytes are channels, 3 bytes further" in list(mixed)[1]


def test_placement():
    """What is added to itself does not fit two memories, so it is loaded for one of them."""
    lines = list(show_placement(planned(lowered(NETWORK, CONFIG), CONFIG)))
    assert lines[0].startswith("placement: input A[0..16]") and len(lines) == 4
    assert "in DRAM: b" in lines[2] and "in DRAM: b" in lines[3]
    small = engine(act_depth=24)
    lines = list(show_placement(planned(lowered(NETWORK, small), small)))
    assert any("to_a" in line and "2 strips  in turn with to_b" in line for line in lines)
    assert any("rows 4..8 columns 0..8 groups 0..2: A[0..16] -> B[0..16]" in line for line in lines)


def test_schedule():
    program = compile(NETWORK, CONFIG)
    head, *lines = show_schedule(program)
    opcodes = [unpack(record)["opcode"] for record in program.commands]
    counts = [sum(QUEUES.get(opcode) == queue for opcode in opcodes) for queue in ("load", "compute", "store")]
    assert head == (f"schedule: {len(opcodes)} commands, {counts[0]} load, {counts[1]} compute, {counts[2]} store")
    assert len(lines) == len(opcodes) and all(opcode.name in line for opcode, line in zip(opcodes, lines, strict=True))


def test_command(file, capsys):
    assert main(["show", str(file), "--config", str(file.parent / "c.json")]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in whole if line.startswith(("graph", "placement", "schedule"))] == [
        "graph", "placement", "schedule"]
    name = next(iter(boards.BOARDS))
    assert main(["show", str(file), "--platform", name, "--part", "placement"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("placement: ") and not any("graph" in line or "CONV" in line for line in lines)


@pytest.mark.parametrize("options, words", [
    ([], "an engine is needed: give --platform or --config, one of them"),
    (["--platform", "zcu102", "--config", "x"], "an engine is needed: give --platform or --config, one of them"),
    (["--platform", "zcu102", "--part", "tree"], "there is no part 'tree': choose graph, placement, schedule"),
    (["--platform", "zcu1"], "there is no platform 'zcu1': choose")])
def test_wrong_options(file, capsys, options, words):
    assert main(["show", str(file), *options]) == 2
    assert words in capsys.readouterr().err
