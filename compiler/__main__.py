"""``python -m compiler``: compile a network file, or show the commands of a program."""

import sys
from typing import Annotated

from typer import Argument, Option

from spec.config import EngineConfig
from spec.entry import entry, group
from spec.files import check_outputs
from spec.network import Network
from spec.program import Program

from .build import compile
from .disassemble import disassemble


@entry("python -m compiler compile", "--network network.npz --config config.json --out program.alloy")
def compile_program(
    network: Annotated[str, Option(help="integer network (.npz)")],
    config: Annotated[str, Option(help="engine configuration (.json)")],
    out: Annotated[str, Option(help="program file to write")],
    keep_all: Annotated[bool, Option("--keep-all", help="also write every layer's output to DRAM")] = False,
) -> int:
    """Compile a network for a configuration to a program file."""
    check_outputs(out, inputs=(network, config))
    found = compile(Network.load(network), EngineConfig.load(config), keep="all" if keep_all else (),
                    warn=lambda text: print(text, file=sys.stderr))
    found.save(out)
    print(f"{out}: {found.command_count} commands, {len(found.image)} bytes of image, "
          f"{found.window_size} bytes of DRAM")
    return 0


@entry("python -m compiler disassemble", "program.alloy")
def disassemble_program(file: Annotated[str, Argument(metavar="PROGRAM", help="program file")]) -> int:
    """List the commands of a program file."""
    for line in disassemble(Program.load(file)):
        print(line)
    return 0


main = group("python -m compiler", "Compile a network file, or show the commands of a program.",
             {"compile": compile_program, "disassemble": disassemble_program})


if __name__ == "__main__":
    sys.exit(main())
