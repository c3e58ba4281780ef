"""``python -m rtl.samples``: engines by synthesis, row by row; what the resource model (:mod:`boards.resources`) is
fitted on."""

import json
from pathlib import Path
import sys
from typing import Annotated

from typer import Option

import boards
from boards.resources import FITTED, ROWS, left_out
from spec.config import EngineConfig
from spec.entry import Outcome, entry
from spec.files import check_outputs, read_json, write_text
from spec.progress import say

from .generate import TOP, generate
from .tools import PLAN, arrays, built, plan, sample, sample_array

__all__ = ["main"]


def _write(file, rows, row):
    """Put a row in the place of the one of the same engine, or behind the others."""
    rows[:] = [one for one in rows if one["config"] != row["config"]] + [row]
    write_text(file, "[\n" + ",\n".join(json.dumps(one) for one in rows) + "\n]\n")


def _show(rows):
    """How far a fit to the others is off for each row; returns the errors by resource."""
    errors: dict[str, list[float]] = {resource: [] for resource in FITTED}
    for name, found in left_out(rows):
        print(f"{name:16}" + "".join(f"{resource:>6}{found[resource]:>8.1%}" for resource in FITTED))
        for resource in FITTED:
            errors[resource].append(found[resource])
    for resource, own in errors.items():
        print(f"{resource}: at most {max(map(abs, own)):.1%} off, {sum(map(abs, own)) / len(own):.1%} on "
              "average, each by a fit to the others")
    return errors


@entry("python -m rtl.samples", "--build build/zcu102 --count 0 --resume")
def main(
    out: Annotated[str, Option(help="file of the rows", show_default="that of the model")] = str(ROWS),
    resume: Annotated[bool, Option("--resume", help="keep the rows that are there, and make the others")] = False,
    count: Annotated[int, Option(min=0, help="random engines to synthesize")] = PLAN,
    build: Annotated[list[str] | None, Option(help="folder of a build with synthesis, whose row is taken from its "
                                                   "report; can be given several times")] = None,
) -> Outcome:
    """Synthesize engines and arrays, and keep what each block takes, for the resource model.

    Says how far the model is off for each engine by a fit to the others.
    Seconds for each of some arrays alone, a minute or two of a processor for each random engine.
    """
    check_outputs(out)
    file = Path(out)
    rows = read_json(file, "table of engines", list) if resume and file.exists() else []
    for folder in build or ():
        _write(file, rows, built(Path(folder)))
    there = {EngineConfig.from_dict(row["config"]).digest for row in rows}
    for name, config in arrays():
        if config.digest not in there:
            say(f"{config.name} for {name}")
            _write(file, rows, sample_array(boards.get(name), config))
    for number, (name, config) in enumerate(plan(count), 1):
        if config.digest in there:
            continue
        say(f"{number} of {count}: {config.name} for {name}, {config.pixels} pixels, ic {config.ic}, "
            f"{config.dsp_filters} + {config.lut_filters} filters, out_pixels {config.out_pixels}")
        _write(file, rows, sample(boards.get(name), config, generate(config), TOP, lambda line: None))
    print(f"{len(rows)} engines in {out}")
    return 0, {"rows": len(rows), "errors": _show(rows)}


if __name__ == "__main__":
    sys.exit(main())
