"""The generated Verilog, from its pins, between bus models that others wrote: cocotb and cocotbext-axi.

Master and slaves wait at random on every channel, take long, and answer with errors; registers are accessed at any
byte while programs run; the driver runs networks bit for bit.
"""

import pytest

from sim.torture.subject import CONFIG
from tests.verilated import shared_cache

from .axi_models import small_config

pytest.importorskip("cocotbext.axi", reason="pip install cocotb cocotbext-axi")
find_libpython = pytest.importorskip("find_libpython")

CONFIGS = {"one port": small_config(portable_dsp=True, ports=1, port_bits=128, addr_bits=36, pixels=2, ic=3,
                                    dsp_filters=2, lut_filters=1, burst=16, tap_depth=32, tables=1),
           "three ports": small_config(portable_dsp=True, ports=3, port_bits=64, addr_bits=40, outstanding=1, burst=1,
                                       tables=1)}


@pytest.fixture
def run(tmp_path_factory, tmp_path):
    """Builds an engine and runs benches around it."""
    if find_libpython.find_libpython() is None:
        pytest.skip("cocotb needs Python as a shared library (libpython3), which is not on this machine")
    from .cocotb import simulator

    def run(config, *names, seed=1):
        simulator.run(simulator.build(config, shared_cache(tmp_path_factory)), config, tmp_path, names, seed)
    return run


def test_the_other_side_of_every_port(run):
    run(CONFIG, "registers", "networks", "errors")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_other_engines(run, name):
    run(CONFIGS[name], "registers", "networks", "errors")


@pytest.mark.slow
def test_many_networks(run):
    run(CONFIG, "many_networks")
