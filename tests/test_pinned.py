"""What Alloy writes, pinned by SHA-256: Verilog of the boards and of two small engines, a network file, a program
image.

Kind: a change that was to change nothing. After an intended change ``python -m tests.test_pinned`` renews
``pinned.json``
(a minute); the commit says what changed and why.
"""

from hashlib import sha256
import json
from pathlib import Path
import sys
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import boards
from compiler import compile
from rtl.generate import generate
from spec.config import EngineConfig
from spec.numerics import Scheme
from tests.networks import random_network

PINS = Path(__file__).with_name("pinned.json")
SMALL = dict(ic=4, pixels=4, act_depth=256, weight_depth=256, param_depth=8, tap_depth=36, ports=2, port_bits=64,
             addr_bits=40, burst=16, outstanding=4, queue_depth=2)
ENGINES = {
    "coded": EngineConfig(**SMALL, name="coded", dsp_filters=4, lut_filters=2, tables=2, decode_lanes=16),
    "mult18": EngineConfig(**SMALL | {"ic": 3, "pixels": 6, "burst": 1}, name="mult18", dsp_filters=2, lut_filters=1,
                           dsp_device="mult18", lut_form="product_lookup", tables=0),
}
QUICK = ("coded", "mult18")     # a few seconds each
SEED = 9


def digest(*parts):
    found = sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def network():
    """Convolutions with residuals and tables, pools, zero points and a code book."""
    rng = np.random.default_rng(SEED)
    schemes = [Scheme.FIXED8, Scheme.FIXED5, Scheme.FIXED4, Scheme.CODEBOOK, Scheme.POT4]
    return random_network(rng, schemes=schemes, layers=8)


def verilog(name):
    config = ENGINES[name] if name in ENGINES else boards.get(name).config
    return digest(*(part.encode() for item in sorted(generate(config).items()) for part in item))


def network_file(folder):
    """Names, types, shapes and bytes of all arrays, the graph among them: not the dates that the zip form has."""
    path = Path(folder) / "network.npz"
    network().save(path)
    with np.load(path) as arrays:
        return digest(*(part for name in sorted(arrays) for part in (
            name.encode(), arrays[name].dtype.str.encode(), repr(arrays[name].shape).encode(), arrays[name].tobytes())))


def program():
    return digest(compile(network(), ENGINES["coded"]).image)


def everything():
    with TemporaryDirectory() as folder:
        return {"network file": network_file(folder), "program": program(),
                "verilog": {name: verilog(name) for name in (*ENGINES, *boards.BOARDS)}}


def pinned():
    return json.loads(PINS.read_text())


@pytest.mark.parametrize("name", [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in (*ENGINES, *boards.BOARDS)])
def test_verilog(name):
    assert verilog(name) == pinned()["verilog"][name]


def test_network_file(tmp_path):
    assert network_file(tmp_path) == pinned()["network file"]


def test_program():
    assert program() == pinned()["program"]


def main():
    PINS.write_text(json.dumps(everything(), indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
