"""What is done to the engine. A case is a function of the engine, a random generator and its number; it returns in a
few words what has happened, or raises :class:`sim.torture.subject.Fault`. A good program runs behind every case."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from spec.commands import COMMAND_BYTES, Error
from spec.registers import REGISTERS

from ..processor import Wrong
from .programs import FAR, allowed, damaged, extremes, with_commands
from .subject import BOUND, LONG, MEMORY, Fault, Job, Subject

__all__ = ["KINDS", "PATIENCE", "Kind", "Measured", "plan"]

PATIENCE = 50_000       # cycles after which the host stops a damaged program that still works
SOAK = 20_000           # cycles of a case of the soak
START, ABORT = 1, 2     # of CTRL


@dataclass(frozen=True)
class Measured:
    """A job, cycles of a good run of it, the beats of every channel, and cycles that no run is much
    shorter than."""
    job: Job
    cycles: int
    beats: list[int]
    least: int


@dataclass(frozen=True)
class Kind:
    """``case`` is called with what was measured of each job; ``count`` cases are all that there are, or enough."""
    text: str
    case: Callable[[Subject, Random, int, list[Measured]], str]
    count: Callable[[list[Measured]], int]


def plan(subject: Subject, fastest: Subject) -> list[Measured]:
    """Measure all jobs, also with the ``fastest`` bus that there is."""
    return [Measured(job, *subject.count(job), fastest.count(job)[0]) for job in subject.jobs]


def _every_beat(measured):
    """(job, channel, beat) of all."""
    return [(m, channel, beat) for m in measured for channel, beats in enumerate(m.beats) for beat in range(beats)]


def _responses(s, rng, number, measured):
    """An error response to each beat of each channel in turn, in an order of its own."""
    places = _every_beat(measured)
    Random(0).shuffle(places)
    m, channel, beat = places[number // 2]
    s.load(m.job)
    s.processor.spoil(channel, (Wrong.SLVERR, Wrong.DECERR)[number % 2], beat)
    s.start(m.job)
    code = s.ended(Error.WRITE if channel == s.config.ports else Error.READ, cycles=LONG)
    s.processor.spoil(channel, Wrong.SLVERR)
    return code.name


def _silence(s, rng, number, measured):
    """From a beat on nothing is answered, or nothing is taken, on one channel; then the bus comes back, or is reset
    with the engine. In every fourth case there are commands behind END."""
    m, channel, beat = rng.choice(_every_beat(measured))
    wrong, count = rng.choice((Wrong.SILENT, Wrong.CLOSED)), m.job.program.command_count
    if number % 4 == 3:
        behind = rng.randrange(1, 16)
        beats, count = behind * COMMAND_BYTES // s.config.port_bytes, count + behind
        channel, wrong, beat = 0, Wrong.SILENT, m.beats[0] + beats - rng.randrange(1, 2 * beats)
    s.load(m.job)
    s.processor.spoil(channel, wrong, beat)
    s.start(m.job, CMD_COUNT=count)
    late = wrong is Wrong.CLOSED or number % 4 == 3     # perhaps all was asked for, or nothing of it was needed
    code = s.ended(Error.TIMEOUT, *[Error.NONE] * late, cycles=LONG)
    s.processor.spoil(channel, wrong)
    if code is Error.NONE:
        s.check(m.job)
        return "done before it mattered"
    if s.read("STATUS") & 1:
        s.write("CTRL", START)      # counts for nothing as long as it is busy
    if rng.random() < 0.5:
        s.processor.reset()
        return "TIMEOUT, then a reset"
    s.idle()
    return "TIMEOUT, then late answers"


def _extremes(s, rng, number, measured):
    """Loops of no length and of the greatest, by the commands' own counts, in an order of its own."""
    cases = [(m.job, commands) for m in measured for commands in extremes(m.job)]
    Random(0).shuffle(cases)
    job, commands = cases[number]
    return _program(s, job, commands, with_commands(job, commands))


def _programs(s, rng, number, measured):
    """Damaged programs."""
    job = rng.choice(measured).job
    commands, image, _ = damaged(rng, job, number)
    return _program(s, job, commands, image)


def _program(s, job, commands, image):
    """Run it; what it may end with is known."""
    codes = allowed(commands, s.config, job.program.window_size, job.program.command_offset)
    s.load(job, image)
    s.start(job)
    if s.processor.wait(PATIENCE):
        return s.ended(*codes).name.replace("NONE", "done")
    s.write("CTRL", ABORT)
    return f"{s.ended(Error.ABORT).name} by the host"


def _windows(s, rng, number, measured):
    """Registers that say where the program and its window are."""
    job = rng.choice(measured).job
    program, base = job.program, s.memory.address + s.window(job)
    size, offset, count = program.window_size, program.command_offset, program.command_count
    top, room = 1 << s.config.addr_bits, s.memory.address + MEMORY - base
    numbers = (0, 1, 127, 128, 4095, 4096, size - 1, size, size + 1, rng.randrange(room), (1 << 31) - 1, (1 << 32) - 1)
    match rng.randrange(5):
        case 0:
            count = rng.choice((0, 1, count - 1, count + 1, 1 << 25, (1 << 25) - 1, (1 << 32) - 1, rng.getrandbits(8)))
        case 1:
            offset = rng.choice(numbers)
        case 2:
            size = rng.choice(numbers)
        case 3:
            base, size = top - rng.choice((4096, 8192)), max(size, 8193)
        case 4:
            size, offset, count = rng.choice(numbers), rng.choice(numbers), rng.choice((1, 2, count, 1 << 24))
    offset &= ~127
    s.load(job)
    outside = base + size > top or offset + count * COMMAND_BYTES > size
    if not outside and size > room:
        size = room     # as much memory as there is
        outside = offset + count * COMMAND_BYTES > size
    s.start(job, BASE_LO=base & 0xFFFF_FFFF, BASE_HI=base >> 32, SIZE=size, CMD_OFFSET=offset, CMD_COUNT=count)
    if outside:
        return s.ended(Error.WINDOW).name
    return s.ended(*FAR, cycles=LONG).name.replace("NONE", "done")


