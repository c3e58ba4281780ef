"""Golden models of what commands mean: views of tensors and a builder of commands for tests."""

from rtl.prim import COMMAND
from spec import views
from spec.commands import VERSION, Opcode, pack


def command(opcode, **values):
    """A command as a constant of the COMMAND layout."""
    return COMMAND.from_bits(int.from_bytes(pack(opcode, **values), "little"))


def start(config):
    """The first command of a program for this configuration."""
    return pack(Opcode.START, digest=config.digest_word, version=VERSION)


def walk(view, rows, cols, pixels):
    """``(bank, addr)`` of every pixel of the region."""
    return [(bank, addr) for _, _, bank, addr in views.walk(view, rows, cols, pixels)]


def tensor_view(pixels, rows, cols, groups, base=0, phase_x=0, phase_y=0):
    """The view of a whole tensor that starts at address ``base``, and the words that it takes in each bank."""
    pitch = -(-cols // 2) if phase_x else cols
    plane = -(-(-(-rows // 2) if phase_y else rows) * pitch // pixels) * groups
    starts = [base, base + plane * phase_x, base + plane * (1 + phase_x) * phase_y,
              base + plane * (1 + phase_x) + plane]
    view = {f"row_addr{p}": starts[p] if (p < 2 or phase_y) and (not p & 1 or phase_x) else 0 for p in range(4)}
    view |= {f"row_bank{p}": 0 for p in range(4)} | {f"cur_addr{p}": view[f"row_addr{p}"] for p in range(2)}
    view |= {"cur_bank0": 0, "cur_bank1": 0, "step_addr": pitch // pixels * groups, "step_bank": pitch % pixels,
             "groups": groups, "phase_x": phase_x, "phase_y": phase_y, "par_x": 0, "par_y": 0}
    return view, plane * (1 + phase_x) * (1 + phase_y)


def out_fields(view):
    return views.fields_of(view, "out")
