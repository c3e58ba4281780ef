"""``python -m compiler``: compile a network file, or show what was made of it."""

from pathlib import Path
import sys
from typing import Annotated

from typer import Argument, Option

import boards
from spec.config import EngineConfig
from spec.entry import Outcome, entry, group
from spec.errors import AlloyError
from spec.files import check_outputs, read_bytes, write_bytes
from spec.network import Network
from spec.program import FORMS, Program

from .build import compile, lowered, planned
from .disassemble import disassemble
from .show import PARTS, show_graph, show_placement, show_schedule


@entry("python -m compiler compile", "--network network.npz --config config.json --out program.alloy")
def compile_program(
    network: Annotated[str, Option(help="integer network (.npz)")],
    out: Annotated[str, Option(help="program file to write")],
    config: Annotated[str | None, Option(help="engine configuration (.json)")] = None,
    platform: Annotated[str | None, Option(help=f"instead of it the engine of a board: {boards.CHOICES}")] = None,
    keep_all: Annotated[bool, Option("--keep-all", help="also write every layer's output to DRAM")] = False,
    pixel_bytes: Annotated[int | None, Option(
        help="bytes from one pixel of the image to the next (default: its channels); 4 for RGBX")] = None,
    row_bytes: Annotated[int | None, Option(
        help="bytes from one row of the image to the next (default: its pixels)")] = None,
    classes: Annotated[str | None, Option(help="text file of names, one line for each class")] = None,
    also: Annotated[list[str] | None,
                    Option(help=f"write it beside OUT as well, of {', '.join(FORMS)}: one binary file, a C header, "
                                "text for $readmemh; can be given several times")] = None,
) -> Outcome:
    """Compile a network for a configuration to a program file."""
    for form in also or ():
        if form not in FORMS:
            raise AlloyError(f"there is no form {form!r} of a program: choose {', '.join(FORMS)}")
    more = {form: Path(out).with_suffix(f".{form}") for form in also or ()}
    if Path(out) in more.values():
        raise AlloyError(f"{out} would be written twice: give --out another suffix, such as .alloy")
    check_outputs(out, *more.values(), inputs=(network, config, classes))
    found = compile(Network.load(network), _engine(platform, config), keep="all" if keep_all else (),
                    classes=_lines(classes), pixel_bytes=pixel_bytes, row_bytes=row_bytes,
                    warn=lambda text: print(text, file=sys.stderr))
    texts = {path: FORMS[form](found, path.stem) for form, path in more.items()}
    found.save(out)
    for path, data in texts.items():
        write_bytes(path, data)
    print(f"{out}: {found.command_count} commands, {len(found.image)} bytes of image, "
          f"{found.window_size} bytes of DRAM")
    return 0, {"file": out, "commands": found.command_count, "image_bytes": len(found.image),
               "dram_bytes": found.window_size, "digest": found.digest}


def _engine(platform, config):
    """The engine of a board, or of a file."""
    if (platform is None) == (config is None):
        raise AlloyError("an engine is needed: give --platform or --config, one of them")
    return boards.get(platform).config if config is None else EngineConfig.load(config)


def _lines(path):
    """The lines of a text file that are not empty; none if there is no file."""
    if path is None:
        return ()
    try:
        return tuple(line.strip() for line in read_bytes(path, "file of classes").decode().splitlines() if line.strip())
    except UnicodeDecodeError:
        raise AlloyError(f"{path} is no text of UTF-8: give the names of classes, one a line") from None


@entry("python -m compiler disassemble", "program.alloy")
def disassemble_program(file: Annotated[str, Argument(metavar="PROGRAM", help="program file")]) -> int:
    """List the commands of a program file."""
    for line in disassemble(Program.load(file)):
        print(line)
    return 0


@entry("python -m compiler show", "network.npz --platform zcu102 --part placement")
def show_network(
    network: Annotated[str, Argument(help="integer network (.npz)")],
    platform: Annotated[str | None, Option(help=f"one of {boards.CHOICES}")] = None,
    config: Annotated[str | None, Option(help="engine configuration (.json) instead of a platform")] = None,
    part: Annotated[list[str] | None, Option(help=f"of {', '.join(PARTS)}; can be given several times (default: all)")
                    ] = None,
) -> int:
    """Show what the compiler makes of a network: graph, placement and schedule."""
    engine = _engine(platform, config)
    for name in part or ():
        if name not in PARTS:
            raise AlloyError(f"there is no part {name!r}: choose {', '.join(PARTS)}")
    net = Network.load(network)
    graph = lowered(net, engine)
    lines = {"graph": lambda: show_graph(graph), "placement": lambda: show_placement(planned(graph, engine)),
             "schedule": lambda: show_schedule(compile(net, engine))}
    for name in part or PARTS:
        for line in lines[name]():
            print(line)
    return 0


main = group("python -m compiler", "Compile a network file, or show what was made of it.",
             {"compile": compile_program, "disassemble": disassemble_program, "show": show_network})


if __name__ == "__main__":
    sys.exit(main())
