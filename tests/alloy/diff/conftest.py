"""A flow as far as its program, and an engine that the command model is."""

from contextlib import chdir
from copy import deepcopy
from dataclasses import replace
import sys

import numpy as np
import pytest

from alloy.diff import hardware
from alloy.diff.options import DiffOptions
from alloy.diff.subject import open_subject
from alloy.flow.__main__ import main as flow
from sim import command_model, run as simulation
from sim.verilator import Result, Run
from spec.commands import Opcode, unpack
from spec.registers import Trace
from tests.alloy.folder import CONFIG, folder_with_options
from tests.verilated import shared_cache

MODULE = "mine_to_diff"


@pytest.fixture(scope="package")
def files(tmp_path_factory):
    """A user's folder, and the flow in it as far as the program."""
    folder = folder_with_options(tmp_path_factory.mktemp("diff"), MODULE, calibration=20, count=6,
                                 cache=shared_cache(tmp_path_factory))
    with chdir(folder):
        assert flow(["--options", "flow.yaml", "--to", "compile", "--out", "flow", "--quiet"]) == 0
    return folder


@pytest.fixture
def here(files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", [str(files), *sys.path])
    return files


@pytest.fixture(scope="package")
def opened(files):
    path = sys.path[:]
    sys.path.insert(0, str(files))
    try:
        with chdir(files):
            return open_subject(DiffOptions(model="flow", compare=4), lambda text: None, quantized=True, simulated=True)
    finally:
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
