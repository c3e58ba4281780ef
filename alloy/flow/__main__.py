"""``python -m alloy.flow``: the program."""

from pathlib import Path
import sys
from typing import Annotated

from typer import Option

from quant.job import network_name
from quant.options import collected, with_options
from spec.entry import Outcome, entry
from spec.errors import AlloyError
from spec.progress import say

from . import FlowOptions, run_flow
from .run import NAMES

__all__ = ["main"]

STEP = f"one of {', '.join(NAMES)}"


@entry("python -m alloy.flow", "models:Net --weights net.pth --images photos --size 224 --mean imagenet "
       "--platform zcu102")
@with_options(FlowOptions)
def main(
    given: dict,
    out: Annotated[str | None, Option(help="folder of the results (default build/NAME); an earlier flow's goes on")
                   ] = None,
    options_file: Annotated[str | None, Option("--options", help="YAML file of these options; the command line wins")
                            ] = None,
    first: Annotated[str | None, Option("--from", metavar="STEP", help=f"do this step and all behind it again: {STEP}")
                     ] = None,
    last: Annotated[str | None, Option("--to", metavar="STEP", help="stop behind this step")] = None,
) -> Outcome:
    """Take a trained model and pictures to a simulated engine: check, quantize, compile, build, run, report.

    The results of each step are kept in a folder; the same command again goes on where it was cut off. Exit status 1 if
    a step fails.
    """
    options = collected(FlowOptions, given, options_file)
    if options.model is None:
        raise AlloyError("no model is given: give MODULE:NAME or a file")
    folder = Path(out or Path("build") / (options.name or network_name(options.model)))
    results = run_flow(options, folder, first=first, last=last, say=say)
    if "report" in results:
        print((folder / "report.txt").read_text(), end="")
    print(f"written to {folder}")
    return 0, {"folder": str(folder), "steps": results}


if __name__ == "__main__":
    sys.exit(main())
