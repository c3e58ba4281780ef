"""Compiled programs on the command model against the golden model, for networks and configurations nobody planned."""

from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings, strategies as st
import numpy as np
import pytest

from compiler import Program, compile
from compiler.disassemble import disassemble
from sim import command_model, cycle_model, golden, verilator
from sim.compare import first_difference
from spec.commands import COMMAND_BYTES, FIELDS, MAGIC, VERSION, Opcode, pack_record, unpack
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.numerics import Scheme, levels
from spec.operators.convolution import Conv
from tests.networks import random_config, random_network

TINY = dict(act_depth=24, weight_depth=24, tap_depth=12)


def check(seed, **values):
    """Compile, execute in a random order of the queues, compare every tensor. Returns the program."""
    rng = np.random.default_rng(seed)
    network, config = random_network(rng), random_config(rng, **values)
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    program = compile(network, config, keep="all")
    got = command_model.run(program, config, codes[0], seed)
    expected = {n: t[0] for n, t in golden.run(network, codes).items()}
    assert set(got) == {node.output for node in network.nodes}
    assert first_difference(program, expected, got) is None
    return program


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10 ** 6))
def test_random_networks(seed):
    check(seed)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@example(262)       # sums in parts whose last tile starts behind the memory: its taps lead back
@given(st.integers(0, 10 ** 6))
def test_tiny_buffers_spill_and_split(seed):
    try:
        check(seed, **TINY)
    except AlloyError as error:
        assert "raise act_depth" in str(error) or "raise weight_depth" in str(error)


def test_spilling_and_splitting_happen():
    """The property above is not vacuous: strips and split accumulations occur among few seeds."""
    strips = splits = 0
    for seed in range(40):
        try:
            commands = [unpack(c) for c in check(seed, **TINY).commands]
        except AlloyError:
            continue
        strips += sum(c["opcode"] == Opcode.LOAD_ACT for c in commands) > 1
        splits += any(c["opcode"] == Opcode.CONV and not c["acc_last"] for c in commands)
    assert strips > 3 and splits > 3


def small(weight, scheme=Scheme.FIXED8, bits=5, **values):
    """A network of one 1x1 convolution over a 4x4 map."""
    weight = np.asarray(weight, np.int16).reshape(len(weight), -1, 1, 1)
    count, channels = weight.shape[:2]
    tensors = {"image": Tensor(name="image", channels=channels, height=4, width=4, bits=bits),
               "out": Tensor(name="out", channels=count, height=4, width=4, bits=bits)}
    node = Conv(name="dense", input="image", output="out", weight=weight, scheme=np.full(count, scheme, np.uint8),
                mult=np.full(count, values.pop("mult", 64), np.int32), bias=np.zeros(count, np.int64), shift=10, lo=0, hi=(1 << bits) - 1, **values)
    return Network(name="small", input="image", output="out", tensors=tensors, nodes=[node])


CONFIG = EngineConfig(name="test", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=64, weight_depth=64, ports=1, port_bits=32)


def test_accumulator_overflow_names_layer_and_filter():
    with pytest.raises(AlloyError, match=r"layer dense filter 1 .* raise acc_width"):
        compile(small([[1] * 40, [7] * 40], Scheme.FIXED4), EngineConfig.from_dict({**CONFIG.to_dict(), "acc_width": 12}))


