"""A host at the end of two wires runs a network on the engine, through the Verilog of the whole board."""

import numpy as np
import pytest

from compiler import compile
from driver import Alloy
from driver.on_uart import Uart
from rtl.system import System
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.numerics import Scheme
from tests.networks import random_network

from .board import Board

CONFIG = EngineConfig(name="system", ic=4, pixels=2, dsp_filters=2, lut_filters=1, dsp_device="mult18", act_depth=128,
                      weight_depth=32, param_depth=4, tap_depth=18, ports=1, port_bits=64, addr_bits=32, burst=8,
                      outstanding=2, queue_depth=2, tables=1)
MEMORY = 1 << 16


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    made = Board(CONFIG, MEMORY, tmp_path_factory.mktemp("board"))
    yield made
    made.close()


@pytest.mark.slow
def test_images_in_and_codes_out(board):
    """Program and images over the wire, two at once; every output is the golden one."""
    rng = np.random.default_rng(3)
    network = random_network(rng, schemes=[Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8], layers=3, max_size=5,
                             max_channels=5)
    alloy = Alloy(Uart(board, MEMORY), compile(network, CONFIG))
    shape = network.tensors["image"].shape
    images = rng.integers(0, 256, (2, *shape), np.uint8)
    got = alloy.codes(images, layout="CHW")
    assert (got.reshape(2, -1) == network.codes(images)[network.output].reshape(2, -1)).all() and all(alloy.cycles)


@pytest.mark.slow
def test_what_the_board_answers(board):
    """Registers that are not there, memory that is not there, bytes that are no request, whole words."""
    uart = Uart(board, MEMORY)
    assert uart.read(0) == 0x594F4C41
    with pytest.raises(AlloyError, match="the engine has no register at 0xf8: its bitstream is of another version"):
        uart.read(0xF8)
    with pytest.raises(AlloyError, match="the memory of the board has 65,536 bytes and 69,632 are needed: take a "):
        uart.allocate(MEMORY + 1)
    board.write(b"\x00z")
    assert uart.read(0) == 0x594F4C41
    buffer = uart.allocate(100)
    buffer.bytes[:] = np.arange(100)
    buffer.flush(3, 10)         # whole words around them
    buffer.bytes[:] = 7
    buffer.invalidate(0, 16)
    assert buffer.bytes[:17].tolist() == [*range(16), 7]


def test_systems_that_cannot_be():
    with pytest.raises(AlloyError, match="the engine has 4 memory ports: memory on the chip has one, set ports to 1"):
        System(EngineConfig(name="x", ic=4, pixels=2, dsp_filters=2, lut_filters=1), memory_bytes=MEMORY, clock_hz=5e7,
               baud=1_000_000)
    for values, text in ((dict(baud=3_100_000, clock_hz=2e7), "3100000 bits a second .* are 6 cycles each, more"),
                         (dict(baud=1_000_000, clock_hz=3e6), "a bit of the UART takes 3 cycles: choose a rate of 4"),
                         (dict(baud=1_000_000, clock_hz=5e7, memory_bytes=5000), "of 5000 bytes: give a power of two")):
        with pytest.raises(AlloyError, match=text):
            System(CONFIG, **{"memory_bytes": MEMORY, **values})
