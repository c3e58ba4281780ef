"""``python -m alloy.clock``: how long the paths of the engines are, row by row; writes docs/results/clock.json and
clock.md."""

from datetime import date
import json
from pathlib import Path
import sys
from typing import Annotated

from typer import Option

import boards
from rtl.generate import TOP, generate
from rtl.tools import PART, longest_paths, placed, render
from spec.config import EngineConfig
from spec.devices import family
from spec.entry import entry
from spec.errors import AlloyError
from spec.files import check_outputs, read_json, write_text
from spec.progress import say


__all__ = ["ECP5", "ENGINES", "main"]

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
# An engine whose paths are looked at in every run of the tests, one that is placed and routed, and those of the boards.
SMALL = EngineConfig(name="small", ic=2, pixels=2, dsp_filters=2, lut_filters=1, act_depth=64, weight_depth=32, ports=1,
                     port_bits=32, dsp_device="dsp48e1")
ECP5 = EngineConfig(name="ecp5", ic=8, pixels=4, dsp_filters=4, lut_filters=2, act_digit_bits=4, dsp_device="mult18",
                    ports=1, port_bits=32)
MHZ = 100.0             # what it is placed for
ALL, SHOWN = 100_000, 5
ENGINES = {"small": SMALL, "ecp5": ECP5, **{name: board.config for name, board in boards.BOARDS.items()}}


def _row(name):
    """What is known of an engine's paths."""
    config = ENGINES[name]
    text = "\n".join(generate(config).values())
    row = {"engine": name, "digest": config.digest, "date": date.today().isoformat()}
    if config is ECP5:
        return row | {"part": PART, "wanted_mhz": MHZ} | placed(text, TOP, MHZ, report=say)
    of = family("xc7") if config is SMALL else family(boards.get(name).family)
    paths = longest_paths(text, TOP, of.name, count=ALL, report=say)
    most = {name: max(path[name] for path in paths) for name in ("luts", "carries", "chains")}
    return row | {"family": of.name, **most, "paths": paths[:SHOWN]}


@entry("python -m alloy.clock", "--engine small")
def main(
    engine: Annotated[list[str] | None, Option(help=f"rows of this engine alone: {', '.join(ENGINES)}; can be given "
                                                    "several times")] = None,
    out: Annotated[str, Option(help="folder of clock.json and clock.md")] = str(RESULTS),
) -> int:
    """The longest paths of engines from register to register, and how fast one is after place and route.

    Paths go over module borders.
    A minute for a small engine, a quarter of an hour for zcu102, half an hour or more for place and route.
    """
    for name in engine or ():
        if name not in ENGINES:
            raise AlloyError(f"no engine {name} is looked at: give {', '.join(ENGINES)}")
    file, page = Path(out) / "clock.json", Path(out) / "clock.md"
    check_outputs(str(file), str(page))
    rows = {row["engine"]: row for row in (read_json(file, "rows of engines", list) if file.exists() else [])}
    for name in engine or ENGINES:
        say(f"{name}: {ENGINES[name].digest}")
        rows[name] = _row(name)
        there = [rows[name] for name in ENGINES if name in rows]
        write_text(file, "[\n" + ",\n".join(json.dumps(row) for row in there) + "\n]\n")
        write_text(page, render("clock.md", rows=there, engines=ENGINES, part=PART))
    print(f"written to {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
