"""The words of ``alloy`` and the programs behind them, each imported only when it is asked for."""

from importlib import import_module
import os

import typer
from typer.core import TyperGroup

from spec.entry import invoke
from spec.errors import command_line, importing

__all__ = ["PROGRAMS", "main"]

COMPLETE = "_ALLOY_COMPLETE"        # the shell's own variable, see alloy --install-completion
# Word -> (module, program in it, what it does: the first sentence of the program's own help).
PROGRAMS = {
    "quantize": ("quant.__main__", "main",
                 "Quantize a trained model, or the shipped example, to an integer network file."),
    "check": ("alloy.check.__main__", "main",
              "Say whether a model can run on a board, and everything that keeps it from that."),
    "flow": ("alloy.flow.__main__", "main",
             "Take a trained model and pictures to a simulated engine: check, quantize, compile, build, run, report."),
    "diff": ("alloy.diff.__main__", "main",
             "Say where float network, fake quantization, integer network and RTL part: layer by layer, bit by bit."),
    "doctor": ("alloy.doctor", "main",
               "Say which tools are on this machine, what each unlocks, and how to get the others."),
    "compile": ("compiler.__main__", "compile_program", "Compile a network for a configuration to a program file."),
    "disassemble": ("compiler.__main__", "disassemble_program", "List the commands of a program file."),
    "show": ("compiler.__main__", "show_network",
             "Show what the compiler makes of a network: graph, placement and schedule."),
    "build": ("rtl.build", "main", "Write the engine's Verilog with everything a user needs around it."),
    "run": ("sim.run", "main", "Run a network, or one layer, on the Verilated engine of a board."),
    "bench": ("quant.bench.__main__", "main", "Measure recipes on networks."),
    "speed": ("sim.bench.__main__", "main",
              "Make rows of the table of speeds: networks on boards, by the cycle model and by the Verilated engine."),
    "torture": ("sim.torture.__main__", "main",
                "Do to a small Verilated engine whatever can go wrong, and see that it stops with a code and runs on."),
    "soc": ("examples.soc.__main__", "main",
            "Let a RISC-V processor classify images on the engine beside it, in one simulation."),
    "explore": ("compiler.explore.__main__", "main",
                "Search the engines that fit a board or a part for the one that runs some networks fastest."),
    "study": ("rtl.study", "main", "Compare alternatives of single blocks by synthesis, on both families."),
    "clock": ("alloy.clock", "main",
              "The longest paths of engines from register to register, and how fast one is after place and route."),
    "samples": ("rtl.samples", "main",
                "Synthesize engines and arrays, and keep what each block takes, for the resource model."),
    "regmap": ("rtl.regmap", "main", "Write the register and command pages, or the C header and JSON."),
    "train": ("examples.fashion_mnist.train", "main", "Train the float network of the example."),
}


class _Lazy(TyperGroup):
    """A group that knows the names of its commands before their modules, of which some take seconds to import."""

    def resolve_command(self, ctx, args):
        """The command of a word, imported now."""
        word, rest = args[0], args[1:]
        super().resolve_command(ctx, args)      # refuses what it does not know
        module, name, _ = PROGRAMS[word]
        with importing():
            found = getattr(import_module(module), name)
        return word, found.command_of(f"{ctx.info_name} {word}"), rest


def _command():
    app = typer.Typer(cls=_Lazy, pretty_exceptions_enable=False,
                      epilog="Example: alloy run --help",
                      help="Alloy: FPGA accelerators for quantized CNNs, from a trained network to a simulated engine.")
    for word, (_, _, text) in PROGRAMS.items():
        app.command(word, help=text)(lambda: None)
    return typer.main.get_command(app)


@command_line
def main(arguments: list[str] | None = None) -> int:
    """The console command; returns the exit status."""
    if COMPLETE in os.environ:      # the shell asks what may come next
        return _command().main(prog_name="alloy", standalone_mode=False) or 0
    return invoke(_command(), "alloy", arguments)
