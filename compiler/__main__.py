"""``python -m compiler``: compile a network file, or show the commands of a program."""

import argparse
import sys

from spec.config import EngineConfig
from spec.errors import command_line
from spec.files import check_outputs
from spec.network import Network
from spec.program import Program

from .build import compile
from .disassemble import disassemble


@command_line
def main(arguments=None):
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m compiler", description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True)
    build = modes.add_parser("compile", help="network and configuration to a program file")
    build.add_argument("--network", required=True, help="integer network (.npz)")
    build.add_argument("--config", required=True, help="engine configuration (.json)")
    build.add_argument("--out", required=True, help="program file to write")
    build.add_argument("--keep-all", action="store_true", help="also write every layer's output to DRAM")
    show = modes.add_parser("disassemble", help="list the commands of a program file")
    show.add_argument("program")
    args = parser.parse_args(arguments)
    if args.mode == "disassemble":
        for line in disassemble(Program.load(args.program)):
            print(line)
    else:
        check_outputs(args.out, inputs=(args.network, args.config))
        program = compile(Network.load(args.network), EngineConfig.load(args.config),
                          keep="all" if args.keep_all else (),
                          warn=lambda text: print(text, file=sys.stderr))
        program.save(args.out)
        print(f"{args.out}: {program.command_count} commands, {len(program.image)} bytes of image, "
              f"{program.window_size} bytes of DRAM")
    return 0


if __name__ == "__main__":
    sys.exit(main())
