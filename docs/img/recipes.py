"""Draws ``recipes.png`` from ``docs/results/quant.json`` (needs matplotlib and adjustText): ``python
docs/img/recipes.py``."""

import json
from pathlib import Path

from adjustText import adjust_text
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
NETWORKS = {"resnet20": "ResNet-20, CIFAR-10 (JPEG)", "resnet18": "ResNet-18, 800 photographs",
            "mobilenetv2": "MobileNet-V2, 800 photographs",
            "resnet50": "ResNet-50, 800 photographs"}
BOARD, OURS, OTHERS = "zcu102", "#c2410c", "#4b5563"
WINDOW = 22     # points of agreement shown; rows below are left out and said so


def error(row):
    """Standard error of the agreement, in points."""
    share = row["agree"] / 100
    return 100 * (share * (1 - share) / row["images"]) ** 0.5


def panel(ax, rows, title):
    rows = [row for row in rows if isinstance(row["cycles"][BOARD], int)]
    shown = [row for row in rows if row["agree"] > 100 - WINDOW]
    for row in shown:
        ours = row["recipe"].startswith("alloy")
        color = OURS if ours else OTHERS
        ax.errorbar(row["cycles"][BOARD], row["agree"], yerr=error(row), fmt="o", ms=6 if ours else 4, color=color,
                    lw=0.7,
                    ecolor=color + "40", zorder=3 if ours else 2)
    texts = [ax.text(row["cycles"][BOARD], row["agree"], row["recipe"], fontsize=8, zorder=4,
                     color=OURS if ours else OTHERS,
                     weight="bold" if ours else "normal")
             for row in shown for ours in [row["recipe"].startswith("alloy")]]
    adjust_text(texts, ax=ax, expand=(1.15, 1.35), arrowprops={"arrowstyle": "-", "color": OTHERS, "lw": 0.4})
    left = f", {len(rows) - len(shown)} below" if len(shown) < len(rows) else ""
    ax.set_title(title + left, fontsize=10)


def main():
    every = [row for row in json.loads((HERE.parent / "results" / "quant.json").read_text()) if row["mode"] == "ptq"]
    fig, axes = plt.subplots(2, 2, figsize=(12.5, 9), dpi=110)
    for ax, (network, title) in zip(axes.flat, NETWORKS.items(), strict=True):
        rows = [row for row in every if row["network"] == network]
        cycles = [row["cycles"][BOARD] for row in rows if isinstance(row["cycles"][BOARD], int)]
        low = min(row["agree"] - error(row) for row in rows)
        ax.set_xlim(0, max(cycles) * 1.2)
        span = 100 - max(low, 100 - WINDOW)
        ax.set_ylim(100 - 1.06 * span, 100 + 0.1 * span)
        ax.xaxis.set_major_formatter(plt.FuncFormatter(lambda v, _: f"{v / 1000:,.0f}k"))
        ax.tick_params(labelsize=8)
        ax.grid(True, lw=0.3, alpha=0.5)
        ax.set_xlabel(f"cycles of an image on {BOARD} (cycle model)", fontsize=8)
        ax.set_ylabel("images with the float network's answer, %", fontsize=8)
        panel(ax, rows, title)
    fig.suptitle("Recipes after calibration, without training; bars: standard error of a row alone "
                 "(pairs: docs/results/quant.md)", fontsize=11)
    fig.tight_layout()
    fig.savefig(HERE / "recipes.png")


if __name__ == "__main__":
    main()
