"""The steps of a flow: what each is made of, what it writes and what it says."""

from collections.abc import Callable
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

import numpy as np

from alloy.check import Request, look
from alloy.check.words import lines
import boards
from boards import Board
from compiler import compile
from quant.example import mix
from quant.job import Job, open_job
from quant.kept import save_net
from quant.quantize import Report
from quant.recipes import variant
from rtl.build import build
from sim.engine import Engine
from sim.run import run_network
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.files import save_arrays, write_text
from spec.network import Network
from spec.program import Program

from .digests import model_digest, pictures_digest
from .options import FlowOptions
from .record import Record, digest_of
from .report import report

__all__ = ["STEPS", "Flow", "Step", "begin"]

# Options that change nothing about the network.
ELSEWHERE = {"images", "test", "labels", "test_labels", "model", "weights", "platform", "config", "simulate", "synth",
             "cache"}


@dataclass
class Flow:
    """What the steps share."""
    options: FlowOptions
    folder: Path
    board: Board
    config: EngineConfig
    job: Job
    say: Report
    digests: dict[str, str]
    results: dict[str, dict] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """What the step quantize has made."""
        return Network.load(self.folder / "network.npz")

    def engine(self) -> Engine:
        """That of the board."""
        return Engine(self.board, self.config, cache=self.options.cache, report=self.say)


@dataclass(frozen=True)
class Step:
    """A step: ``inputs`` tells what it is made of, ``run`` makes ``files`` and returns what there is to report."""
    name: str
    inputs: Callable[[Flow, Record], dict[str, Any]]
    run: Callable[[Flow, Record], dict[str, Any]]
    files: tuple[str, ...]


def begin(options: FlowOptions, folder: Path, say: Report) -> Flow:
    """Look at everything that is given, before any long work."""
    if options.platform is None:
        raise AlloyError(f"a board is needed: give --platform, one of {boards.CHOICES}")
    board = boards.get(options.platform)
    config = EngineConfig.load(options.config) if options.config else board.config
    board.check(config)
    job = open_job(options, say, quantized=True)
    if options.simulate > len(job.test):
        raise AlloyError(f"--simulate {options.simulate} images, and there are {len(job.test)} to test: give fewer")
    return Flow(options, folder, board, config, job, say, {
        "model": model_digest(job.model), "images": pictures_digest(job.calibration, job.test),
        "engine": f"{config.digest} {board.name} {board.part} {board.clock_mhz} {board.dram_gbs} {board.latency}"})


def _made(flow: Flow, record: Record, *names: str) -> dict[str, str]:
    """Digests of files of earlier steps."""
    return {name: digest_of(flow.folder / name) for name in names if (flow.folder / name).exists()}


# -- check -----------------------------------------------------------------------------------------------------------
def _check_inputs(flow, record):
    return {"model": flow.digests["model"], "engine": flow.digests["engine"], "recipe": flow.options.recipe,
            "size": list(flow.job.shape), "number of images": len(flow.job.calibration)}


def _check(flow, record):
    options, job = flow.options, flow.job
    found = look(Request(options.model or "", job.model, job.shape, flow.board, flow.config, options.recipe,
                         variant(options.recipe), len(job.calibration)))
    write_text(flow.folder / "check.json", json.dumps(found.form(), indent=2) + "\n")
    for line in lines(found):
        flow.say(line)
    if not found.accepted:
        first = found.refused[0]
        more = f"; {len(found.refused)} things cannot run" if found.refused[1:] else ""
        raise AlloyError(f"{first.where} {first.reason}: {first.rewrite}{more}, see {flow.folder / 'check.json'}")
    return {"layers": found.layers, "shape": list(found.shape), "risks": [risk.reason for risk in found.risks]}


# -- quantize --------------------------------------------------------------------------------------------------------
def _quantize_inputs(flow, record):
    chosen = flow.options.model_dump(exclude=ELSEWHERE)
    return {**flow.digests, **{name.replace("_", " "): value for name, value in chosen.items()}}


