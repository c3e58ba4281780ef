"""One program in a four-state simulator, in both languages that its users choose between.

Kind: Verilog that one simulator reads as another does not. Verilator has two states and starts every process; Icarus
has
neither habit. Debian has it as ``iverilog``; without it the tests are skipped, and tests/rtl/tools/test_verilog.py
looks for
what stopped it.
"""

from pathlib import Path
import shutil
import subprocess

import numpy as np
import pytest

from compiler import compile
from rtl.generate import generate
from rtl.prim import MODELS
from spec.config import EngineConfig
from spec.numerics import Scheme
from spec.registers import REGISTERS
from tests.networks import random_network

CONFIG = EngineConfig(
    name="icarus",
    ic=3,
    pixels=2,
    dsp_filters=2,
    lut_filters=1,
    act_depth=128,
    weight_depth=32,
    param_depth=4,
    tap_depth=18,
    ports=1,
    port_bits=32,
    addr_bits=32,
    burst=4,
    outstanding=2,
    queue_depth=2,
    tables=1,
    decode_lanes=8,
)
BASE = 0x1000


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed (Debian: apt-get install iverilog)"
)
@pytest.mark.parametrize("generation", ["2005", "2012"])
def test_program(generation, tmp_path):
    rng = np.random.default_rng(1)
    network = random_network(
        rng, schemes=[Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8], layers=2, max_size=4, max_channels=4
    )
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    program, beat = compile(network, CONFIG, keep="all"), CONFIG.port_bytes
    memory = bytearray(program.window_size)
    memory[: len(program.image)] = program.image
    packed = program.pack_input(codes[0])
    memory[program.input.offset : program.input.offset + len(packed)] = packed
    words = [memory[n : n + beat][::-1].hex() for n in range(0, len(memory), beat)]
    (tmp_path / "dram.hex").write_text("\n".join(words) + "\n")
    defines = {
        "PORT_BITS": CONFIG.port_bits,
        "ADDR_BITS": CONFIG.addr_bits,
        "BASE": BASE,
        "SIZE": program.window_size,
        "CMD_OFFSET": program.command_offset,
        "CMD_COUNT": program.command_count,
    }
    defines |= {f"{r.name}_REGISTER" if r.name in defines else r.name: r.offset for r in REGISTERS}
    (tmp_path / "job.vh").write_text("".join(f"`define {name} {value}\n" for name, value in defines.items()))
    (tmp_path / "alloy.v").write_text(generate(CONFIG)["alloy.v"])

    def call(*command):
        done = subprocess.run([str(c) for c in command], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call(
        "iverilog",
        f"-g{generation}",
        "-s",
        "bench",
        "-o",
        "run",
        Path(__file__).with_name("icarus.v"),
        "alloy.v",
        *MODELS.values(),
    )
    before, status, after = [
        line for line in call("vvp", "-n", "run").splitlines() if not line.startswith(("WARNING", "bench"))
    ]
    assert before == "00000000" and int(status, 16) & 0xFFFF == 2 and int(after, 16) > 0
    lines = [line for line in (tmp_path / "out.hex").read_text().split() if not line.startswith(("/", "0x"))]
    result = b"".join(bytes.fromhex(line)[::-1] for line in lines)
    for name, region in program.outputs.items():
        got = program.unpack(name, result[region.offset : region.offset + region.size])
        assert (got == network.codes(codes)[name][0]).all(), name
