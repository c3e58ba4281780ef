"""What is compared: a user's model with its images, quantized now or by a flow before."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

import boards
from alloy.flow import FlowOptions
from quant.job import Job, open_job
from quant.kept import load_net
from quant.net import QuantNet
from quant.normalize import Normalization
from quant.options import collected
from quant.quantize import Report, float_graph
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network
from spec.program import Program

from .hardware import Engine
from .options import BESIDE, DiffOptions

__all__ = ["Subject", "open_subject", "flow_folder"]


def flow_folder(options: DiffOptions) -> Path | None:
    """The folder of a flow that is given instead of a model."""
    folder = Path(options.model or "")
    return folder if options.model and (folder / "flow.yaml").is_file() else None


def _of_flow(folder: Path, options: DiffOptions) -> DiffOptions:
    """The options of a flow with those that are given beside its folder."""
    given = {name: getattr(options, name) for name in options.model_fields_set}
    other = next((name for name in given if name not in BESIDE), None)
    if other is not None:
        raise AlloyError(f"--{other.replace('_', '-')} {given[other]} is that of the flow in {folder}: leave it out, "
                         "or give the model instead of the folder")
    flow = collected(FlowOptions, {}, folder / "flow.yaml")
    kept = flow.model_dump(exclude={"synth", "simulate"}, exclude_none=True)
    return DiffOptions(**{**kept, **given, "model": kept.get("model")})


@dataclass(frozen=True, eq=False)
class Subject:
    """A job, the network in PyTorch and the integer network that are made of it, and the engine.

    ``net`` is None of a model that is an integer network; ``engine`` of a comparison without RTL, ``program`` if none
    is given.
    """
    options: DiffOptions
    job: Job
    net: QuantNet | None
    network: Network
    engine: Engine | None
    program: Program | None

    def codes(self, count: int) -> np.ndarray:
        """Input codes (N, C, H, W) of the first test images, at most so many."""
        images = self.job.test.some(range(min(count, len(self.job.test)))).codes()
        return images.reshape(-1, *self.network.tensors[self.network.input].shape)

    @property
    def normalization(self) -> Normalization:
        """Of the images, that the model was trained with."""
        return Normalization.of(self.job.mean, self.job.std, self.network.tensors[self.network.input].channels)

    def outputs(self, count: int) -> np.ndarray:
        """What the model itself makes of the same images: (N, features)."""
        import torch
        codes = self.job.test.some(range(min(count, len(self.job.test)))).codes()
        assert isinstance(self.job.model, nn.Module)
        with torch.no_grad():
            return self.job.model(self.normalization.real(codes)).flatten(1).numpy()


def open_subject(options: DiffOptions, say: Report, *, quantized: bool, simulated: bool) -> Subject:
    """Everything that is to be compared; the model is quantized, unless a flow has done that. ``quantized``: fake
    quantization is needed, ``simulated``: the engine is."""
    folder = flow_folder(options)
    options = options if folder is None else _of_flow(folder, options)
    board = None if options.platform is None else boards.get(options.platform)
    config = EngineConfig.load(options.config) if options.config else board.config if board else None
    if simulated and config is None:
        raise AlloyError(f"an engine is needed: give --platform, one of {boards.CHOICES}, or --config")
    network = _network(options, folder)
    program = _program(options, folder) if simulated else None
    job, nets = open_job(options, say, quantized=True), []
    if isinstance(job.model, Network):
        if quantized:
            raise AlloyError(f"{options.model} is an integer network, of which there is no float one: only its RTL can "
                             "be compared, --from rtl")
        network = network or job.model
    elif folder is not None and (folder / "state.pt").is_file():
        nets += [_kept(job, folder)] if quantized else []
    elif quantized or network is None:
        made = job.quantize(config or boards.get("zcu102"), say, keep=nets.append)
        network = network or made
    assert network is not None
    verilog = None if folder is None or not (folder / "engine" / "alloy.v").is_file() else folder / "engine"
    engine = Engine(config, board, verilog, options.cache) if config is not None and simulated else None
    return Subject(options, job, nets[0] if nets else None, network, engine, program)


def _network(options: DiffOptions, folder: Path | None) -> Network | None:
    if options.network is not None or folder is None:
        return None if options.network is None else Network.load(options.network)
    if not (folder / "network.npz").exists():
        raise AlloyError(f"the flow in {folder} has not come to its integer network: run alloy flow --out {folder}")
    return Network.load(folder / "network.npz")


def _program(options: DiffOptions, folder: Path | None) -> Program | None:
    if options.program is not None:
        return Program.load(options.program)
    path = None if folder is None or options.network is not None else folder / "program.alloy"
    return Program.load(path) if path is not None and path.exists() else None


def _kept(job: Job, folder: Path) -> QuantNet:
    assert isinstance(job.model, nn.Module)
    return load_net(folder / "state.pt", float_graph(job.model, job.shape, job.mean, job.std, job.options.logits)[1])
