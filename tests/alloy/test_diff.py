"""``alloy diff``: every comparison finds a fault that is planted, where it is planted, and none where there is none."""

from copy import deepcopy
from dataclasses import replace
import json
import os
import re
import sys

import numpy as np
import pytest
import torch

from alloy.diff import __main__ as program
from alloy.diff import hardware
from alloy.diff.__main__ import main
from alloy.diff.hardware import Engine, compare_rtl
from alloy.diff.integers import compare_codes, compare_numbers
from alloy.diff.layers import compare_layers, values_of
from alloy.diff.options import DiffOptions
from alloy.diff.programs import differences, with_all_tensors
from alloy.diff.subject import open_subject
from alloy.diff.words import float_lines, worst_of
from alloy.flow.__main__ import main as flow_main
from compiler import compile
from quant.kept import load_net
from quant.quantize import float_graph
from sim import command_model, run as simulation
from sim.verilator import Result, Run
from spec.commands import COMMAND_BYTES, FIELDS, Opcode, pack_record, unpack
from spec.errors import AlloyError
from spec.network import Network
from spec.program import Program
from spec.registers import Trace
from tests.networks import random_config, random_network
from tests.sim.verilator.test_engines import CONFIGS
from tests.sim.verilator.test_waveform import changes
from tests.user import SOURCE, photographs, trained
from tests.verilated import shared_cache

