"""The measured rows as a Markdown page."""

from sim.cycle_model import error_text

__all__ = ["markdown", "better"]

HEAD = """# Quantization recipes, measured

Written by `python -m quant.bench`; one row again: `python -m quant.bench --only RECIPE:NETWORK:ptq --again`. `int` is the integer network
on the golden model, `fake` PyTorch's fake quantization on exact integers (equal image by image, checked); `+-` is the standard error of
`int`, `agree` the share of images on which it answers as the float network does. `calib` images calibrate (400: 200 and their mirror
images). `bits` per weight; `shares` of the weights in each number system in per cent: power-of-two (P), fixed point of so many bits (F), code
book (C). `KiB` of packed codes, `coded` the same after Huffman coding (`spec/coding.py`), `bound` the entropy of the codes. Cycles and frames
per second (one image in flight, batch 1) are those of the cycle model, which is an estimate: {error}.
Each row is measured with the code of its date.
"""


def _cell(value):
    return f"{value:,}" if isinstance(value, (int, float)) else "does not compile" if value else "-"


def _shares(shares):
    names = {"POT4": "P4", "CODEBOOK": "C"}
    return " ".join(f"{names.get(name, name.replace('FIXED', 'F'))} {100 * share:.0f}" for name, share in shares.items())


def better(rows, recipe, board):
    """Names of the rows that have both a higher accuracy than ``recipe``, beyond one standard error, and fewer cycles on ``board``."""
    own = [row for row in rows if row["recipe"] == recipe and not isinstance(row["cycles"][board], str)]
    return [row["recipe"] for row in rows for mine in own if row["mode"] == mine["mode"] and not isinstance(row["cycles"][board], str)
            and row["int_top1"] > mine["int_top1"] + mine["stderr"] and row["cycles"][board] < mine["cycles"][board]]


def _dominance(rows):
    lines = []
    for recipe in dict.fromkeys(row["recipe"] for row in rows if row["recipe"].startswith("alloy")):
        found = {board: better(rows, recipe, board) for board in rows[0]["board"]}
        lines.append(f"Both more accurate than `{recipe}` (beyond one standard error) and faster: "
                     + "; ".join(f"on {board} {', '.join(names) or 'none'}" for board, names in found.items()) + ".\n")
    return lines


def markdown(rows):
    """The page for a list of rows."""
    lines = [HEAD.format(error=error_text())]
    for network in dict.fromkeys(row["network"] for row in rows):
        part = [row for row in rows if row["network"] == network]
        lines += [f"\n## {network}, {part[0]['data']}, {part[0]['images']:,} images, float {part[0]['float_top1']:.2f} %\n",
                  "| recipe | mode | calib | int | fake | +- | agree | bits | shares | KiB | coded | bound | A "
                  "| zcu102 cycles | FPS | pynq-z2 cycles | FPS | what | date |",
                  "|" + "---|" * 19]
        for row in part:
            boards = [_cell(row[key][name]) for name in row["board"] for key in ("cycles", "fps")]
            lines.append("| " + " | ".join([
                row["recipe"], row["mode"], str(row["calibration"]),
                *(f"{row[key]:.2f}" for key in ("int_top1", "fake_top1", "stderr")), f"{row['agree']:.1f}", f"{row['bits_per_weight']:.2f}",
                _shares(row["shares"]),
                *(f"{row[key + '_bytes'] / 1024:,.0f}" for key in ("weight", "compressed", "entropy")),
                str(row["act_bits"]), *boards, row["note"], row["date"]]) + " |")
        lines += ["", *_dominance(part)]
    return "\n".join(lines) + "\n"
