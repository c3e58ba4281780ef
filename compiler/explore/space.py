"""The engines that fit a board, by the resource model."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from boards import Board
from boards.board import LIMITS
from boards.resources import multipliers, rams, resources
from spec.config import EngineConfig, leaves
from spec.errors import AlloyError
from spec.rows import ROW_TAPS, enough

__all__ = ["CHOICES", "engines", "fits", "shares", "stops"]

CHOICES = {"ic": (16, 32, 64), "pixels": (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32), "out_pixels": (1, 2, 4, 8),
           "weight_depth": (256, 512, 1024)}
DEPTHS = tuple(sorted((1 << n) * k // 2 for n in range(6, 14) for k in (2, 3)))       # of the activation memories
SHARES = (1.0, 0.75, 0.5, 0.25)     # of the multipliers that are used
FEWER = 3           # LUT filters less than fill the LUTs
NEXT = 2            # sizes of activation memories


def shares(config: EngineConfig, board: Board) -> dict[str, float]:
    """Share of the board's limit of each resource that an engine takes: above 1 it does not fit."""
    used = resources(config, board.family)
    return {name: used[name] / (LIMITS[name] * board.budget[name]) if board.budget[name] else float(used[name] > 0) * 2
            for name in LIMITS}


def fits(config: EngineConfig, board: Board) -> bool:
    """Whether an engine fits a board."""
    return max(shares(config, board).values()) <= 1


def engines(board: Board) -> Iterator[tuple[EngineConfig, dict[str, float]]]:
    """Engines that fit, with their shares: each with DSP filters for some share of the multipliers, and as many LUT
    filters as the LUTs hold, or a few less, or none; with taps in a row or without; with the largest activation
    memories, and the next smaller ones."""
    ram = "ultra" if board.budget["uram"] else "block"
    for ic in CHOICES["ic"]:
        for pixels in CHOICES["pixels"]:
            for out in CHOICES["out_pixels"]:
                if leaves(out, pixels):
                    base = replace(board.config, name="explored", ic=ic, pixels=pixels, out_pixels=out, act_ram=ram,
                                   row_taps=1, act_depth=DEPTHS[0], weight_depth=CHOICES["weight_depth"][0],
                                   decode_lanes=0)
                    yield from _filled(board, base)


def _filled(board, base):
    """Engines with filters and memories."""
    most = int(LIMITS["dsp"] * board.budget["dsp"])
    full = min(128, most // multipliers(replace(base, dsp_filters=2, lut_filters=0)) * 2)
    for dsp in sorted({int(full * share) // 2 * 2 for share in SHARES} | {full - 2} - {-2}):
        for row_taps in 1, ROW_TAPS:
            for lut in _lut_filters(board, base, dsp, row_taps):
                filled = replace(base, dsp_filters=dsp, lut_filters=lut, row_taps=row_taps)
                if multipliers(filled) <= most:
                    for depth in CHOICES["weight_depth"]:
                        yield from _deep(board, replace(filled, weight_depth=depth))


def _lut_filters(board, base, dsp, row_taps):
    """Numbers of LUT filters to try beside ``dsp`` DSP filters: LUTs are almost linear in them."""
    def share(lut):
        return shares(replace(base, dsp_filters=dsp, lut_filters=lut, row_taps=row_taps), board)["lut"]
    least, limit = (0 if dsp else 1), (128 if row_taps == 1 else min(128, base.ic - dsp))
    some = min(16, limit)
    if some <= least or not enough(row_taps, base.ic, dsp, limit):
        return []
    low, high = share(least), share(some)
    most = min(limit, least + int((1 - low) / (high - low) * (some - least))) if low <= 1 else -1
    while most >= least and share(most) > 1:
        most -= 1
    return sorted({max(most - fewer, least) for fewer in (*range(FEWER), most // 2, most)}) if most >= least else []


def _deep(board, config):
    """Engines with the largest activation memories that fit, and the next smaller ones."""
    limits = {name: LIMITS[name] * board.budget[name] for name in ("bram36", "uram")}
    found = 0
    for depth in reversed(DEPTHS):
        deep = replace(config, act_depth=depth)
        if all(used <= limits[name] for name, used in rams(deep, board.family).items()):
            share = shares(deep, board)
            if max(share.values()) <= 1:
                yield deep, share
                found += 1
        if found == NEXT:
            break


def _larger(config, values):
    """An engine with these values, without taps in a row if they leave no room for them."""
    found = replace(config, row_taps=1, **values)
    possible = enough(config.row_taps, found.ic, found.dsp_filters, found.lut_filters)
    return replace(found, row_taps=config.row_taps) if possible else found


def stops(config: EngineConfig, board: Board) -> list[str]:
    """What stands in the way of each larger engine, as sentences."""
    larger: dict[str, dict[str, Any]] = {
        "two more DSP filters": {"dsp_filters": config.dsp_filters + 2},
        "one more LUT filter": {"lut_filters": config.lut_filters + 1},
        "two more pixels": {"pixels": config.pixels + 2},
        "activation memories of twice the size": {"act_depth": 2 * config.act_depth},
        "a weight buffer of twice the size": {"weight_depth": 2 * config.weight_depth},
        "twice the pixels behind the array": {"out_pixels": 2 * config.out_pixels}}
    lines = []
    for what, values in larger.items():
        try:
            found = shares(_larger(config, values), board)
        except AlloyError as error:
            lines.append(f"{what}: {error}")
            continue
        over = {name: share for name, share in found.items() if share > 1}
        if over:
            name = max(over, key=lambda one: over[one])
            lines.append(f"{what}: {found[name]:.0%} of the {name} that may be used")
        else:
            lines.append(f"{what}: fits")
    return lines