CONFIG = random_config(np.random.default_rng(1), **CONFIGS["portable"])     # built for another test, too
YAML = """
model: mine_to_diff:Net
weights: net.pth
images: photos
size: 8
mean: 0.5
std: 0.25
recipe: fixed8
platform: zcu102
config: small.json
calibration: 20
count: 6
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A user's folder, and the flow in it as far as the program."""
    folder, before = tmp_path_factory.mktemp("diff"), os.getcwd()
    photographs(folder / "photos")
    (folder / "mine_to_diff.py").write_text(SOURCE)
    torch.save(trained().state_dict(), folder / "net.pth")
    (folder / "small.json").write_text(json.dumps(CONFIG.to_dict()))
    (folder / "flow.yaml").write_text(YAML + f"cache: {shared_cache(tmp_path_factory)}\n")
    os.chdir(folder)
    try:
        assert flow_main(["--options", "flow.yaml", "--to", "compile", "--out", "flow", "--quiet"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", [str(files), *sys.path])
    return files


@pytest.fixture(scope="module")
def opened(files):
    before, path = os.getcwd(), sys.path[:]
    os.chdir(files)
    sys.path.insert(0, str(files))
    try:
        return open_subject(DiffOptions(model="flow", compare=4), lambda text: None, quantized=True, simulated=True)
    finally:
        os.chdir(before)
        sys.path[:] = path


@pytest.fixture
def subject(here, opened):
    """What the flow has made, with a network of its own."""
    return replace(opened, net=deepcopy(opened.net))


class Modelled:
    """An engine that the command model is; ``wrong`` changes the bytes of a region by tensor name."""

    def __init__(self, config, wrong=None):
        self.config, self.wrong, self.windows = config, wrong or (lambda name, image, data: data), []

    def run(self, program, images, window=None, **_):
        self.windows += [] if window is None else [window]
        compute = [c["tag"] for c in map(unpack, program.commands) if c["opcode"] in (Opcode.CONV, Opcode.POOL)]
        trace = [(1000 * (at + 1), Trace.DONE, tag) for at, tag in enumerate(compute)]
        runs = []
        for index, image in enumerate(images):
            model = command_model.CommandModel(program, self.config)
            model.put(image)
            model.execute()
            regions = [self.wrong(name, index, model.memories.bytes(r.offset, r.size).astype(np.uint8).copy())
                       for name, r in program.outputs.items()]
            runs.append(Run(2, False, 9000, {}, trace, [data.tobytes() for data in regions]))
        return Result(runs, "")


@pytest.fixture
def modelled(monkeypatch):
    """Puts the command model in the place of the simulator; what it is to get wrong can be said."""
    def put(config=CONFIG, wrong=None):
        engine = Modelled(config, wrong)
        monkeypatch.setattr(simulation.verilator, "build", lambda *_, **options: engine)
        monkeypatch.setattr(hardware, "generate", lambda config: {})
        return engine
    return put


def diff(*arguments):
    return main([*map(str, arguments), "--quiet"])


def test_nothing_differs(here, capsys):
    """From the folder of a flow, on the Verilated engine; a picture is written, and the result is all there."""
    assert diff("flow", "--compare", 5, "--picture", "errors.png", "--trace", "none.fst", "--json", "diff.json") == 0
    shown, result = capsys.readouterr().out, json.loads((here / "diff.json").read_text())
    assert "integers: 3 of 3 tensors equal" in shown and "RTL: 6 of 6 tensors equal, 2 images" in shown
    worst = max(result["stages"]["float"]["layers"], key=lambda one: one["own"]["relative"])["name"]
    last = f"float: layer {worst} has the largest error of its own; integer: equal; rtl: equal"
    assert shown.splitlines()[-1] == last
    stages = result["stages"]
    assert list(stages) == ["float", "integer", "rtl"] and result["different"] == [] and result["status"] == 0
    assert [layer["name"] for layer in stages["float"]["layers"]] == ["conv", "adaptive_avg_pool2d", "fc"]
    assert stages["float"]["images"] == 5 and stages["float"]["model_error"] < 1e-5
    assert 30 < stages["float"]["layers"][2]["own"]["sqnr"] < 60
    assert stages["integer"]["codes"]["first"] is None and stages["rtl"]["first"] is None
    assert (here / "errors.png").read_bytes().startswith(b"\x89PNG") and not (here / "none.fst").exists()


def test_without_a_flow_and_without_an_engine(here, capsys):
    """Float and integers alone, of a model that is quantized now; a picture as SVG."""
    (here / "few.yaml").write_text("\n".join(line for line in YAML.splitlines() if "platform" not in line
                                             and "config" not in line))
    assert diff("--options", "few.yaml", "--picture", "errors.svg") == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1].endswith(" has the largest error of its own; integer: equal")
    assert "<svg" in (here / "errors.svg").read_text()


# -- float -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layer, channel", [("conv", 4), ("fc", 1)])
def test_a_wrong_bias_or_weight_in_fake_quantization(subject, layer, channel):
    """The layer and the channel are named; the layers behind it have errors of their own as before."""
    net, codes = subject.net, subject.codes(4)
    before = {one.name: one for one in compare_layers(net, codes)[0]}
    with torch.no_grad():
        net.biases[layer][channel] += 8 * net.step(layer)
    errors, outputs = compare_layers(net, codes)
    worst = worst_of(errors)
    assert (worst.name, worst.channel) == (layer, channel)
    assert worst.own.relative > 3 * before[layer].own.relative and worst.own.sqnr < before[layer].own.sqnr - 6
    assert all(one.own == before[one.name].own for one in errors if one.name != layer)
    assert np.allclose(outputs, subject.outputs(4), atol=1e-5)
    real, fake, step, zero, top = values_of(net, layer, codes)
    assert abs(fake - real)[:, channel].mean() > step and real.shape == fake.shape and 0 <= zero < top


def test_errors_are_what_they_say(subject):
    """Against plain sums over the values, whatever the batches."""
    codes = subject.codes(4)
    errors, _ = compare_layers(subject.net, codes)
    for one in errors:
        real, fake = (value.astype(float) for value in values_of(subject.net, one.name, codes)[:2])
        noise = np.square(fake - real)
        assert one.own.sqnr == pytest.approx(10 * np.log10(np.square(real).sum() / noise.sum()), abs=1e-4)
        assert one.own.relative == pytest.approx(np.sqrt(noise.mean()) / real.std(), rel=1e-5)
        assert one.channels == pytest.approx(np.sqrt(noise.mean((0, 2, 3))) / real.std(), rel=1e-5)


def test_a_float_network_that_is_not_the_model(here, capsys):
    """Other weights in the file than those that were quantized."""
    model = trained()
    with torch.no_grad():
        model.fc.weight[2, 3] += 0.5
    torch.save(model.state_dict(), here / "other.pth")
    text = (here / "flow" / "flow.yaml").read_text()
    (here / "moved").mkdir()
    for name in ("network.npz", "state.pt", "program.alloy"):
        (here / "moved" / name).write_bytes((here / "flow" / name).read_bytes())
    (here / "moved" / "flow.yaml").write_text(text.replace("net.pth", "other.pth"))
    assert diff("moved", "--to", "float") == 1
    assert "the float network is not the model: their outputs are up to" in capsys.readouterr().out


def test_the_worst_of_none(subject):
    errors, _ = compare_layers(subject.net, subject.codes(1))
    exact = [replace(one, own=replace(one.own, sqnr=None, relative=None)) for one in errors]
    assert worst_of(exact) is None
    assert any(line.split()[1:3] == ["-", "-"] for line in float_lines(exact, None, None, 1.0))


# -- integers --------------------------------------------------------------------------------------------------------
def changed(network, name, **fields):
    """A network with other fields in one node."""
    return replace(network, nodes=[replace(node, **fields) if node.name == name else node for node in network.nodes])


def test_a_wrong_weight_in_the_saved_network(here, capsys):
    network = Network.load("flow/network.npz")
    weight = network.nodes[0].weight.copy()
    weight[4, 1, 2, 0] += 40 if weight[4, 1, 2, 0] < 40 else -40
    changed(network, "conv", weight=weight, bounds=np.zeros((0, 2), np.int64)).save("wrong.npz")
    assert diff("flow", "--network", "wrong.npz", "--to", "integer", "--json", "wrong.json") == 1
    shown, result = capsys.readouterr().out, json.loads((here / "wrong.json").read_text())
    right = network.nodes[0].weight[4, 1, 2, 0]
    assert (f"layer conv: weight of filter 4, channel 1, row 2, column 0 is {weight[4, 1, 2, 0]}, fake quantization "
            f"has {right}") in shown
    assert result["different"] == ["integer"]
    first = result["stages"]["integer"]["codes"]["first"]
    assert (first["layer"], first["tensor"], first["channel"]) == ("conv", "conv", 4)
    assert shown.splitlines()[-1].endswith("integer: differ in layer conv")


@pytest.mark.parametrize("field, change", [("bias", lambda value, shift: value + (3 << shift)),
                                           ("mult", lambda value, shift: value // 2),
                                           ("shift", lambda value, shift: value - 1)])
def test_wrong_numbers(subject, field, change):
    """The layer, the field and the filter; every other layer is right, for it reads what the wrong one has made."""
    network, codes = subject.network, subject.codes(4)
    node = network.nodes[2]
    value = getattr(node, field)
    if isinstance(value, np.ndarray):
        new = value.copy()
        new[1] = change(value[1], node.shift)
    else:
        new = change(value, node.shift)
    wrong = changed(network, "fc", **{field: new})
    numbers = compare_numbers(subject.net, wrong)
    assert len(numbers) == 1 and numbers[0].startswith(f"layer fc: {field} ")
    assert isinstance(value, int) or f"of filter 1 is {new[1]}, fake quantization has {value[1]}" in numbers[0]
    found = compare_codes(subject.net, wrong, codes)
    assert (found.first.layer, found.first.image) == ("fc", 0) and found.equal == found.tensors - 1 == 2
    right = compare_codes(subject.net, network, codes)
    assert right.first is None and right.equal == 3 and compare_numbers(subject.net, network) == []
    place = found.first.image, found.first.channel, found.first.row, found.first.column
    assert found.first.found == wrong.codes(codes)["fc"][place] and found.first.expected == network.codes(codes)["fc"][
        place]


def test_another_network(subject):
    other = random_network(np.random.default_rng(3))
    assert "its layers are others than those of the model" in compare_numbers(subject.net, other)[0]
    short = replace(subject.network, nodes=[replace(node, name="gc") if node.name == "fc" else node
                                            for node in subject.network.nodes])
    assert compare_numbers(subject.net, short) == ["its layers are others than those of the model (fc)"]


# -- RTL -------------------------------------------------------------------------------------------------------------
def damaged(program, at, bit=1):
    image = bytearray(program.image)
    image[at] ^= bit
    return replace(program, image=bytes(image))


def loads(program, opcode):
    return [(index, c) for index, c in enumerate(map(unpack, program.commands)) if c["opcode"] == opcode]


def test_a_wrong_byte_in_the_program(here, subject, modelled, capsys):
    """Of weights: the command that loads it, its slot and channel; the tensors tell the layer, filter and lane."""
    modelled()
    made = Program.load("flow/program.alloy")
    index, load = next((i, c) for i, c in loads(made, Opcode.LOAD_WEIGHTS) if c["tag"] == 0)
    whole, codes = compile(subject.network, CONFIG, keep="all"), subject.codes(1)
    right = subject.network.codes(codes)["conv"][0]

    def shows(bad):
        try:
            got = command_model.run(with_all_tensors(bad, made, whole), CONFIG, codes[0])["conv"]
        except AlloyError:      # a weight that no number system has
            return False
        return (got != right).any()
    # Some filters are dead, and some bits mean nothing.
    bad = next(bad for at in range(load["dram"], load["dram"] + 200) if shows(bad := damaged(made, at, 4)))
    bad.save("bad.alloy")
    assert diff("flow", "--program", "bad.alloy", "--from", "rtl", "--json", "bad.json") == 1
    shown, result = capsys.readouterr().out, json.loads((here / "bad.json").read_text())
    assert f"not what the compiler makes: command {index} LOAD_WEIGHTS of layer conv loads other data (1 by" in shown
    first = result["stages"]["rtl"]["first"]
    assert (first["layer"], first["command"]["opcode"], first["command"]["tag"]) == ("conv", "CONV", 0)
    slot = int(re.search(r"loads other data .*: word \d+, slot (\d+), input channel \d is ", shown)[1])
    assert result["stages"]["rtl"]["all_tensors"] and first["command"]["slot"] == first["slot"] == slot // 2 * 2
    assert whole.layers[0].slots[first["channel"]] == (first["filter_tile"], first["slot"])
    assert f"column {first['column']}, command {first['command']['index']} CONV, tile " in shown
    assert shown.splitlines()[-1] == "rtl: differs in layer conv"


@pytest.mark.parametrize("opcode, words", [(Opcode.LOAD_PARAMS, "bias of slot "), (Opcode.LOAD_TAPS, "addr of tap ")])
def test_wrong_records(subject, opcode, words):
    made = subject.program
    index, load = loads(made, opcode)[-1]
    found = differences(damaged(made, load["dram"]), made, subject.network, CONFIG)
    assert any(f"command {index} {opcode.name} of layer " in text and words in text for text in found)


def test_wrong_commands(subject):
    """A field, an opcode that there is not, a command less; data behind the last that anything loads."""
    made, network = subject.program, subject.network
    index, conv = next((i, c) for i, c in loads(made, Opcode.CONV))
    image, at = bytearray(made.image), made.command_offset + index * COMMAND_BYTES
    image[at:at + COMMAND_BYTES] = pack_record(FIELDS, conv | {"hi": 7}, COMMAND_BYTES)
    wrong = replace(made, image=bytes(image))
    assert differences(wrong, made, network, CONFIG) == [
        f"command {index} CONV of layer conv: hi is 7, the compiler makes {conv['hi']}"]
    assert with_all_tensors(wrong, made, made) is None
    assert f"command {index} CONV of layer conv: " in differences(damaged(made, at, 64), made, network, CONFIG)[0]
    assert f"it has {made.command_count - 1} commands" in differences(
        replace(made, command_count=made.command_count - 1), made, network, CONFIG)[0]
    assert differences(replace(made, image=made.image + b"\0"), made, network, CONFIG)[0].startswith("its image has")
    unused = made.command_offset + made.command_count * COMMAND_BYTES
    assert differences(damaged(made, unused), made, network, CONFIG) == [
        f"1 bytes that no command loads, the first at {unused}"]
    assert differences(made, made, network, CONFIG) == []


@pytest.mark.parametrize("seed", range(3))
def test_rtl_that_is_wrong(modelled, seed):
    """One value of the second image of a random network; the waveform is of its command."""
    rng = np.random.default_rng(seed)
    while True:
        network, config = random_network(rng), random_config(rng)
        try:
            whole = compile(network, config, keep="all")
            break
        except AlloyError:
            continue
    name = str(rng.choice(list(whole.outputs)))
    region = whole.outputs[name]
    at = int(rng.integers(region.size)) // region.group_bytes * region.group_bytes        # the first of a group
    codes = rng.integers(0, 256, (2, *network.tensors["image"].shape))

    def wrong(tensor, image, data):
        if (tensor, image) == (name, 1):
            data[at] ^= 1
        return data
    engine = modelled(config, wrong)
    found = compare_rtl(network, codes, Engine(config), None, lambda text: None, "w.fst")
    assert (found.equal, found.tensors, found.image, found.first.tensor) == (
        2 * len(whole.outputs) - 1, 2 * len(whole.outputs), 1, name)
    assert found.first.wrong == 1 and found.first.expected ^ found.first.got == 1 and found.program == []
    origin = found.first.origin
    command = unpack(whole.commands[origin.index])
    assert command["opcode"] == origin.opcode and command["tag"] == origin.tag
    (window,), ordinal = engine.windows, sum(
        c["opcode"] in (Opcode.CONV, Opcode.POOL) for c in map(unpack, whole.commands[:origin.index]))
    assert window.run == 1 and window.first < 1000 * (ordinal + 1) and window.end > 1000 * ordinal


def test_a_program_of_another_network(modelled, subject):
    modelled()
    other = compile(random_network(np.random.default_rng(5), layers=1), CONFIG, keep="all")
    with pytest.raises(AlloyError, match="the program writes a tensor .* of another network, compile it again"):
        compare_rtl(subject.network, subject.codes(1), subject.engine, other, lambda text: None)
    with pytest.raises(AlloyError, match="the program was compiled for configuration"):
        compare_rtl(subject.network, subject.codes(1), replace(subject.engine, config=replace(CONFIG, ic=4)),
                    subject.program, lambda text: None)


def test_an_engine_that_hangs(modelled, subject, monkeypatch):
    engine = modelled()
    monkeypatch.setattr(engine, "run", lambda *_, **options: Result([Run(0, True, 77, {}, [], [])], ""))
    found = compare_rtl(subject.network, subject.codes(1), subject.engine, None, lambda text: None)
    assert found.fault == "image 0: the engine hung after 77 cycles" and found.first is None and found.tensors == 0


@pytest.mark.slow
def test_trace_of_a_difference(here, capsys):
    """The simulator runs the flow's program, and the network has another bias: the waveform is around the command."""
    network = Network.load("flow/network.npz")
    bias = network.nodes[0].bias + (4 << network.nodes[0].shift)      # of every channel: some are always off
    changed(network, "conv", bias=bias).save("moved.npz")
    assert diff("flow", "--network", "moved.npz", "--program", "flow/program.alloy", "--from", "rtl", "--trace",
                "moved.fst", "--json", "moved.json") == 1
    first = json.loads((here / "moved.json").read_text())["stages"]["rtl"]["first"]
    assert (first["layer"], first["command"]["opcode"]) == ("conv", "CONV")
    assert changes(here / "moved.fst")
    assert "first difference: image 0: layer conv: tensor conv" in capsys.readouterr().out


# -- the command line ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("arguments, words", [
    ([], "no model is given"),
    (["flow", "--from", "fly"], "there is no comparison 'fly': choose float, integer, rtl"),
    (["flow", "--from", "rtl", "--to", "float"], "--from rtl comes after --to float"),
    (["flow", "--recipe", "ratio"], "--recipe ratio is that of the flow in flow: leave it out"),
    (["flow", "--picture", "e.txt"], "e.txt is no picture that can be written: name a file that ends with .png"),
    (["flow", "--picture", "e.png", "--from", "integer"], "--picture e.png is of the errors of float"),
    (["flow", "--trace", "e.fst", "--to", "integer"], "--trace e.fst is of a difference in RTL"),
    (["flow", "--network", "none.npz"], "there is no network file none.npz"),
    (["flow", "--program", "flow/network.npz"], "is not a whole Alloy program"),
    (["flow", "--picture", "flow/network.npz"], "is no picture"),
    (["flow/network.npz", "--images", "photos"], "is an integer network, of which there is no float one"),
    (["mine_to_diff:Net", "--images", "photos", "--size", "8", "--to", "rtl"], "an engine is needed: give --platform"),
    (["mine_to_diff:Net"], "there is a model and no images")])
