"""The engine that is tortured: small, with every unit, and two programs that have every command."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from compiler import compile
from spec.commands import COMMAND_BYTES, Error
from spec.config import BOUNDARY, EngineConfig
from spec.network import Network, Tensor
from spec.numerics import Scheme, levels
from spec.operators.convolution import Conv
from spec.operators.max_pool import MaxPool
from spec.program import Program
from spec.registers import REGISTERS

from ..engine import Engine
from ..processor import Processor

__all__ = ["AT", "BOUND", "CONFIG", "DONE", "MEMORY", "STEP", "WATCHDOG", "Fault", "Job", "Subject", "jobs"]

CONFIG = EngineConfig(name="torture", ic=2, pixels=4, dsp_filters=2, lut_filters=1, portable_dsp=True, act_depth=64,
                      weight_depth=32, param_depth=4, tap_depth=18, tables=1, decode_lanes=8, ports=2, port_bits=32,
                      addr_bits=36, burst=4, outstanding=2, queue_depth=2)
AT = {r.name: r.offset for r in REGISTERS}
WATCHDOG = 2000         # cycles
BOUND = 2 * WATCHDOG + 1000     # within which the engine says that it has stopped: it waits for the bus once more
LONG = 1_000_000        # cycles that no good run takes
STEP = 1 << 16          # bytes of memory from one window to the next
MEMORY = 4 * STEP
DONE, STOPPED = 2, 4    # of STATUS
SEVERAL = [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8]


class Fault(Exception):
    """What the engine did and must not do, as one sentence."""


@dataclass(frozen=True, eq=False)
class Job:
    """A program, its inputs as the engine reads them, and for each of them the codes of every output."""
    program: Program
    inputs: list[bytes]
    expected: list[dict[str, np.ndarray]]

    @cached_property
    def commands(self) -> list[bytes]:
        """The program's, as they were compiled."""
        return self.program.commands


