"""A driver takes the package of programs without the rest."""

import subprocess
import sys

import numpy as np

from compiler import compile
from tests.networks import random_config, random_network

ALONE = """
import sys
others = "amaranth", "boards", "compiler", "quant", "rtl", "sim", "torch"
sys.modules.update(dict.fromkeys(others))       # whoever imports one of them fails
import numpy as np
from spec.program import Program
program = Program.load(sys.argv[1])
data = program.pack_input(np.load(sys.argv[2]))
codes = program.unpack(program.output, bytes(program.outputs[program.output].size))
print(len(data), *codes.shape)
print(*{name.split(".")[0] for name, module in sys.modules.items() if module and getattr(module, "__file__", None)})
"""


def test_programs_need_numpy_and_spec_only(tmp_path):
    rng = np.random.default_rng(5)
    network = random_network(rng)
    program = compile(network, random_config(rng))
    program.save(tmp_path / "program.alloy")
    np.save(tmp_path / "image.npy", np.zeros(network.tensors["image"].shape, int))
    done = subprocess.run([sys.executable, "-c", ALONE, tmp_path / "program.alloy", tmp_path / "image.npy"],
                          stdout=subprocess.PIPE, text=True, check=True)
    sizes, loaded = done.stdout.splitlines()
    assert [int(n) for n in sizes.split()] == [program.input.size, *network.tensors[network.output].shape]
    found = {name for name in loaded.split() if not name.startswith("_")} - set(sys.stdlib_module_names)
    assert found == {"numpy", "spec"}
