"""The Python driver on the Verilated engine, whose memory is not coherent, and the backend for PYNQ over the same."""

from dataclasses import replace
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from compiler import compile
from driver import Alloy
from driver.on_pynq import Pynq
from sim.engine import Engine
from sim.processor import Processor
from spec.commands import VERSION, Error
from spec.config import BOUNDARY
from spec.errors import AlloyError
from spec.registers import ID, REGISTERS
from tests.compiler.graphs import layer, network
from tests.driver.c.test_driver import CONFIG, classifier
from tests.networks import random_network
from tests.verilated import shared_cache

AT = {r.name: r.offset for r in REGISTERS}
NAMES = [f"class {n}" for n in range(11)]
MAP = network({"image": (1, 6, 8), "out": (5, 7, 9)}, layer("image", "out", 5, 1, (2, 2), padding=(1, 1)), image=5)
PATIENCE = 600.0        # seconds that a simulated engine may take on a machine that does other things as well


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine(CONFIG, cache=shared_cache(tmp_path_factory), report=None)


@pytest.fixture
def processor(engine):
    one = Processor(engine)
    yield one
    one.close()


@pytest.fixture(scope="module")
def program():
    return compile(classifier(), CONFIG, classes=NAMES)


def images(net, count, seed=0):
    """Codes (N, H, W, C) and what the network makes of them."""
    source = net.tensors[net.input]
    codes = np.random.default_rng(seed).integers(0, 1 << source.bits, (count, *source.shape)).astype(np.uint8)
    return codes.transpose(0, 2, 3, 1), net.codes(codes)[net.output]


def test_a_classifier(processor, program, tmp_path):
    """Several images and one, channels last and first, codes, real values, names."""
    batch, expected = images(classifier(), 5)
    expected = expected[:, :, 0, 0]
    program.save(tmp_path / "program.alloy")
    alloy = Alloy(processor, tmp_path / "program.alloy", timeout=PATIENCE)
    assert (alloy.codes(batch) == expected).all() and len(alloy.cycles) == 5 and min(alloy.cycles) > 100
    found = alloy.run(batch[2])
    assert found.dtype == np.float32 and (found == np.float32(0.25) * expected[2]).all()
    assert (alloy.codes(batch.transpose(0, 3, 1, 2), layout="CHW") == expected).all()
    assert alloy.classify(batch) == [NAMES[n] for n in expected.argmax(1)]
    alloy.load(replace(program, classes=()))
    assert alloy.classify(batch[1]) == expected[1].argmax()
    counters = alloy.counters()
    assert counters["cycles"] == alloy.cycles[0] > counters["array_cycles"] > 0 and counters["commands"] > 3


@pytest.mark.parametrize("seed", range(4))
def test_programs_in_turn(engine, seed):
    """Random networks, with pauses on the bus; every kept tensor."""
    rng = np.random.default_rng(seed)
    nets = [random_network(rng) for _ in range(2)]
    processor = Processor(engine, stall=0.3, seed=seed)
    with Alloy(processor, timeout=PATIENCE) as alloy:
        for turn in range(2):
            for net in nets:
                batch, _ = images(net, 1, turn)
                expected = net.codes(batch.transpose(0, 3, 1, 2))
                found = alloy.load(compile(net, CONFIG, keep="all")).tensors(batch[0])
                assert {name: codes.tolist() for name, codes in found.items()} == {
                    name: expected[name][0].tolist() for name in found}


def test_maps_and_gray_images(processor):
    batch, expected = images(MAP, 3)
    alloy = Alloy(processor, compile(MAP, CONFIG), timeout=PATIENCE)
    assert (alloy.codes(batch) == expected).all() and (alloy.codes(batch[..., 0]) == expected).all()
    assert (alloy.codes(batch[1, ..., 0], "CHW") == expected[1]).all()
    one = alloy.codes(batch[1].transpose(2, 0, 1), "CHW")       # with its channel
    assert one.shape == expected[1].shape and (one == expected[1]).all()
    cycles = alloy.cycles
    with pytest.raises(AlloyError, match="the output of the program is a map, not one value for each class"):
        alloy.classify(batch)
    assert alloy.cycles is cycles       # nothing was run for it
    with pytest.raises(AlloyError, match="keeps no scale of its output out"):
        alloy.run(batch)
    batch[1, 2, 3] = 16
    with pytest.raises(AlloyError, match="has the code 16 and the program reads codes of 4 bits"):
        alloy.codes(batch)
    assert (alloy.codes(batch[2]) == expected[2]).all()     # what ran meanwhile was stopped


