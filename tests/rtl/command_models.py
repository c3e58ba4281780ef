"""Golden models of what commands mean: the pixels of a view and a builder of commands for tests."""

from rtl.prim import COMMAND
from spec.commands import VERSION, Opcode, pack


def command(opcode, **values):
    """A command as a constant of the COMMAND layout."""
    return COMMAND.from_bits(int.from_bytes(pack(opcode, **values), "little"))


def start(config):
    """The first command of a program for this configuration."""
    return pack(Opcode.START, digest=int(config.digest, 16), version=VERSION)


def walk(view, rows, cols, pixels):
    """``(bank, addr)`` of every pixel of the region, as docs/architecture.md tells it."""
    def move(place, banks, words):
        bank, addr = place[0] + banks, place[1] + words
        return (bank - pixels, addr + view["groups"]) if bank >= pixels else (bank, addr)

    row = [(view[f"row_bank{p}"], view[f"row_addr{p}"]) for p in range(4)]
    cur = [(view[f"cur_bank{p}"], view[f"cur_addr{p}"]) for p in range(2)]
    px, py = view["phase_x"] & view["par_x"], view["phase_y"] & view["par_y"]
    out = []
    for _ in range(rows):
        for _ in range(cols):
            out.append(cur[px])
            cur[px] = move(cur[px], 1, 0)
            px ^= view["phase_x"]
        for x in range(2):
            row[2 * py + x] = move(row[2 * py + x], view["step_bank"], view["step_addr"])
        py ^= view["phase_y"]
        cur, px = [row[2 * py], row[2 * py + 1]], view["phase_x"] & view["par_x"]
    return out


def tensor_view(pixels, rows, cols, groups, base=0, phase_x=0, phase_y=0):
    """The view of a whole tensor that starts at address ``base``, and the words that it takes in each bank."""
    pitch = -(-cols // 2) if phase_x else cols
    plane = -(-(-(-rows // 2) if phase_y else rows) * pitch // pixels) * groups
    starts = [base, base + plane * phase_x, base + plane * (1 + phase_x) * phase_y, base + plane * (1 + phase_x) + plane]
    view = {f"row_addr{p}": starts[p] if (p < 2 or phase_y) and (not p & 1 or phase_x) else 0 for p in range(4)}
    view |= {f"row_bank{p}": 0 for p in range(4)} | {f"cur_addr{p}": view[f"row_addr{p}"] for p in range(2)}
    view |= {"cur_bank0": 0, "cur_bank1": 0, "step_addr": pitch // pixels * groups, "step_bank": pitch % pixels,
             "groups": groups, "phase_x": phase_x, "phase_y": phase_y, "par_x": 0, "par_y": 0}
    return view, plane * (1 + phase_x) * (1 + phase_y)


def out_fields(view):
    return {f"out_{name}": value for name, value in view.items()}