def _aborts(s, rng, number, measured):
    """CTRL abort in any cycle of a run, and sometimes again."""
    m = rng.choice(measured)
    s.load(m.job)
    s.start(m.job)
    if s.processor.wait(rng.randrange(1, m.cycles)):
        return _done_first(s, m)
    s.write("CTRL", ABORT)
    if rng.random() < 0.3:
        s.write("CTRL", ABORT)
    code = s.ended(Error.ABORT, Error.NONE)
    return code.name if code is Error.ABORT else _done_first(s, m)


def _done_first(s, m):
    s.ended(Error.NONE)
    s.check(m.job)
    return "done before it"


def _resets(s, rng, number, measured):
    """A reset of engine and bus in any cycle of a run: registers as documented, nothing on the bus."""
    m = rng.choice(measured)
    s.load(m.job)
    s.start(m.job)
    s.processor.wait(rng.randrange(1, m.cycles))
    s.processor.reset()
    for register in REGISTERS:
        if register.access in ("rw", "w1c") or register.name in ("STATUS", "CTRL"):
            if (value := s.read(register.name)) != register.init:
                raise Fault(f"{register.name} is 0x{value:x} after a reset, not 0x{register.init:x}")
    s.silent(200)
    return "as after power-up"


def _writes(s, rng, number, measured):
    """All registers are written while a program runs, with anything; a start among it as long as it surely runs."""
    m = rng.choice(measured)
    s.load(m.job)
    s.start(m.job)
    begun, count = s.processor.cycle, 0
    while s.read("STATUS") & 1:
        name = rng.choice([r.name for r in REGISTERS])
        early = s.processor.cycle - begun < m.least // 2
        values = (0, START if early else 0) if name == "CTRL" else (0, 1, 0xFFFF_FFFF, rng.getrandbits(32))
        s.write(name, rng.choice(values))
        count += 1
        s.processor.wait(rng.randrange(1, 40))
    if (status := s.read("STATUS")) != 2:
        raise Fault(f"STATUS is 0x{status:x} after writes to registers")
    s.check(m.job)
    return "done"


def _starts(s, rng, number, measured):
    """Starts that come too early: two in a row, with an abort, behind an abort, at the interrupt."""
    m = rng.choice(measured)
    s.load(m.job)
    match number % 4:
        case 0:
            s.start(m.job)
            s.write("CTRL", START)
            s.ended(Error.NONE, cycles=LONG)
            s.check(m.job)
            s.write("IRQ_STATUS", 3)
            s.silent(2 * m.cycles)
            return "two in a row: one run"
        case 1:
            s.start(m.job, IRQ_ENABLE=3, CMD_COUNT=0)
            s.ended(Error.OPCODE)
            s.write("IRQ_STATUS", 3)
            s.write("CTRL", START | ABORT)
            s.silent(500)
            return "with an abort: no run"
        case 2:
            s.start(m.job)
            s.processor.wait(rng.randrange(1, m.least // 2))
            s.write("CTRL", ABORT)
            s.write("CTRL", START)
            s.wait(LONG)
            s.idle()
            s.write("IRQ_STATUS", 3)
            code = s.code(s.read("STATUS"))
            if code not in (Error.ABORT, Error.NONE):
                raise Fault(f"a start behind an abort ended with {code.name}")
            return f"behind an abort: {code.name.replace('NONE', 'done')}"
    s.start(m.job)
    s.wait(LONG)
    s.write("CTRL", START)
    s.idle(LONG)
    s.ended(Error.NONE)
    s.check(m.job)
    return "at the interrupt: done again"


def _soak(s, rng, number, measured):
    """Programs in turn for so many cycles, with pauses on every channel."""
    end = s.cycles + SOAK
    while s.cycles < end:
        s.good()
    return "bit-exact"


# The soak of 50 cases is a million cycles.
KINDS = {
    "responses": Kind("SLVERR and DECERR on every beat of every channel", _responses,
                      lambda measured: 2 * len(_every_beat(measured))),
    "silence": Kind("responses that never come, addresses and data that are never taken", _silence, lambda _: 400),
    "loops": Kind("counts of 0 and of all ones in every command", _extremes,
                  lambda measured: sum(len(extremes(m.job)) for m in measured)),
    "programs": Kind("damaged programs: every field, bits, order, truncation, digest, data", _programs,
                     lambda _: 10_000),
    "windows": Kind("windows and programs out of range", _windows, lambda _: 400),
    "aborts": Kind("abort in a random cycle", _aborts, lambda _: 200),
    "resets": Kind("reset in a random cycle", _resets, lambda _: 200),
    "writes": Kind("register writes while a program runs", _writes, lambda _: 200),
    "starts": Kind("starts that come too early", _starts, lambda _: 200),
    "soak": Kind("programs in turn, random pauses", _soak, lambda _: 50),
}

assert BOUND < PATIENCE
