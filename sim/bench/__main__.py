"""``python -m sim.bench``: networks on boards, rows of docs/results/speed.json, the page and the picture of them, and
the table of the README."""

import fcntl
import json
import os
from pathlib import Path
import sys
from typing import Annotated, Any

from typer import Option

import boards
from quant.graph import Graph
from spec.config import EngineConfig
from spec.entry import entry
from spec.errors import AlloyError
from spec.files import check_folder, check_outputs, read_json, write_text
from spec.progress import Course, say

from .networks import NETWORKS, graph
from .page import extract, markdown, shown, stale
from .peers import PEERS
from .picture import check_drawing, draw
from .rows import SOURCES, modelled_row, read_network, simulated_row

__all__ = ["ROWS", "main"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("speed.json", "speed.md", "speed.svg")
TINY, SMALL = ("resnet8", "ds_cnn", "mobilenet_v1_025"), ("pynq-z2", "zc706")    # networks, boards they are for
LARGE = ("resnet18", "resnet50", "mobilenet_v2")
WORK = {"model": 1.0, "rtl": 60.0}      # what a row takes, roughly, in any unit
# Network by network, whose graph is read once.
ROWS = [(board, network, "model") for network in NETWORKS for board in boards.BOARDS
        if network not in TINY or board in SMALL]
ROWS += [("pynq-z2", network, "rtl") for network in (*TINY, "resnet18", "mobilenet_v2")]
ROWS += [("zcu102", network, "rtl") for network in LARGE]


def _key(row):
    return row["board"], row["network"], row["source"], row["tuned"] and row["digest"]


def _asked(job, engine):
    """The key of a job's row, on an engine that is given, or on the board's own."""
    return (*job, engine is not None and engine != boards.get(job[0]).config and engine.digest)


def _rows(folder):
    path = folder / PAGES[0]
    rows = read_json(path, "table of speeds").get("rows") if path.exists() else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"board", "network", "source", "tuned", "digest"}
                                             <= row.keys() for row in rows):
        raise AlloyError(f"{path} has no rows of this bench: give another --out")
    return rows