@pytest.mark.parametrize("change, words", [
    (lambda x: x[:, :-1], r"are of shape \(2, 8, 11, 2\): the program reads 9 x 11 x 2 \(HWC\), one or several"),
    (lambda x: x[:0], "are of shape"), (lambda x: x[0, 0], "are of shape"), (lambda x: x / 255, "holds no codes"),
    (lambda x: x.transpose(0, 3, 1, 2), r"are of shape \(2, 2, 9, 11\)")])
def test_images_that_are_none(processor, program, change, words):
    alloy = Alloy(processor, program, timeout=PATIENCE)
    with pytest.raises(AlloyError, match=words):
        alloy.codes(change(images(classifier(), 2)[0]))


def test_refusals(processor, program):
    alloy = Alloy(processor, timeout=PATIENCE)
    batch, expected = images(classifier(), 1)
    with pytest.raises(AlloyError, match="no program is loaded: load one"):
        alloy.codes(batch)
    other = compile(classifier(), replace(CONFIG, queue_depth=CONFIG.queue_depth + 1))
    with pytest.raises(AlloyError, match=f"for configuration {other.digest}, this engine is {CONFIG.digest}: compile"):
        alloy.load(other)
    alloy.load(program)
    with pytest.raises(AlloyError, match="there is no layout 'WHC' of an image: choose HWC, CHW"):
        alloy.codes(batch, "WHC")
    with pytest.raises(AlloyError, match="2 images are given: give one"):
        alloy.tensors(np.concatenate([batch, batch]))
    with pytest.raises(AlloyError, match="the simulated memory has .* bytes and .* are needed: give more"):
        processor.allocate(1 << 30)
    for name, words in (("ID", "no Alloy engine answers here: the register ID is 0x7"),
                        ("VERSION", f"the engine has version 7 of the tables, this is version {VERSION}")):
        with pytest.raises(AlloyError, match=words):
            Alloy(Spoofed(processor, {AT[name]: 7}))
    with pytest.raises(AlloyError, match="the memory begins at .*, which the engine cannot address: give memory"):
        Alloy(Spoofed(processor, {AT["BASE_HI"]: 1 << 20}), program).codes(batch)
    assert (alloy.codes(batch)[0] == expected[0, :, 0, 0]).all()


class Spoofed:
    """A processor some of whose registers read otherwise."""
    def __init__(self, processor, values):
        self._processor, self._values = processor, values

    def __getattr__(self, name):
        return getattr(self._processor, name)

    def read(self, offset):
        return self._values.get(offset, self._processor.read(offset))


def test_an_engine_that_stops(processor, program):
    """Its words, and right results afterwards."""
    batch, expected = images(classifier(), 2)
    alloy = Alloy(processor, program, timeout=PATIENCE)
    buffer = alloy._loaded.buffer
    buffer.bytes[128 + 7] = 0       # no magic byte
    buffer.flush(128, 128)
    with pytest.raises(AlloyError, match=f"stopped in layer 0 with code {int(Error.OPCODE)}: unknown opcode"):
        alloy.codes(batch)
    assert (alloy.load(program).codes(batch) == expected[:, :, 0, 0]).all() and alloy._loaded.buffer is buffer
    late = Alloy(processor, program, timeout=0)
    with pytest.raises(AlloyError, match="the engine works for more than 0 seconds: it was stopped, give more"):
        late.codes(batch)
    assert (Alloy(processor, program, timeout=PATIENCE).codes(batch) == expected[:, :, 0, 0]).all()