def test_refusals(here, capsys, arguments, words):
    """One sentence, status 2, and nothing is written."""
    before = sorted(path.name for path in here.iterdir())
    assert diff(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and sorted(path.name for path in here.iterdir()) == before


def test_a_flow_that_has_not_come_far(here, capsys):
    (here / "begun").mkdir()
    (here / "begun" / "flow.yaml").write_text((here / "flow" / "flow.yaml").read_text())
    assert diff("begun", "--to", "integer") == 2
    error = capsys.readouterr().err
    assert "the flow in begun has not come to its integer network: run alloy flow --out begun" in error


def test_without_a_compiler(here, capsys, monkeypatch):
    """Float and integers are compared all the same; what was asked for by name is refused."""
    gone = [replace(thing, find=lambda: None) if thing.name == "C++ compiler" else thing for thing in program.THINGS]
    monkeypatch.setattr(program, "THINGS", gone)
    assert main(["flow"]) == 0
    shown = capsys.readouterr().out
    assert "RTL is not compared: C++ compiler is not here" in shown
    assert shown.splitlines()[-1].endswith("integer: equal")
    assert diff("flow", "--to", "rtl") == 2
    assert "RTL needs C++ compiler, which is not here" in capsys.readouterr().err


def test_what_a_flow_keeps(here, subject):
    """The network in PyTorch of another model is refused, and so is damage."""
    data = (here / "flow" / "state.pt").read_bytes()
    job = subject.job
    graph = float_graph(job.model, job.shape, job.mean, job.std, None)[1]
    for name, content in (("cut.pt", data[:len(data) // 2]), ("text.pt", b"no"), ("empty.pt", b"")):
        (here / name).write_bytes(content)
        with pytest.raises(AlloyError, match=f"{name} is not the whole file of this model's quantized network"):
            load_net(here / name, graph)
    values = torch.load(here / "flow" / "state.pt", weights_only=True)
    torch.save({**values, "format": 9}, here / "new.pt")
    with pytest.raises(AlloyError, match="new.pt has format 9 and this Alloy reads 1: quantize again"):
        load_net(here / "new.pt", graph)
    values["float"]["fc"]["weight"] = values["float"]["fc"]["weight"][:2]
    torch.save(values, here / "less.pt")
    with pytest.raises(AlloyError, match="layer fc has weights of 3x6x1x1, and those kept are 2x6x1x1"):
        load_net(here / "less.pt", graph)
    with pytest.raises(AlloyError, match="there is no file of a quantized network"):
        load_net(here / "none.pt", graph)
    net = load_net(here / "flow" / "state.pt", graph)
    assert all((one.form()[1][key] == other.form()[1][key]).all() for one, other in zip(
        net.export().nodes, subject.network.nodes, strict=True) for key in one.form()[1])
