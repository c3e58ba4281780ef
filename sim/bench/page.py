"""The rows as a page, and the part of them that the README shows."""

from collections.abc import Sequence

import boards
from boards import Board

from ..cycle_model import error_text
from .networks import NETWORKS, RECIPE
from .peers import PEERS, Peer, best

__all__ = ["BEGIN", "END", "extract", "markdown", "shown", "stale"]

BEGIN, END = "<!-- speed: python -m sim.bench -->\n", "<!-- end of speed -->\n"
HEAD = """# Speed

Written by `python -m sim.bench`; one row again: `python -m sim.bench --board BOARD --network NETWORK --source SOURCE
--again`. Batch 1, one image in flight, from the image in DRAM to the last layer's codes in DRAM, weights from the
modelled DRAM; filters of the recipe `{recipe}`; clocks are those at which designs on the same boards are published.
`rtl`: cycles counted in the Verilated engine of the board, every layer's output compared with the golden model.
`model`: the cycle model, an estimate: {error}. A row that says *stale* was made with an engine that the board no
longer has. `use` is the share of the array's multiplications that are of the network. The lost cycles are shares of
the frame by the cycle model. LUTs and flip-flops are those of the synthesis where a build of the same configuration
was there, else (`~`) of the resource model. `accuracy` is that of the recipe after calibration without training, float
in brackets ([quant.md](quant.md)).
"""
SHOWN = ("zcu102", "kv260", "pynq-z2")      # boards in the README
USED = ("lut", "ff", "dsp", "bram36")
PEERS_HEAD = """
## Published engines on the same boards

Of the sources named; nothing was measured here. `one`: one image in flight, `several`: more of them (threads, a
pipeline of layers, several cores).

| board | network | engine | precision | MHz | one | several | source | date |
|---|---|---|---|---|---|---|---|---|"""


def stale(row: dict) -> bool:
    """Whether a row is of an engine that its board no longer has; one tuned to a network is never."""
    return not row["tuned"] and row["digest"] != boards.get(row["board"]).config.digest


def _number(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def _used(row, name):
    mark = "~" if row["resources"] == "model" and name in ("lut", "ff") else ""
    return f"{mark}{row[name]:,.0f}" if row[name] == int(row[name]) or mark else f"{row[name]:,.1f}"


def _notes(row):
    return ", ".join([*["tuned"] * row["tuned"], *["*stale*"] * stale(row)])


def _lost(row):
    return ", ".join(f"{cause} {share:.0%}" for cause, share in sorted(row["losses"].items(), key=lambda one: -one[1])
                     if cause != "macs" and share >= 0.01)


def _rates(board, network):
    """Frames per second of the fastest published engines, with one and with several images in flight."""
    found = [(best(board, network, flight), flight) for flight in ("one", "many")]
    return [f"{_number(getattr(peer, flight))} ({peer.system})" if peer else "-" for peer, flight in found]


def _board(board: Board, rows: Sequence[dict], accuracy: dict[str, str]):
    yield from (f"\n## {board.name}, {board.clock_mhz} MHz\n",
                "| network | weights | source | | cycles | FPS | use | lost | LUT | FF | DSP | BRAM36 | accuracy "
                "| published, one | several | date |", "|" + "---|" * 16)
    for row in rows:
        cells = [row["network"], row["weights"], row["source"], _notes(row), f"{row['cycles']:,}", _number(row["fps"]),
                 f"{row['utilisation']:.1%}", _lost(row), *(_used(row, name) for name in USED),
                 accuracy.get(row["network"], "-"), *_rates(row["board"], row["network"]), row["date"]]
        yield "| " + " | ".join(cells) + " |"


def _accuracies(quant: Sequence[dict]) -> dict[str, str]:
    """What the bench of recipes says of the networks."""
    found = {row["network"]: f"{row['int_top1']:.1f} ({row['float_top1']:.1f}) %" for row in quant
             if row["recipe"] == RECIPE and row["mode"] == "ptq"}
    return {name: found[one.trained] for name, one in NETWORKS.items() if one.trained in found}


def _peer(peer: Peer):
    return (f"| {peer.board} | {peer.network} | {peer.system} | {peer.precision} | {peer.clock_mhz or '-'} | "
            f"{_number(peer.one)} | {_number(peer.many)} | {peer.source} | {peer.date} |")


def markdown(rows: Sequence[dict], quant: Sequence[dict]) -> str:
    """The page for the rows; ``quant`` are those of the bench of recipes."""
    lines, accuracy = [HEAD.format(recipe=RECIPE, error=error_text())], _accuracies(quant)
    for board in boards.BOARDS.values():
        if own := [row for row in rows if row["board"] == board.name]:
            lines += _board(board, own, accuracy)
    return "\n".join([*lines, PEERS_HEAD, *map(_peer, PEERS)]) + "\n"


def shown(rows: Sequence[dict]) -> str:
    """The table of the README, of the boards :data:`SHOWN`: of each network the row that was measured, else the
    model's."""
    lines = ["| board | network | cycles | FPS | of the array | source | published, one image in flight | several |",
             "|" + "---|" * 8]
    of_each: dict[tuple[str, str], dict] = {}
    for row in sorted(rows, key=lambda row: (not stale(row), row["source"] == "rtl")):
        if not row["tuned"]:
            of_each[row["board"], row["network"]] = row
    for board in map(boards.get, SHOWN):
        for network, one in NETWORKS.items():
            if (board.name, network) in of_each:
                row = of_each[board.name, network]
                cells = [f"{board.name}, {row['clock_mhz']} MHz", one.title, f"{row['cycles']:,}",
                         _number(row["fps"]), f"{row['utilisation']:.0%}",
                         row["source"] + (", *stale*" if stale(row) else ""), *_rates(board.name, network)]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def extract(text: str, table: str) -> str | None:
    """A text with ``table`` between the marks, or None if it has none."""
    head, mark, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    return head + BEGIN + table + end + tail if mark and end else None
