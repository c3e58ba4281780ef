"""A built simulator and what a run on it gives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
import json
from pathlib import Path
import shutil
import subprocess
import tempfile

import numpy as np

from spec.children import Children
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.files import replacing
from spec.program import Program

__all__ = ["LIMIT", "Model", "Result", "Run", "Window"]

LIMIT = 50_000_000      # cycles after which a run counts as hung
NEVER = 2 ** 52         # an event that does not happen
NO_LIMIT = 1e9          # bytes a cycle, which no ports take


@dataclass(frozen=True)
class Run:
    """One image: status word, cycles of the program (start to END), counters, trace events ``(cycle, event, tag)``,
    region bytes."""
    status: int
    hung: bool
    cycles: int
    counters: dict
    trace: list = field(repr=False)
    regions: list = field(repr=False)

    @property
    def done(self) -> bool:
        """Whether END was reached."""
        return bool(self.status >> 1 & 1)

    @property
    def code(self) -> int:
        """Error code, 0 if none."""
        return self.status >> 8 & 0xFF


@dataclass(frozen=True)
class Result:
    """All runs of a job; ``violation`` is the first breach of the bus protocol, empty if none."""
    runs: list[Run]
    violation: str


@dataclass(frozen=True)
class Window:
    """Cycles ``first`` to ``end`` (not in it) of one run, counted from the write that starts it, for a waveform in the
    file ``path`` (FST). Its time is in half cycles of the run; ``aclk`` is high in the odd ones."""
    run: int
    first: int
    end: int
    path: str | Path


class Model:
    """A built simulator; ``waveform`` : it can write waveforms."""

    def __init__(self, program: Path, config: EngineConfig, *, waveform: bool = False):
        self.program, self.config, self.waveform = Path(program), config, waveform

    def run(self, program: Program, images: Iterable[np.ndarray], *, latency: int = 40,
            bytes_per_cycle: float | None = None, all_bytes_per_cycle: float | None = None, stall: float = 0.0,
            seed: int = 1, watchdog: int = 100_000, limit: int = LIMIT, bad_read: int | None = None,
            bad_write: int | None = None, abort_at: int = 0, reset_at: int = 0,
            report: Callable[[int], object] | None = None, check: bool = True,
            window: Window | None = None) -> Result:
        """Run ``images`` (codes (N, C, H, W)) one after the other.

        Parameters
        ----------
        latency : cycles from a read address to its first data, and from the last write data to the response.
        bytes_per_cycle : of each port; the port's width if None. all_bytes_per_cycle : of all ports together, reads
            and writes; no limit if None.
        stall : probability that a channel of any port pauses in a cycle, drawn with ``seed``.
        bad_read, bad_write : number of the beat of port 0, from the reset, that answers SLVERR. abort_at, reset_at :
            cycle of the first run, counted from the write that starts it; 0 is never.
        report : called with the number of finished images.
        check : refuse a program of another configuration before the engine does.
        window : write a waveform of these cycles.

        Returns
        -------
        :class:`Result`; ``Run.regions`` are in the order of ``program.outputs``.
        """
        if check:
            program.runs_on(self.config)
        if window is not None and not self.waveform:
            raise AlloyError("this simulator was built without waveforms: build it with waveform=True")
        job = {"base": 1 << self.config.addr_bits - 2, "size": program.window_size, "seed": seed, "stall": stall,
               "latency": latency, "bytes_per_cycle": bytes_per_cycle or self.config.port_bytes,
               "all_bytes_per_cycle": all_bytes_per_cycle or NO_LIMIT,
               "command_offset": program.command_offset, "command_count": program.command_count,
               "watchdog": watchdog, "limit": limit, "abort_at": abort_at, "reset_at": reset_at,
               "bad_read": NEVER if bad_read is None else bad_read,
               "bad_write": NEVER if bad_write is None else bad_write,
               "trace_run": window.run if window else NEVER, "trace_first": window.first if window else 0,
               "trace_end": window.end if window else 0}
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            _write_job(directory, job, program, images)
            self._call(directory, report)
            if window is not None:
                with replacing(window.path) as partial:
                    shutil.copyfile(directory / "trace.fst", partial)
            return _result(directory, program)

    def _call(self, directory, report):
        """Run the job that lies in a folder."""
        with Children() as children:
            process = children.start([self.program.resolve(), directory], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
            for line in process.stdout:
                if report and line.startswith("run "):
                    report(int(line.split()[1]) + 1)
            if process.wait():
                raise AlloyError(f"the simulator stopped with status {process.returncode}: "
                                 f"{process.stderr.read().strip()}")


def _write_job(directory, job, program, images):
    """What the bench reads: numbers, inputs, regions to write out, and the image of the program."""
    lines = [f"{key} {value}" for key, value in job.items()]
    for i, image in enumerate(images):
        (directory / f"in{i}.bin").write_bytes(program.pack_input(image))
        lines.append(f"input {program.input.offset} in{i}.bin")
    lines += [f"region {r.offset} {r.size}" for r in program.outputs.values()]
    (directory / "job.txt").write_text("\n".join(lines) + "\n")
    (directory / "image.bin").write_bytes(program.image)


def _result(directory, program):
    """What the bench has written."""
    result = json.loads((directory / "result.json").read_text())
    data, runs, at = (directory / "out.bin").read_bytes(), [], 0
    for found in result["runs"]:
        parts = []
        for region in program.outputs.values():
            parts.append(data[at:at + region.size])
            at += region.size
        counters = {k: v for k, v in found.items() if k not in ("status", "hung", "cycles", "trace")}
        runs.append(Run(found["status"], found["hung"], found["cycles"], counters, found["trace"], parts))
    return Result(runs, result["violation"])