def _add(folder, *new, without=()):
    """Put rows into all files, and take those ``without`` a row, by their keys, out; several benches may run side by
    side."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [row for row in _rows(folder) if _key(row) not in {*map(_key, new), *without}] + list(new)
        names = {name: list(known) for name, known in (("board", boards.BOARDS), ("network", NETWORKS),
                                                       ("source", SOURCES))}
        rows.sort(key=lambda row: [*(known.index(row[name]) for name, known in names.items()), row["tuned"]])
        quant = folder / "quant.json"
        table = {"rows": rows, "peers": [vars(peer) for peer in PEERS]}
        write_text(folder / PAGES[0], json.dumps(table, indent=1) + "\n")
        write_text(folder / PAGES[1], markdown(rows, json.loads(quant.read_text()) if quant.exists() else []))
        draw(folder / PAGES[2], rows)
        readme = folder.parents[1] / "README.md"
        if readme.exists() and (text := extract(readme.read_text(), shown(rows))) is not None:
            write_text(readme, text)
    finally:
        os.close(lock)


def _wanted(only, **given):
    """Rows of :data:`ROWS` that match ``BOARD:NETWORK:SOURCE`` (a part may be a list with commas, an empty one matches
    all) and what else is given; one that is named in all three need not be among them."""
    parts = [part.split(",") if part else [] for part in ((only or "") + "::").split(":")[:3]]
    known: list[list[str]] = [list(boards.BOARDS), list(NETWORKS), list(SOURCES)]
    for part, (name, value), names in zip(parts, given.items(), known, strict=True):
        part += [value] * (value is not None)
        if unknown := [one for one in part if one not in names]:
            raise AlloyError(f"the bench has no {name} {unknown[0]!r}: choose {', '.join(names)}")
    if all(parts):
        return [(board, network, source) for network in parts[1] for board in parts[0] for source in parts[2]]
    return [row for row in ROWS if all(not part or one in part for one, part in zip(row, parts, strict=True))]


def _show(row, when):
    say(f"{row['board']} {row['network']} {row['source']}{' tuned' if row['tuned'] else ''}: {row['cycles']:,} cycles, "
        f"{row['fps']:,} frames per second, {row['utilisation']:.1%} of the array ({when})")


def _made(job, engine, file, known, folders):
    """The row of a job; ``known`` keeps the graph of the network before it."""
    name, network, source = job
    board = boards.get(name)
    config, given = engine or board.config, read_network(network, file) if file else None
    if source == "rtl":
        return simulated_row(board, config, network, given=given, **folders, say=say)
    if given is not None:
        return modelled_row(board, config, network, given, folders["builds"])
    if network not in known:
        known.clear()
        known[network] = graph(network)
    return modelled_row(board, config, network, known[network], folders["builds"])


@entry("python -m sim.bench", "--board zcu102 --network resnet18 --source model")
def main(
    board: Annotated[str | None, Option(help=f"rows of this board alone: {', '.join(boards.BOARDS)}")] = None,
    network: Annotated[str | None, Option(help=f"of this network alone: {', '.join(NETWORKS)}")] = None,
    source: Annotated[str | None, Option(help=f"of the cycle model or the Verilated engine alone: {', '.join(SOURCES)}")
                      ] = None,
    only: Annotated[str | None, Option(metavar="BOARD:NETWORK:SOURCE", help="only the rows that match; parts may be "
                                       "lists with commas, empty: all")] = None,
    again: Annotated[bool, Option("--again", help="make rows that are there and not stale again")] = False,
    file: Annotated[str | None, Option(help="integer network (.npz) with trained weights, for one row")] = None,
    config: Annotated[str | None, Option(help="engine (JSON) instead of the board's own: rows that say tuned")] = None,
    out: Annotated[str, Option(help="folder of speed.json, speed.md and speed.svg")] = str(ROOT / "docs" / "results"),
    cache: Annotated[str, Option(help="directory of built simulators")] = "build/cache",
    kept: Annotated[str, Option(help="directory of calibrated networks")] = "build/bench",
    builds: Annotated[str, Option(help="directory with the boards' builds, whose resources are shown")] = "build",
) -> int:
    """Make rows of the table of speeds: networks on boards, by the cycle model and by the Verilated engine.

    Rows that are there already are kept, unless they are stale or --again is given. A network that a board's engine
    cannot run has no row. The README beside the folder of the rows gets its table.
    """
    folder, known = Path(out), dict[str, tuple[Graph, str]]()
    check_outputs(*(folder / name for name in PAGES), inputs=(file, config))
    check_drawing()
    jobs = _wanted(only, board=board, network=network, source=source)
    if file and len(jobs) != 1:
        raise AlloyError(f"--file {file} is one network and {len(jobs)} rows are asked for: name --board, --network "
                         "and --source")
    engine = EngineConfig.load(config) if config else None
    there = {_key(row): row for row in _rows(folder)}
    todo, none, course = [], [], Course()
    for job in jobs:
        row = there.get(_asked(job, engine))
        if row and not stale(row) and not again:
            _show(row, f"of {row['date']}, --again makes it again")
        else:
            todo.append(job)
    course.begin({"rows": [WORK[job[2]] for job in todo]})
    folders: dict[str, Any] = {"kept": kept, "cache": cache, "builds": builds}
    for number, job in enumerate(todo, 1):
        say(f"row {number} of {len(todo)}: {' '.join(job)}{course}")
        try:
            row = _made(job, engine, file, known, folders)
        except AlloyError as error:
            if len(jobs) == 1:
                raise
            say(f"no row of {' '.join(job)}: {error}")
            none.append(_asked(job, engine))
        else:
            _show(row, "now")
            _add(folder, row)
        course.step("rows")
    _add(folder, without=none)      # the page of rows that were there already, too
    return int(bool(none))


if __name__ == "__main__":
    sys.exit(main())
