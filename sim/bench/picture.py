"""The rows as a picture: frames per second of each network, and of what is published for the same board."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from spec.files import replacing

from .networks import NETWORKS
from .page import stale
from .peers import best

__all__ = ["check_drawing", "draw"]

OURS, PALE, OTHERS, MANY = "#c2410c", "#fdba74", "#4b5563", "#d1d5db"
WIDTH = 0.27


def check_drawing() -> None:
    """Raise ModuleNotFoundError without Matplotlib: before the work."""
    import_module("matplotlib.figure")


def draw(path: Path, rows: Sequence[dict]) -> None:
    """Write the picture (SVG) of the rows of the boards' own engines that are not stale."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    rows = [row for row in rows if not row["tuned"] and not stale(row)]
    boards = list(dict.fromkeys(row["board"] for row in rows))
    figure = Figure(figsize=(13, 3.4 * max(1, -(-len(boards) // 2))), layout="constrained")
    for at, board in enumerate(boards):
        _panel(figure.add_subplot(-(-len(boards) // 2), 2, at + 1), board,
               [row for row in rows if row["board"] == board])
    figure.suptitle("Frames per second, batch 1 (docs/results/speed.md)", fontsize=11)
    # The same rows are the same file.
    with replacing(path) as partial, rc_context({"svg.hashsalt": "alloy", "svg.fonttype": "none"}):
        figure.savefig(partial, format="svg", metadata={"Date": None})


def _panel(ax: Any, board: str, rows: Sequence[dict]) -> None:
    """Three bars for each network: ours, the best published one of one image in flight, and of several."""
    names = [name for name in NETWORKS if any(row["network"] == name for row in rows)]
    for at, name in enumerate(names):
        own = {row["source"]: row for row in rows if row["network"] == name}
        row = own.get("rtl") or own["model"]
        _bar(ax, at - WIDTH, row["fps"], OURS if row["source"] == "rtl" else PALE)
        for shift, flight, color in ((0.0, "one", OTHERS), (WIDTH, "many", MANY)):
            if peer := best(board, name, flight):
                _bar(ax, at + shift, getattr(peer, flight), color, peer.system)
    ax.set_yscale("log")
    ax.margins(y=0.25)
    ax.set_xticks(range(len(names)), [NETWORKS[name].title.replace(", ", "\n") for name in names], fontsize=8)
    ax.set_title(f"{board}, {rows[0]['clock_mhz']} MHz", fontsize=10)
    ax.tick_params(axis="y", labelsize=8)
    for color, text in ((OURS, "Alloy, counted in RTL"), (PALE, "Alloy, cycle model"),
                        (OTHERS, "published, one image in flight"), (MANY, "published, several")):
        ax.bar([0], [0], color=color, label=text)
    ax.legend(fontsize=6, ncols=2, loc="upper left")


def _bar(ax: Any, at: float, height: float, color: str, name: str = "") -> None:
    ax.bar([at], [height], WIDTH, color=color)
    text = f"{height:,.0f}" if height >= 100 else f"{height:.3g}"
    ax.text(at, height, f"{text}\n{name}".strip(), ha="center", va="bottom", fontsize=5.5)