@pytest.mark.parametrize("device, channels, refused", [("dsp48e1", 1020, False), ("dsp48e1", 1030, True), ("dsp48e2", 4100, False),
                                                       ("dsp48e2", 4115, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_joined_pixel_digits_are_refused_where_they_overflow(device, channels, refused, sign):
    """Power-of-two weights 64 and the code 255: 16,320 for each input, and a port of 2^24 or 2^26; just below it the sums are right."""
    config = EngineConfig(name="deep", ic=32, pixels=2, dsp_filters=2, lut_filters=1, act_depth=1024, weight_depth=512, acc_width=27,
                          dsp_device=device)
    channels = channels if sign > 0 or refused else channels - 2        # one's complements take a little
    layer = Conv(name="fc", input="image", output="out", weight=np.full((1, channels, 1, 1), sign * 64, np.int16),
                 scheme=np.array([Scheme.POT4], np.uint8), mult=np.array([40000], np.int32),
                 bias=np.array([(100 - 99 * sign) << 33], np.int64), shift=33, lo=0, hi=255)
    tensors = {t.name: t for t in (Tensor(name="image", channels=channels, height=1, width=1, bits=8),
                                   Tensor(name="out", channels=1, height=1, width=1, bits=8))}
    network = Network(name="deep", input="image", output="out", tensors=tensors, nodes=[layer])
    if refused:
        with pytest.raises(AlloyError, match="filter 0 can reach .* after its pixel digits are joined"):
            compile(network, config)
        return
    program = compile(network, config)
    for codes in (np.full((channels, 1, 1), 255), np.random.default_rng(4).integers(0, 256, (channels, 1, 1))):
        assert (command_model.run(program, config, codes, seed=1)["out"] == golden.run(network, codes[None])["out"][0]).all()


def test_scheme_without_columns():
    config = EngineConfig.from_dict({**CONFIG.to_dict(), "dsp_filters": 0})
    with pytest.raises(AlloyError, match="layer dense filter 0 is not power-of-two"):
        compile(small([[3, 5]], Scheme.FIXED4), config)


def test_unsupported_stride():
    with pytest.raises(AlloyError, match="layer dense has stride 3"):
        network = small([[1, 1]])
        tensors = dict(network.tensors, out=Tensor(name="out", channels=1, height=2, width=2, bits=5))
        node = Conv(**{**vars(network.nodes[0]), "stride": (3, 3)})
        compile(Network(name="n", input="image", output="out", tensors=tensors, nodes=[node]), CONFIG)


def test_flipped_weight_bit_is_seen():
    rng = np.random.default_rng(5)
    network = small(rng.integers(-119, 120, (3, 8)))
    program = compile(network, CONFIG)
    codes = rng.integers(1, 32, (8, 4, 4))
    expected = golden.run(network, codes[None])["out"][0]
    load = next(c for c in map(unpack, program.commands) if c["opcode"] == Opcode.LOAD_WEIGHTS)
    image = bytearray(program.image)
    image[load["dram"]] ^= 4
    broken = Program(**{**vars(program), "image": bytes(image)})
    assert (command_model.run(program, CONFIG, codes)["out"] == expected).all()
    difference = first_difference(broken, {"out": expected}, command_model.run(broken, CONFIG, codes))
    assert difference is not None and difference.layer == "dense" and "expected" in str(difference)


def test_program_file(tmp_path):
    program = compile(small([[1, 2, 3]]), CONFIG)
    program.save(tmp_path / "p.alloy")
    again = Program.load(tmp_path / "p.alloy")
    assert vars(again) == vars(program)
    data = (tmp_path / "p.alloy").read_bytes()
    (tmp_path / "p.alloy").write_bytes(data[:len(data) // 2])
    with pytest.raises(AlloyError, match="not a whole Alloy program"):
        Program.load(tmp_path / "p.alloy")


def test_disassembly_lists_every_command():
    program = compile(small([[1, 2, 3]]), CONFIG)
    lines = disassemble(program)
    assert len(lines) == program.command_count and "CONV" in "".join(lines) and "END" in lines[-1]


def tools(program, config):
    """Every tool that takes a program and a configuration, with these."""
    codes = np.zeros((1, 8, 4, 4), int)
    return {"command model": lambda: command_model.run(program, config, codes[0]), "cycle model": lambda: cycle_model.model(program, config),
            "simulator": lambda: verilator.Model("no such file", config).run(program, codes)}


def damaged(program, **values):
    """The program with fields of its first command changed."""
    start = pack_record(FIELDS, {"magic": MAGIC, **program.start, **values}, COMMAND_BYTES)
    return replace(program, image=start + program.image[COMMAND_BYTES:])


@pytest.mark.parametrize("tool", tools(None, None))
def test_a_program_for_something_else_is_refused(tool):
    """Kind: a program of another configuration runs. Every tool refuses it, and names both sides and the way out."""
    program = compile(small([[1, 2, 3]]), CONFIG)
    other = EngineConfig.from_dict({**CONFIG.to_dict(), "ports": 2})
    with pytest.raises(AlloyError, match=f"compiled for configuration {CONFIG.digest}, this one is {other.digest}: compile it again for this one"):
        tools(program, other)[tool]()
    with pytest.raises(AlloyError, match=f"has version 77 of the commands, this is version {VERSION}: compile the network again"):
        tools(damaged(program, version=77), CONFIG)[tool]()
    for values in (dict(opcode=Opcode.END), dict(opcode=200), dict(magic=0)):
        with pytest.raises(AlloyError, match="does not begin with START: it is damaged or older than this, compile the network again"):
            tools(damaged(program, **values), CONFIG)[tool]()


def test_disassemble_refuses_what_it_cannot_read():
    program = compile(small([[1, 2, 3]]), CONFIG)
    assert f"digest={CONFIG.digest} version={VERSION}" in disassemble(program)[0]
    with pytest.raises(AlloyError, match="has version 77 of the commands"):
        disassemble(damaged(program, version=77))
    with pytest.raises(AlloyError, match="does not begin with START"):
        disassemble(replace(program, command_count=0))


def test_digest_is_that_of_the_hardware():
    """It does not depend on the name, and on everything else."""
    def digest(**values):
        return EngineConfig.from_dict(CONFIG.to_dict() | values).digest
    changed = dict(ic=5, pixels=2, dsp_filters=2, lut_filters=3, act_digit_bits=4, acc_width=23, dsp_device="mult18", portable_dsp=True,
                   lut_form="product_lookup", act_depth=99, weight_depth=99, param_depth=9, tap_depth=99, tables=1, decode_lanes=8, ports=3,
                   port_bits=64, addr_bits=41, burst=8, outstanding=7, queue_depth=3)
    assert set(changed) == set(CONFIG.to_dict()) - {"name"} and all(CONFIG.to_dict()[n] != v for n, v in changed.items())
    assert digest(name="other") == CONFIG.digest
    assert len({CONFIG.digest, *(digest(**{n: v}) for n, v in changed.items())}) == len(changed) + 1


@pytest.mark.parametrize("scheme, share", [(Scheme.FIXED2, 0.5), (Scheme.FIXED3, 0.8), (Scheme.FIXED4, 1.0)])
def test_coded_weights_are_smaller_and_the_same(scheme, share):
    """2- and 3-bit filters take less memory and traffic; the decoded weights give the same codes."""
    rng = np.random.default_rng(int(scheme))
    weight = rng.choice(levels(scheme), (24, 32, 3, 3)).astype(np.int16)
    config = EngineConfig.from_dict(CONFIG.to_dict() | {"ic": 8, "lut_filters": 0, "acc_width": 24, "ports": 2, "act_depth": 256,
                                                        "weight_depth": 256, "tap_depth": 36})
    coded = EngineConfig.from_dict(config.to_dict() | {"decode_lanes": 16})
    tensors = {n: Tensor(name=n, channels=c, height=4, width=4, bits=4) for n, c in (("image", 32), ("out", 24))}
    node = Conv(name="c", input="image", output="out", weight=weight, scheme=np.full(24, scheme), mult=np.full(24, 3, np.int32),
                bias=np.zeros(24, np.int64), shift=8, lo=0, hi=15, padding=(1, 1))
    network = Network(name="n", input="image", output="out", tensors=tensors, nodes=[node])
    codes = rng.integers(0, 16, (1, 32, 4, 4))
    sizes = []
    for c in (config, coded):
        program = compile(network, c)
        loads = [f for f in map(unpack, program.commands) if f["opcode"] == Opcode.LOAD_WEIGHTS]
        sizes.append(sum(f["beats"] or f["count"] * c.weight_beats for f in loads))
        assert (command_model.run(program, c, codes[0])["out"] == golden.run(network, codes)["out"][0]).all()
    assert sizes[1] <= share * sizes[0], sizes


@pytest.mark.parametrize("image, words", [
    (lambda ok: ok[None], "not that of the program's input"), (lambda ok: ok.repeat(2, 1), "not that of the program's input"),
    (lambda ok: ok[:0], "holds no codes"),
    (lambda ok: ok / 255, "holds no codes"), (lambda ok: ok + 256, "holds no codes"), (lambda ok: -1 - ok, "holds no codes")])
def test_images_that_are_no_codes(image, words):
    """One sentence instead of bytes that wrap around."""
    network = random_network(np.random.default_rng(2))
    tensor = network.tensors[network.input]
    program = compile(network, random_config(np.random.default_rng(3)))
    right = np.random.default_rng(0).integers(0, 1 << tensor.bits, tensor.shape)
    assert len(program.pack_input(right)) == program.input.size
    with pytest.raises(AlloyError, match=words):
        program.pack_input(image(right))
