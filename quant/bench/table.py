"""The measured rows as a Markdown page."""

from sim.cycle_model import error_text

from .paired import LEVEL, compare, holm, unpack

__all__ = ["markdown", "better"]

HEAD = """# Quantization recipes, measured

Written by `python -m quant.bench`; one row again: `python -m quant.bench --only RECIPE:NETWORK:ptq --again`. Rows of
a network are in the order of `agree`, the share of images on which the integer network answers as the float network
does, and `KL`, the divergence of its answers from the float network's (nats, mean and standard error). Both say what
quantization changed; `int`, its accuracy (`+-`: standard error), also depends on which images happen to be labelled
so that a changed answer is right. `fake`, PyTorch's fake quantization on exact integers, has equal codes (checked
image by image). `calib` images calibrate (400: 200 and their mirror images). `bits` per weight; `shares` of the
weights in each number system in per cent: power-of-two (P), fixed point of so many bits (F), code book (C). `KiB` of
packed codes, `coded` the same after Huffman coding (`spec/coding.py`), `bound` the entropy of the codes. Cycles and
frames per second (one image in flight, batch 1) are those of the cycle model, which is an estimate: {error}. Each row
is measured with the code of `date`, and its cycles are those of the engines and the compiler of `counted`
(`python -m quant.bench --cycles`: of a trained row with the number systems that its training began with).

Below each table every recipe is compared with `alloy` on the same images, one by one: the difference of the shares,
its paired standard error, and the p of McNemar's exact test, with Holm's correction for the number of comparisons of
that network. What is not below 0.05 may be chance and is no result. Rows whose answers were not kept (measured before
2026-11-28) are not compared.
"""


def _cell(value):
    return f"{value:,}" if isinstance(value, (int, float)) else "does not compile" if value else "-"


def _shares(shares):
    names = {"POT4": "P4", "CODEBOOK": "C"}
    short = {names.get(name, name.replace("FIXED", "F")): share for name, share in shares.items()}
    return " ".join(f"{name} {100 * share:.0f}" for name, share in short.items())


def _compared(rows, flags):
    """{id of a row: (comparison with alloy of its mode, corrected p)} of ``flags``, "agreed" or "right", for the rows
    that kept them."""
    own = {row["mode"]: row for row in rows if row["recipe"] == "alloy" and flags in row}
    others = [row for row in rows if flags in row and row["mode"] in own and row is not own[row["mode"]]]

    def flagged(row):
        return unpack(row[flags], row["images"])
    found = [compare(flagged(row), flagged(own[row["mode"]])) for row in others]
    return {id(row): (one, p) for row, one, p in zip(others, found, holm([one.p for one in found]), strict=True)}


def better(rows: list[dict], board: str) -> list[str]:
    """Rows that agree with the float network more often than ``alloy`` of the same mode does, beyond chance, with fewer
    cycles on ``board``."""
    own = {row["mode"]: row for row in rows if row["recipe"] == "alloy"}
    names, compared = [], _compared(rows, "agreed")
    for row in (row for row in rows if id(row) in compared):
        change, p = compared[id(row)]
        cycles, others = (one["cycles"][board] for one in (row, own[row["mode"]]))
        fit = not isinstance(cycles, str) and not isinstance(others, str)
        if change.difference > 0 and p < LEVEL and fit and cycles < others:
            names.append(row["recipe"])
    return names


def _verdicts(rows):
    """The comparisons of a network's rows with ``alloy`` as lines of Markdown."""
    agreed, right = _compared(rows, "agreed"), _compared(rows, "right")
    if not agreed:
        return ["No row is compared with `alloy`: their answers were not kept.\n"]
    board = rows[0]["board"][0]
    own = {row["mode"]: row for row in rows if row["recipe"] == "alloy"}
    lines = [f"| against `alloy` | mode | agree, points | p | int, points | p | cycles, {board} |", "|" + "---|" * 7]
    for row in rows:
        if id(row) not in agreed:
            continue
        cells = [f"{one.difference:+.1f} +- {one.error:.1f} | {p:.2g}{' *' if p < LEVEL else ''}"
                 for one, p in (agreed[id(row)], right[id(row)])]
        cycles = [r["cycles"][board] for r in (row, own[row["mode"]])]
        ratio = "-" if any(isinstance(c, str) for c in cycles) else f"{cycles[0] / cycles[1]:.2f} x"
        lines.append(f"| {row['recipe']} | {row['mode']} | {' | '.join(cells)} | {ratio} |")
    names = {board: ", ".join(better(rows, board)) or "none" for board in rows[0]["board"]}
    lines += ["", "Faster than `alloy` and more often of one answer with the float network, beyond chance: "
              + "; ".join(f"on {board} {found}" for board, found in names.items()) + ".\n"]
    return lines


def markdown(rows: list[dict]) -> str:
    """The page for a list of rows."""
    lines = [HEAD.format(error=error_text())]
    for network in dict.fromkeys(row["network"] for row in rows):
        part = sorted((row for row in rows if row["network"] == network),
                      key=lambda row: (-row["agree"], row.get("divergence", 0.0)))
        first = part[0]
        lines += [f"\n## {network}, {first['data']}, {first['images']:,} images, float {first['float_top1']:.2f} %\n",
                  "| recipe | mode | calib | agree | KL | int | fake | +- | bits | shares | KiB | coded | bound | A "
                  "| zcu102 cycles | FPS | pynq-z2 cycles | FPS | what | date | counted |",
                  "|" + "---|" * 21]
        for row in part:
            boards = [_cell(row[key][name]) for name in row["board"] for key in ("cycles", "fps")]
            lines.append("| " + " | ".join([
                row["recipe"], row["mode"], str(row["calibration"]), f"{row['agree']:.1f}",
                f"{row['divergence']:.4f} +- {row['divergence_error']:.4f}" if "divergence" in row else "-",
                *(f"{row[key]:.2f}" for key in ("int_top1", "fake_top1", "stderr")), f"{row['bits_per_weight']:.2f}",
                _shares(row["shares"]),
                *(f"{row[key + '_bytes'] / 1024:,.0f}" for key in ("weight", "compressed", "entropy")),
                str(row["act_bits"]), *boards, row["note"], row["date"], row.get("counted", row["date"])]) + " |")
        lines += ["", *_verdicts(part)]
    return "\n".join(lines) + "\n"
