"""``python -m quant.bench``: measures recipes on networks and writes docs/results/quant.json and quant.md.

Rows that are there already are kept, unless ``--again``.
"""

import fcntl
import json
import os
from pathlib import Path
import sys
from typing import Annotated

from typer import Option

from spec.entry import entry
from spec.errors import AlloyError
from spec.files import check_outputs, read_json, write_text
from spec.progress import say

from ..recipes import VARIANTS
from . import data, runs
from .table import markdown

__all__ = ["main", "ROWS"]

PAGES = ("quant.json", "quant.md")

SMALL, LARGE = ("resnet8", "resnet20"), ("resnet18", "mobilenetv2")
ROWS = [(recipe, network, "ptq") for network in (*SMALL, *LARGE) for recipe in VARIANTS]
ROWS += [(recipe, network, "qat") for network in SMALL for recipe in VARIANTS]
ROWS += [(recipe, "resnet50", "ptq")
         for recipe in ("fixed8", "film_qnn", "film_qnn_a8", "alloy", "alloy_more", "alloy_a8")]


def _rows(folder):
    path = folder / PAGES[0]
    rows = read_json(path, "table of rows", list) if path.exists() else []
    if not all(isinstance(row, dict) and {"recipe", "network", "mode", "seed"} <= row.keys() for row in rows):
        raise AlloyError(f"{path} is not a table of rows of this bench: give another --out")
    return rows


def _key(row):
    return row["recipe"], row["network"], row["mode"], row["seed"]


def _add(folder, *new):
    """Put rows into both files; several benches may run side by side."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AlloyError(f"{folder} cannot be written ({error.strerror}): choose another --out") from None
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [row for row in _rows(folder) if _key(row) not in map(_key, new)] + list(new)
        order = {key: index for index, key in enumerate(ROWS)}
        rows.sort(key=lambda r: order.get((r["recipe"], r["network"], r["mode"]), len(order)))
        try:
            page = markdown(rows)
        except (KeyError, TypeError, ValueError) as error:
            raise AlloyError(f"{folder / PAGES[0]} has a row that is not whole ({type(error).__name__} {error}): "
                             "remove it") from None
        for name, text in zip(PAGES, (json.dumps(rows, indent=1) + "\n", page), strict=True):
            write_text(folder / name, text)
    finally:
        os.close(lock)


def _show(row, when):
    cycles = ", ".join(f"{count:,} cycles on {board}" if isinstance(count, int) else f"does not compile for {board}"
                       for board, count in row["cycles"].items())
    say(f"{row['recipe']} {row['network']} {row['mode']}: float {row['float_top1']} %, integer {row['int_top1']} +- "
        f"{row['stderr']} %, {row['bits_per_weight']} bits per weight, {cycles} ({when})")


def _wanted(only):
    """Rows that match ``RECIPE:NETWORK:MODE``; a part may be a list with commas, an empty one matches all."""
    if only is None:
        return ROWS
    parts = (only.split(":") + ["", ""])[:3]
    rows = [row for row in ROWS
            if all(not part or value in part.split(",") for part, value in zip(parts, row, strict=True))]
    if not rows:
        raise AlloyError(f"no row matches {only!r}: recipes are {', '.join(VARIANTS)}, networks "
                         f"{', '.join(data.NETWORKS)}, modes ptq, qat")
    return rows


@entry("python -m quant.bench", "--only alloy,film_qnn:resnet8:ptq --out build/bench")
def main(
    only: Annotated[str | None, Option(metavar="RECIPE:NETWORK:MODE", help="only the rows that match; parts may be "
                                       "lists with commas, empty: all")] = None,
    again: Annotated[bool, Option("--again", help="measure rows that are there again")] = False,
    cycles: Annotated[bool, Option("--cycles", help="count the cycles of rows that are there again and measure "
                                   "nothing")] = False,
    out: Annotated[str, Option(help="folder of quant.json and quant.md")] = "docs/results",
    seed: Annotated[int, Option(min=0, help="of the calibration")] = 0,
) -> int:
    """Measure recipes on networks.

    Writes quant.json and quant.md; rows that are there already are kept, unless --again. With --cycles these alone are
    taken, with the engines and the compiler of today.
    """
    if again and cycles:
        raise AlloyError("--again measures rows, their cycles too, and --cycles measures nothing: give one of them")
    folder, prepared = Path(out), None
    check_outputs(*(folder / name for name in PAGES))
    # Rows of the same bits share an equalized graph, which is large and the longest work of many rows.
    order = list(data.NETWORKS)
    rows = sorted(_wanted(only), key=lambda row: (order.index(row[1]), VARIANTS[row[0]].bits))
    for recipe, network, mode in rows:
        there = next((row for row in _rows(folder) if _key(row) == (recipe, network, mode, seed)), None)
        if there and not again and not cycles:
            _show(there, f"measured {there['date']}, --again does it again")
            continue
        if cycles and not there:
            continue
        if prepared is None or prepared.task.name != network:
            prepared = runs.prepare(data.load(network), seed=seed, say=say)
        if there and cycles:
            row = runs.counted(there, prepared, say=say)
            _show(row, f"cycles of {row['counted']}")
        else:
            row = runs.measure(recipe, prepared, mode, say=say)
            _show(row, f"{row['seconds']} s, at most {row['peak_gib']} GiB")
        _add(folder, row)
    _add(folder)        # the page of rows that were there already, too
    return 0


if __name__ == "__main__":
    sys.exit(main())
