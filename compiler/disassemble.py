"""Commands as readable text."""

from spec.commands import SEMAPHORES, unpack
from spec.program import Program

__all__ = ["disassemble"]

SHOWN = ("version", "dram", "stride", "dst", "count", "rows", "cols", "tap_base", "taps", "groups", "depth", "tiles",
         "in_base", "weight_base", "param_base", "pitch", "start_y", "start_x", "shift", "lo", "hi", "res_mult", "zero")
FLAGS = ("wide", "half", "acc_first", "acc_last", "residual", "straddle", "shared")


def disassemble(program: Program) -> list[str]:
    """One line for each command: number, tag, opcode, semaphores, fields that are not zero."""
    program.readable()
    return [_line(i, unpack(record)) for i, record in enumerate(program.commands)]


def _line(index, fields):
    parts = [f"{index:5} {fields['tag']:4} {fields['opcode'].name:12}"]
    for name in ("wait", "give", "release"):
        given = [str(s) for s in range(SEMAPHORES) if fields[name] >> s & 1]
        parts.append(f"{name} {','.join(given):6}" if given else " " * (len(name) + 7))
    if "digest" in fields:
        parts.append(f"digest={fields['digest']:08x}")
    parts += [f"{n}={fields[n]}" for n in SHOWN if fields.get(n)]
    for prefix in ("out", "res"):
        if fields.get(f"{prefix}_groups"):
            memory = "AB"[fields["mem_out"] if prefix == "out" else fields.get("mem_res", 0)]
            addr, bank, groups = (fields[f"{prefix}_{n}"] for n in ("cur_addr0", "cur_bank0", "groups"))
            parts.append(f"{prefix}={memory}[{addr}.{bank}]x{groups}")
    if "mem_in" in fields:
        parts.append(f"in={'AB'[fields['mem_in']]}")
    parts += [n for n in FLAGS if fields.get(n)]
    return " ".join(parts)