def _quantize(flow, record):
    job = flow.job
    state = flow.folder / "state.pt"
    network = job.model if isinstance(job.model, Network) else job.quantize(
        flow.config, flow.say, keep=lambda net: save_net(net, state))
    network.save(flow.folder / "network.npz")
    few = job.test.some(range(flow.options.simulate))
    arrays = {"images": few.codes()}
    save_arrays(flow.folder / "images.npz", arrays if few.labels is None else {**arrays, "labels": few.labels})
    measured = job.measure(network, flow.say)
    for line in measured.lines():
        flow.say(line)
    return {"filters": mix(network), "calibration": len(job.calibration), "test": measured.to_dict(),
            "lines": measured.lines()}


# -- compile ---------------------------------------------------------------------------------------------------------
def _compile_inputs(flow, record):
    return {"engine": flow.digests["engine"], **_made(flow, record, "network.npz")}


def _compile(flow, record):
    warnings: list[str] = []
    program = compile(flow.network, flow.config, warn=warnings.append)
    for warning in warnings:
        flow.say(warning)
    program.save(flow.folder / "program.alloy")
    return {"commands": program.command_count, "image_bytes": len(program.image), "dram_bytes": program.window_size,
            "estimated_cycles": flow.engine().estimate(program), "warnings": warnings}


# -- build -----------------------------------------------------------------------------------------------------------
def _build_inputs(flow, record):
    return {"engine": flow.digests["engine"], "synthesis": flow.options.synth}


def _build(flow, record):
    found = build(flow.board, flow.config, flow.folder / "engine", synth=flow.options.synth, say=flow.say)
    return {"resources": (found.get("synthesis") or {}).get("total"), "verilog_sha256": found["verilog_sha256"]}


# -- run -------------------------------------------------------------------------------------------------------------
def _run_inputs(flow, record):
    return {"engine": flow.digests["engine"],
            **_made(flow, record, "network.npz", "program.alloy", "images.npz", "engine/alloy.v")}


def _run(flow, record):
    with np.load(flow.folder / "images.npz") as arrays:
        images = arrays["images"]
    verilog = {path.name: path.read_text(encoding="utf-8") for path in sorted((flow.folder / "engine").glob("*.v"))}
    found = run_network(flow.board, flow.config, flow.network, images, cache=flow.options.cache, verilog=verilog,
                        say=flow.say)
    outputs = found.pop("outputs")
    program = Program.load(flow.folder / "program.alloy")
    result = {"images": len(images), "cycles": found["cycles"], "fps": found["fps"], "clock_mhz": flow.board.clock_mhz,
              "batch": 1, "images_in_flight": 1, "tensors": found["tensors"], "tensors_equal": found["tensors_equal"],
              "outputs": outputs.tolist(), "layers": found["layers"], "digest": program.digest}
    write_text(flow.folder / "run.json", json.dumps(result, indent=2) + "\n")
    if found["tensors_equal"] != found["tensors"]:
        raise AlloyError(f"RTL and golden model differ ({found['difference']}): see {flow.folder / 'run.json'}")
    return {name: value for name, value in result.items() if name not in ("outputs", "layers")}


# -- report ----------------------------------------------------------------------------------------------------------
def _report_inputs(flow, record):
    return {name: record.steps[name].inputs for name in record.steps if name != "report"}


def _report(flow, record):
    text, values = report(flow.options, flow.folder, flow.board, record)
    write_text(flow.folder / "report.txt", text)
    write_text(flow.folder / "report.json", json.dumps(values, indent=2) + "\n")
    return values


STEPS = (Step("check", _check_inputs, _check, ("check.json",)),
         Step("quantize", _quantize_inputs, _quantize, ("network.npz", "images.npz", "state.pt")),
         Step("compile", _compile_inputs, _compile, ("program.alloy",)),
         Step("build", _build_inputs, _build, ("engine",)),
         Step("run", _run_inputs, _run, ("run.json",)),
         Step("report", _report_inputs, _report, ("report.txt", "report.json")))