@pytest.mark.parametrize("status, words", [(0x705, "the bus does not answer: reset"), (0x1, "the bus does not answer")])
def test_a_bus_that_does_not_answer(processor, program, status, words, monkeypatch):
    """As the register STATUS says it: busy for ever, with an error or without."""
    alloy = Alloy(processor, program, timeout=PATIENCE)
    spoofed = Spoofed(processor, {})
    alloy._backend, alloy._timeout = spoofed, 0.2
    monkeypatch.setattr("driver.alloy.ABORT_SECONDS", 0.2)
    batch, _ = images(classifier(), 1)
    spoofed._values[AT["STATUS"]] = status
    with pytest.raises(AlloyError, match=words):
        alloy.codes(batch)


class CachedArray(np.ndarray):
    """An array as ``pynq.allocate`` gives it."""
    def flush(self):
        self.shared.flush(0, self.size)

    def invalidate(self):
        self.shared.invalidate(0, self.size)

    def freebuffer(self):
        self.freed.append(self.size)


@pytest.fixture
def pynq(processor, monkeypatch):
    """A module as PYNQ's, over the simulated processor: addresses of buffers are odd multiples of 512."""
    freed = []

    def allocate(shape, dtype):
        shared = processor.allocate(shape[0] + 512)
        array = shared.bytes[512:512 + shape[0]].view(CachedArray)
        shared.bytes = shared.bytes[512:]
        shared._engine = shared._engine[512:]
        array.shared, array.freed, array.device_address = shared, freed, shared.address + 512
        shared.bytes = shared.bytes[:shape[0]]
        shared._engine = shared._engine[:shape[0]]
        return array
    blocks = {"dma": {"type": "xilinx.com:ip:axi_dma:7.1", "phys_addr": 0, "addr_range": 4096},
              "alloy_0": {"type": "alloy:accelerators:alloy:1.0", "phys_addr": 0xA0000000, "addr_range": 4096}}
    module = SimpleNamespace(allocate=allocate, Overlay=lambda path: SimpleNamespace(ip_dict=blocks), freed=freed,
                             MMIO=lambda address, size: processor, blocks=blocks)
    monkeypatch.setitem(sys.modules, "pynq", module)
    return module


def test_on_pynq(pynq, program):
    batch, expected = images(classifier(), 3)
    alloy = Alloy("alloy.bit", program)
    assert (alloy.codes(batch) == expected[:, :, 0, 0]).all()
    assert alloy._loaded.buffer.address % BOUNDARY == 0
    alloy.close()
    assert len(pynq.freed) == 1


def test_what_is_no_engine_of_pynq(pynq, processor, monkeypatch):
    with pytest.raises(AlloyError, match="alloy.bit has 0 engines called other, and dma, alloy_0: give the name"):
        Pynq("alloy.bit", "other")
    pynq.blocks["alloy_1"] = pynq.blocks["alloy_0"]
    with pytest.raises(AlloyError, match="has 2 engines called alloy"):
        Alloy("alloy.bit")
    assert Pynq("alloy.bit", "alloy_1").read(0) == ID
    with pytest.raises(AlloyError, match="alloy_0 of alloy.bit is no Alloy engine: its first register is 0x0"):
        monkeypatch.setattr(processor, "read", lambda offset: 0)
        Pynq("alloy.bit", "alloy_0")
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(AlloyError, match="PYNQ is not installed here"):
        Pynq("alloy.bit")


def test_a_window_that_is_no_memory(processor):
    """The simulated bus says so."""
    for name, value in (("BASE_LO", 0), ("SIZE", 8192), ("CMD_COUNT", 4), ("CTRL", 1)):
        processor.write(AT[name], value)
    with pytest.raises(AlloyError, match="broke the bus protocol: read: address outside the window"):
        processor.pause()


def test_a_simulator_that_ends(engine):
    processor = Processor(engine)
    processor._process.kill()
    processor._process.wait()
    with pytest.raises(AlloyError, match="the simulator has ended by itself"):
        processor.read(0)
