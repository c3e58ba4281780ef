"""``python -m rtl.build``: the engine's Verilog with everything a user needs around it.

Writes into the output directory: Verilog, register and command map (C header, Python, JSON, Markdown, CMSIS-SVD,
SystemRDL), IP-XACT, an instance, the C driver, a page about the build, configuration, Vivado script, ``report.json``
and ``report.txt``. They appear only when all of them are there. A later build into the same directory replaces the
files that this one wrote and leaves everything else.
"""

from collections.abc import Callable
import json
from pathlib import Path
import sys
from typing import Annotated

from typer import Option

import boards
from spec import devices
from spec.config import EngineConfig
from spec.entry import Outcome, entry
from spec.errors import AlloyError
from spec.files import check_outputs, write_text
from spec.folders import check_generated, generating
from spec.progress import going, say as _say

from .bitstream import FILES as SMALL_FILES, SMALL, build_small, small_text
from .generate import TOP, generate
from .tools import (PACKAGE, PAGES, SOFTWARE, banner, find_yosys, longest_paths, report_of, report_text, synthesize,
                    write_package, write_pages, write_software)

__all__ = ["build", "main"]

REPORT = "report.json"
SCRIPTS = tuple(dict.fromkeys(family.script for family in devices.FAMILIES.values()))
FILES = (f"{TOP}.v", *SOFTWARE, *PAGES, *PACKAGE, "config.json", *SCRIPTS, "report.txt", REPORT)


def build(board: boards.Board, config: EngineConfig, out: str | Path, *, synth: bool = True, paths: bool = False,
          say: Callable[[str], object] = _say) -> dict:
    """Generate into directory ``out``; returns the report, with the longest ``paths`` if they are asked for.

    Raises :class:`AlloyError` if the configuration does not fit the board, or if ``out`` holds files of the same names
    that no earlier build wrote or that were edited since; ``out`` then stays as it was.
    """
    out = Path(out).resolve()
    check_generated(out, REPORT, FILES)
    board.check(config)
    if synth or paths:
        find_yosys()        # before the long work
    say(f"elaborating {config.name}, digest {config.digest}")
    with going(say, f"elaborating {config.name}", 10):
        files = {name: banner(config) + text for name, text in generate(config).items()}
    say(f"{sum(map(len, files.values())) // 1024} KiB of Verilog")
    synthesis = synthesize("\n".join(files.values()), TOP, board.family, report=say) if synth else None
    if synthesis:
        board.refuse(synthesis["total"])
    longest = longest_paths("\n".join(files.values()), TOP, board.family, report=say) if paths else None
    report = report_of(board, config, files, synthesis, longest)
    try:
        with generating(out, REPORT, report) as fresh:
            for name, text in files.items():
                write_text(fresh / name, text)
            write_software(fresh, config)
            write_pages(fresh)
            write_package(fresh, board, config, files[f"{TOP}.v"], TOP)
            write_text(fresh / "config.json",
                       json.dumps({**config.to_dict(), "digest": config.digest}, indent=2) + "\n")
            write_text(fresh / "report.txt", report_text(report))
    except OSError as error:
        raise AlloyError(f"cannot write {out}: {error}") from None
    return report


@entry("python -m rtl.build", "--platform zcu102 --no-synth")
def main(
    platform: Annotated[str, Option(help=f"one of {', '.join(SMALL)}, {boards.CHOICES}")],
    out: Annotated[str | None, Option(help="output directory (default build/PLATFORM)")] = None,
    config: Annotated[str | None, Option(help="engine configuration (JSON) instead of the board's own")] = None,
    no_synth: Annotated[bool, Option("--no-synth", help="skip synthesis: no resources in the report")] = False,
    paths: Annotated[bool, Option("--paths", help="report the longest paths over module borders: minutes more")
                     ] = False,
) -> Outcome:
    """Write the engine's Verilog with everything a user needs around it.

    That is Verilog, register and command map for C, Python and other tools, IP-XACT, the C driver, a page about the
    build (build.md), configuration, Vivado script, report.json and report.txt. For ulx3s and ecpix5 it is a bitstream,
    made with Yosys and nextpnr: an engine with memory on the chip and a UART.
    """
    if platform in SMALL:
        return _small(platform, config, out, not no_synth, paths)
    board = boards.get(platform)
    engine = EngineConfig.load(config) if config else board.config
    folder = Path(out or Path("build") / board.name)
    check_generated(folder, REPORT, FILES)
    check_outputs(*(folder / name for name in FILES), inputs=(config,))
    report = build(board, engine, folder, synth=not no_synth, paths=paths)
    print(report_text(report), end="")
    print(f"written to {folder}")
    return 0, report


def _small(platform, config, out, synth, paths):
    """The same for a board that open tools make a bitstream for."""
    if paths:
        raise AlloyError(f"place and route says how fast {platform} is: leave out --paths")
    engine = EngineConfig.load(config) if config else SMALL[platform].config
    folder = Path(out or Path("build") / platform)
    check_outputs(*(folder / name for name in SMALL_FILES), inputs=(config,))
    report = build_small(platform, engine, generate, folder, synth=synth)
    print(small_text(report), end="")
    print(f"written to {folder}")
    return 0, report


if __name__ == "__main__":
    sys.exit(main())