class _Drawing:
    """A network in the making."""

    def __init__(self, seed, shape, zero):
        self.rng, self.nodes = np.random.default_rng(seed), []
        self.tensors = {"image": Tensor(name="image", channels=shape[0], height=shape[1], width=shape[2], bits=8,
                                        zero=zero)}

    def conv(self, source, name, filters, kernel, schemes, *, bits=5, stride=1, padding=0, **more):
        """A convolution with filters of random ``schemes``."""
        rng, tensor = self.rng, self.tensors[source]
        book = np.unique(rng.integers(-119, 120, 12)).astype(np.int16)
        scheme = np.array([rng.choice(schemes) for _ in range(filters)], np.uint8)
        weight = np.stack([rng.choice(levels(Scheme(int(s)), book), (tensor.channels, kernel, kernel)) for s in scheme])
        mult = rng.integers(500, 4000, filters).astype(np.int32)
        most = (np.abs(weight).sum((1, 2, 3)) * mult).max() << tensor.bits
        shift = int(most).bit_length() - bits - 2
        height, width = ((size + 2 * padding - kernel) // stride + 1 for size in tensor.shape[1:])
        self.tensors[name] = Tensor(name=name, channels=filters, height=height, width=width, bits=bits)
        self.nodes.append(Conv(
            name=f"to_{name}", input=source, output=name, weight=weight.astype(np.int16), scheme=scheme, mult=mult,
            bias=rng.integers(0, 1 << shift + bits, filters), shift=shift, lo=0, hi=(1 << bits) - 1,
            stride=(stride, stride), padding=(padding, padding),
            codebook=book if Scheme.CODEBOOK in schemes else np.zeros(0, np.int16), **more))
        return name

    def pool(self, source, name):
        """The largest of two by two."""
        tensor = self.tensors[source]
        self.tensors[name] = replace(tensor, name=name, height=tensor.height // 2, width=tensor.width // 2)
        self.nodes.append(MaxPool(name=f"to_{name}", input=source, output=name, kernel=(2, 2), stride=(2, 2), lo=0,
                                  hi=(1 << tensor.bits) - 1))
        return name

    def network(self):
        """The network, up to the last value."""
        return Network(name="torture", input="image", output=list(self.tensors)[-1], tensors=self.tensors,
                       nodes=self.nodes)


def _residual():
    """Strides, a residual, a pool, a table, a linear layer."""
    d = _Drawing(1, (3, 7, 8), 128)
    a = d.conv("image", "a", 3, 3, SEVERAL, stride=2, padding=1)
    b = d.conv(a, "b", 3, 1, [Scheme.POT4, Scheme.FIXED4], residual=a, res_mult=900)
    c = d.pool(b, "c")
    d.conv(c, "out", 4, 2, [Scheme.FIXED8], bits=8, table=d.rng.permutation(256).astype(np.uint8))
    return d.network()


def _book():
    """Code books, codes of two digits, and more channels than a group has."""
    d = _Drawing(2, (2, 5, 4), 0)
    a = d.conv("image", "a", 4, 2, [Scheme.CODEBOOK], bits=8)
    d.conv(a, "out", 3, 3, [Scheme.FIXED3, Scheme.POT4], padding=1)
    return d.network()


def jobs(config: EngineConfig = CONFIG, count: int = 3) -> list[Job]:
    """Both programs, every tensor of which is written to memory, with ``count`` images each."""
    made = []
    for seed, network in enumerate((_residual(), _book())):
        images = np.random.default_rng(seed).integers(0, 256, (count, *network.tensors["image"].shape))
        program, codes = compile(network, config, keep="all"), network.codes(images)
        assert program.window_size < STEP - BOUNDARY
        made.append(Job(program, [program.pack_input(image) for image in images],
                        [{name: codes[name][n] for name in program.outputs} for n in range(count)]))
    return made


class Subject:
    """An engine in one process: memory, registers, and programs that run in turn.

    Job number n has its window at ``STEP * (n + 1)`` of the memory. Every method raises :class:`Fault`, or
    :class:`spec.errors.AlloyError` if the bus protocol is broken or something outside the window is touched.

    Parameters
    ----------
    engine : with the configuration of the ``jobs``.
    seed : of the pauses on the bus and of what registers hold before the reset.
    stall, latency : as in :class:`sim.processor.Processor`.
    """

    def __init__(self, engine: Engine, jobs: list[Job], *, seed: int = 1, stall: float = 0.0, latency: int = 20):
        self.config, self.jobs, self.turn = engine.config, jobs, 0
        self.processor = Processor(engine, MEMORY, stall=stall, seed=seed, latency=latency)
        self.memory = self.processor.allocate(MEMORY)
        self.runs = self.cycles = 0         # of good programs
        self.worst = 0                      # cycles from the last thing that was done to the interrupt
        self._image = 0

    @property
    def channels(self) -> int:
        """Read ports, and the write port behind them."""
        return self.config.ports + 1

    def close(self) -> None:
        """End the process."""
        self.processor.close()

    def __enter__(self) -> "Subject":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, name: str) -> int:
        """A register."""
        return self.processor.read(AT[name])

    def write(self, name: str, value: int) -> None:
        """The same."""
        self.processor.write(AT[name], value)

    def window(self, job: Job) -> int:
        """Where a job's window begins in the memory."""
        return STEP * (self.jobs.index(job) + 1)

    def put(self, at: int, data: bytes) -> None:
        """Bytes into the memory."""
        self.memory.bytes[at:at + len(data)] = np.frombuffer(data, np.uint8)
        self.memory.flush(at, len(data))

    def load(self, job: Job, image: bytes | None = None) -> None:
        """The image of a program and the next of its inputs into its window; nothing is left of its outputs."""
        at, self._image = self.window(job), (self._image + 1) % len(job.inputs)
        self.put(at, job.program.image if image is None else image)
        self.put(at + job.program.input.offset, job.inputs[self._image])
        for region in job.program.outputs.values():
            self.put(at + region.offset, b"\xee" * region.size)

    def start(self, job: Job, **registers: int) -> None:
        """Set all registers, ``registers`` to other values, and start."""
        base, program = self.memory.address + self.window(job), job.program
        values = {"BASE_LO": base & 0xFFFF_FFFF, "BASE_HI": base >> 32, "SIZE": program.window_size,
                  "CMD_OFFSET": program.command_offset, "CMD_COUNT": program.command_count, "WATCHDOG": WATCHDOG,
                  "IRQ_STATUS": 3, "IRQ_ENABLE": 3} | registers
        self.processor.write_all({AT[name]: value for name, value in {**values, "CTRL": 1}.items()})

    def wait(self, cycles: int = BOUND) -> int:
        """For the interrupt, within so many cycles from now; the register STATUS."""
        there, took, (status, pending) = self.processor.finish(cycles, AT["STATUS"], AT["IRQ_STATUS"])
        if not there:
            raise Fault(f"no interrupt within {cycles:,} cycles, STATUS is 0x{status:x}")
        self.worst = max(self.worst, took)
        if pending != status >> 1 & 3:
            raise Fault(f"IRQ_STATUS is {pending} and STATUS 0x{status:x}")
        return status

    def code(self, status: int) -> Error:
        """Of a STATUS that says how a program has ended: NONE if it is done."""
        if status >> 8 & 0xFF not in list(Error) or (status & DONE != 0) == (status & STOPPED != 0):
            raise Fault(f"STATUS is 0x{status:x}, which means nothing")
        code = Error(status >> 8 & 0xFF)
        if (code == Error.NONE) != (status & DONE != 0):
            raise Fault(f"STATUS is 0x{status:x}: {'stopped' if status & STOPPED else 'done'} with code {code.name}")
        return code

    def ended(self, *codes: Error, cycles: int = BOUND) -> Error:
        """Wait for the end, which must be one of ``codes``, and the engine idle but after TIMEOUT; the one it is."""
        status = self.wait(cycles)
        code = self.code(status)
        if code not in codes:
            raise Fault(f"it ended with {code.name} and not with {' or '.join(c.name for c in codes)}")
        if status & 1 and code != Error.TIMEOUT:
            raise Fault(f"it is busy after the interrupt, with {code.name}")
        return code

    def silent(self, cycles: int) -> None:
        """No interrupt comes, and nothing runs, in so many cycles."""
        if self.read("IRQ_STATUS") or self.processor.wait(cycles) or self.read("STATUS") & 1:
            raise Fault(f"there was no start, and STATUS is 0x{self.read('STATUS'):x}")

    def idle(self, cycles: int = BOUND) -> None:
        """Wait until it is not busy."""
        end = self.processor.cycle + cycles
        while self.read("STATUS") & 1:
            if self.processor.cycle > end:
                raise Fault(f"it is still busy after {cycles:,} cycles, STATUS is 0x{self.read('STATUS'):x}")

    def check(self, job: Job) -> None:
        """Every output in memory is what the golden model says."""
        at = self.window(job)
        for name, region in job.program.outputs.items():
            self.memory.invalidate(at + region.offset, region.size)
            data = self.memory.bytes[at + region.offset:at + region.offset + region.size].tobytes()
            if (job.program.unpack(name, data) != job.expected[self._image][name]).any():
                raise Fault(f"the tensor {name} is not that of the golden model")

    def good(self) -> None:
        """The next program in turn runs to its end and is right in every bit."""
        job = self.jobs[self.turn % len(self.jobs)]
        self.turn += 1
        worst = self.worst
        self.load(job)
        self.start(job)
        self.ended(Error.NONE, cycles=LONG)
        self.check(job)
        self.worst = worst
        self.runs, self.cycles = self.runs + 1, self.cycles + self.read("CYCLES_LO")

    def count(self, job: Job) -> tuple[int, list[int]]:
        """Cycles of a good run, and the beats of every channel."""
        before = [self.processor.beats(n) for n in range(self.channels)]
        self.turn = self.jobs.index(job)
        self.good()
        return self.read("CYCLES_LO"), [self.processor.beats(n) - b for n, b in enumerate(before)]


assert STEP % BOUNDARY == 0 and COMMAND_BYTES <= BOUNDARY
