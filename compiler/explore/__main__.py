"""``python -m compiler.explore``: the engines of a board that are best for some networks."""

from dataclasses import replace
import sys
from typing import Annotated

from typer import Option

import boards
from sim.bench.networks import NETWORKS
from spec.entry import Outcome, entry
from spec.errors import AlloyError
from spec.files import check_outputs, write_text
from spec.progress import say

from .propose import source
from .search import Found, pareto, search
from .space import engines, fits, stops

__all__ = ["main"]

SECONDS = 75
SHOWN = 16
FIELDS = ("ic", "pixels", "dsp_filters", "lut_filters", "out_pixels", "row_taps", "act_depth", "weight_depth")
USED = ("lut", "ff", "dsp", "bram36")
SAME = 0.01         # of the rate: as fast


def _line(one: Found, own: Found | None) -> str:
    values = "".join(f"{getattr(one.config, name):>9}" for name in FIELDS)
    share = one.config.lut_filters / one.config.slots
    rates = "".join(f"{rate:>14,.1f}" for rate in one.fps.values())
    used = "".join(f"{one.shares[name]:>8.0%}" for name in USED)
    return f"{values}{share:>8.0%}{rates}{used}{'  the default' if own is one else ''}"


def _table(found: list[Found], own: Found | None) -> None:
    short = {"dsp_filters": "DSP", "lut_filters": "LUT", "out_pixels": "out", "row_taps": "row",
             "act_depth": "act", "weight_depth": "weights"}
    print("".join(f"{short.get(name, name):>9}" for name in FIELDS) + f"{'PoT':>8}"
          + "".join(f"{name:>14}" for name in found[0].fps) + "".join(f"{name:>8}" for name in USED))
    for one in found:
        print(_line(one, own))


def _binding(one: Found) -> list[str]:
    """What holds an engine back: the resource nearest to its limit, and where the cycles go."""
    name = max(one.shares, key=lambda each: one.shares[each])
    lines = [f"binding: {name}, {one.shares[name]:.0%} of what may be used"]
    for network, losses in one.losses.items():
        lost = sorted(((cycles, cause) for cause, cycles in losses.items() if cause != "macs"), reverse=True)
        total = sum(losses.values())
        lines.append(f"{network}: multiplications {losses['macs'] / total:.0%} of the cycles, "
                     + ", ".join(f"{cause} {cycles / total:.0%}" for cycles, cause in lost[:3]))
    return lines


def _as_json(one: Found) -> dict:
    return {"config": one.config.to_dict(), "fps": one.fps, "shares": one.shares}


def _board(platform, part, clock, dram, out):
    """The board that is meant; its options are checked."""
    if (platform is None) == (part is None):
        raise AlloyError("a board is needed: give --platform or --part, one of them")
    if part is None:
        for name, value in (("--clock", clock), ("--dram", dram), ("--out", out)):
            if value is not None:
                raise AlloyError(f"{name} {value} is of a part: give --part")
        return boards.get(platform)
    if out is not None:
        check_outputs(out)
        if not out.endswith(".py"):
            raise AlloyError(f"{out} is no file of Python: give --out a name that ends with .py")
    return boards.of_part(part, clock, dram)


def _propose(board, out):
    """Say which engine is proposed, and write a board that has it."""
    print(f"proposed for {board.part}, {board.clock_mhz} MHz, {board.dram_gbs:g} GB/s of DRAM:")
    for name, value in board.config.facts():
        print(f"  {name}: {value}")
    if out is not None:
        write_text(out, source(board))
        print(f"written to {out}")


@entry("python -m compiler.explore", "--platform zcu102 --network resnet18")
def main(
    network: Annotated[list[str], Option(help=f"one of {', '.join(NETWORKS)}; can be given several times: the "
                                              "geometric mean of the rates counts")],
    platform: Annotated[str | None, Option(help=f"one of {boards.CHOICES}")] = None,
    part: Annotated[str | None, Option(help="instead of it a part of AMD, such as xc7a100t")] = None,
    clock: Annotated[int | None, Option(min=1, help="of the part, MHz (default: as on other boards)")] = None,
    dram: Annotated[float | None, Option(min=0.1, help="GB/s of the part's memory (default: as on other boards)")
                    ] = None,
    seconds: Annotated[int, Option(min=1, help="when the last engine begins to be measured")] = SECONDS,
    out: Annotated[str | None, Option(help="with --part, file (.py) of a board with the fastest engine to write")
                   ] = None,
) -> Outcome:
    """Search the engines that fit a board or a part for the one that runs some networks fastest.

    Every legal configuration by a bound, the most promising by the cycle model, with the resources of the resource
    model; prints those that no other beats, what binds the fastest, and whether it is the board's default.
    """
    board = _board(platform, part, clock, dram, out)
    for name in network:
        if name not in NETWORKS:
            raise AlloyError(f"there is no network {name!r} to explore: choose {', '.join(NETWORKS)}")
    own, found, looked = search(board, list(dict.fromkeys(network)), engines(board), seconds, say, compare=part is None)
    front = pareto(found)
    legal = [one for one in front if fits(one.config, board)]
    winner = legal[0] if legal else own
    print(f"{looked} engines that fit {board.name}, {len(found)} of them by the cycle model; resources as shares of "
          "what may be used:")
    _table(front[:SHOWN] + [own] * (own not in front[:SHOWN]), own if part is None else None)
    for line in (*_binding(winner), *stops(winner.config, board)):
        print(line)
    result = {"platform": board.name, "looked": looked, "measured": len(found), "pareto": [*map(_as_json, front)],
              "winner": _as_json(winner)}
    if part is not None:
        _propose(replace(board, config=replace(winner.config, name=board.name)), out)
        return 0, {**result, "file": out}
    gain = winner.rate / own.rate - 1
    if winner is own or gain <= SAME:
        print(f"the default of {board.name} is the winner" + ("" if winner is own else
                                                              f", within {SAME:.0%} of the fastest"))
    else:
        print(f"the fastest is {gain:.1%} faster than the default of {board.name}")
    return 0, {**result, "default": _as_json(own), "default_wins": gain <= SAME}


if __name__ == "__main__":
    sys.exit(main())
