"""Damaged programs, and with which codes the engine may answer them."""

from collections.abc import Callable
from functools import cache
from random import Random

from spec.check import refuse
from spec.commands import COMMAND_BYTES, FIELDS, Error, Field, Opcode, unpack_record
from spec.config import EngineConfig

from .subject import Job

__all__ = ["FAR", "allowed", "damaged", "extremes", "fields", "with_commands"]

Commands = list[bytes]
HUNG = {Error.SEMAPHORE, Error.TIMEOUT}     # a program that waits for what does not come
FAR = set(Error) - {Error.READ, Error.WRITE, Error.ABORT}       # what a program can be stopped with, or none
SIZES = ("count", "rows", "cols", "taps", "groups", "depth", "tiles", "pitch", "beats", "out_groups", "res_groups",
         "wait", "give", "release")


@cache
def fields(job: Job) -> list[tuple[Opcode, str]]:
    """Every field of every command of a program, by the opcode."""
    opcodes = sorted({Opcode(command[0]) for command in job.commands})
    return [(opcode, name) for opcode in opcodes for name, f in FIELDS.items() if opcode in f.opcodes]


@cache
def extremes(job: Job) -> list[Commands]:
    """Loops of no length and of the greatest: each count of each opcode, in the first command that has it, is nothing
    or all ones."""
    commands, found = job.commands, []
    for opcode, name in fields(job):
        at = next(n for n, command in enumerate(commands) if command[0] == opcode)
        found += [_with(commands, at, FIELDS[name], value) for value in (0, FIELDS[name].mask) if name in SIZES]
    return found


def with_commands(job: Job, commands: Commands) -> bytes:
    """The image of the program with other commands, as many as it has."""
    image, at = bytearray(job.program.image), job.program.command_offset
    image[at:at + COMMAND_BYTES * len(commands)] = b"".join(commands)
    return bytes(image)


def _with(commands, at, field: Field, value):
    """The commands with a value in one field of one of them."""
    word = int.from_bytes(commands[at], "little") & ~(field.mask << field.lo) | value << field.lo
    return [*commands[:at], word.to_bytes(COMMAND_BYTES, "little"), *commands[at + 1:]]


def _field(rng, job, number):
    """A field of one command, each field of each opcode in turn."""
    known = fields(job)
    opcode, name = known[number % len(known)]
    field, commands = FIELDS[name], job.commands
    at = rng.choice([n for n, command in enumerate(commands) if command[0] == opcode])
    old = int.from_bytes(commands[at], "little") >> field.lo & field.mask
    other = int.from_bytes(rng.choice(commands), "little") >> field.lo & field.mask
    value = rng.choice((0, 1, field.mask, field.mask >> 1, old + 1, old - 1, old << 1, old ^ 1 << rng.randrange(
        field.width), other, rng.getrandbits(field.width), rng.randrange(1, 20))) & field.mask
    return _with(commands, at, field, value)


def _bits(rng, job, number):
    """Some bits anywhere."""
    data = bytearray(b"".join(job.commands))
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return _cut(data)


def _cut(data):
    return [bytes(data[at:at + COMMAND_BYTES]) for at in range(0, len(data), COMMAND_BYTES)]


def _order(rng, job, number):
    """Commands that are missing, twice there, or in another order."""
    commands = list(job.commands)
    for _ in range(rng.choice((1, 1, 2))):
        at, other = rng.randrange(len(commands)), rng.randrange(len(commands))
        what = rng.randrange(3)
        if what == 0:
            commands[at], commands[other] = commands[other], commands[at]
        elif what == 1:
            commands[at] = commands[other]
        else:
            commands.insert(other, commands.pop(at))
    return commands


def _truncated(rng, job, number):
    """The end is not there, and something else in its place."""
    data = b"".join(job.commands)
    end = rng.randrange(len(data))
    rest = len(data) - end
    return _cut(data[:end] + rng.choice((bytes(rest), b"\xff" * rest, rng.randbytes(rest), (data * 2)[:rest])))


def _nonsense(rng, job, number):
    """START, and anything."""
    rest = [bytearray(rng.randbytes(COMMAND_BYTES)) for _ in job.commands[1:]]
    for command in rest:
        command[0], command[7] = rng.choice(list(Opcode)), 0xA1
    return [job.commands[0], *map(bytes, rest)]


def _start(rng, job, number):
    """Another digest, another version, no START."""
    commands = list(job.commands)
    name = rng.choice(("digest", "version", "opcode", "magic"))
    return _with(commands, 0, FIELDS[name], rng.getrandbits(FIELDS[name].width))


# What is done to the commands, and how often of 100 times.
WAYS: dict[Callable[..., Commands], int] = {_field: 60, _bits: 15, _order: 10, _truncated: 6, _nonsense: 5, _start: 4}


def damaged(rng: Random, job: Job, number: int) -> tuple[Commands, bytes, str]:
    """Case ``number`` of damaged programs: its commands, the whole image, and what was done to it. In one of ten the
    damage is in weights and parameters."""
    image = bytearray(job.program.image)
    commands, behind = job.commands, job.program.command_offset + COMMAND_BYTES * job.program.command_count
    if rng.random() < 0.1:
        for _ in range(rng.choice((1, 3, 100))):
            image[rng.randrange(behind, len(image))] = rng.getrandbits(8)
        return commands, bytes(image), "data"
    way, = rng.choices(list(WAYS), list(WAYS.values()))
    commands = way(rng, job, number)
    return commands, with_commands(job, commands), way.__name__.lstrip("_")


def allowed(commands: Commands, config: EngineConfig, size: int, place: int = 0) -> set[Error]:
    """Codes with which the engine may end; NONE: it may be done.

    ``size`` : of the window, in which the commands begin at ``place``. A program that writes over its own commands may
    end in any way but with what others do.
    """
    codes = {Error.OPCODE}      # no END among them
    for number, command in enumerate(commands):
        values = unpack_record(FIELDS, command)
        refused = refuse(values, config, size, first=number == 0)
        if refused is not None:
            codes = {refused[0]}
            break
        if values["opcode"] == Opcode.STORE_ACT and values["dram"] < place + COMMAND_BYTES * len(commands):
            return FAR
        if values["opcode"] == Opcode.END:
            codes = {Error.NONE}
            break
    return codes if codes == {Error.PROGRAM} else codes | HUNG
