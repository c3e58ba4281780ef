"""Draws ``engine.png``, the block diagram of the README (needs matplotlib): ``python docs/img/engine.py``."""

from itertools import pairwise
from pathlib import Path

from matplotlib import pyplot as plt

BLUE, GREEN, ORANGE, GREY = "#cfe2f3", "#d9ead3", "#fce5cd", "#eeeeee"


def box(ax, x, y, w, h, text, color):
    ax.add_patch(plt.Rectangle((x, y), w, h, facecolor=color, edgecolor="black", lw=1))
    ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=9)


def arrow(ax, *points):
    for a, b in pairwise(points[:-1]):
        ax.plot([a[0], b[0]], [a[1], b[1]], color="black", lw=1)
    ax.annotate("", xy=points[-1], xytext=points[-2],
                arrowprops={"arrowstyle": "->", "lw": 1, "shrinkA": 0, "shrinkB": 0})


def main():
    fig, ax = plt.subplots(figsize=(10.5, 5.2))
    ax.set_xlim(0, 21)
    ax.set_ylim(0, 10.4)
    ax.axis("off")
    box(ax, 0.2, 4.4, 2.2, 3.4, "DRAM\n\nweights\ncommands\ntensors", GREY)
    box(ax, 3.4, 8.6, 3.2, 1.2, "AXI4-Lite\nregisters, IRQ", BLUE)
    box(ax, 3.4, 6.6, 3.2, 1.2, "fetch, check, 3 queues\nand semaphores", BLUE)
    box(ax, 3.4, 4.4, 3.2, 1.4, "load unit\nAXI4 read ports", BLUE)
    box(ax, 3.4, 0.6, 3.2, 1.4, "store unit\nAXI4 write port 0", BLUE)
    box(ax, 8.0, 8.0, 6.6, 0.9, "weight buffer, one memory per column", ORANGE)
    for row in range(3):
        for col in range(3):
            box(ax, 9.4 + 1.1 * col, 6.6 - 1.0 * row, 0.9, 0.8, "DSP", GREEN)
        for col in range(2):
            box(ax, 12.7 + 1.0 * col, 6.6 - 1.0 * row, 0.85, 0.8, "LUT", ORANGE)
    ax.text(12.6, 4.15, "rows: pixel pairs   columns: DSP pairs of filters, LUT filters", ha="center", fontsize=8)
    box(ax, 7.6, 4.5, 1.3, 2.9, "feeder\ntaps\npad\nrotate", BLUE)
    box(ax, 15.4, 5.6, 1.6, 1.8, "rows\nFIFO", GREY)
    box(ax, 17.7, 5.2, 2.9, 2.6, "post unit\njoin digits\nrequantize\nresidual, clip", BLUE)
    box(ax, 17.7, 2.6, 2.9, 1.4, "max-pool unit\n(and copies)", BLUE)
    box(ax, 8.0, 0.6, 4.2, 2.2, "activation memory A\none bank per pixel lane", ORANGE)
    box(ax, 12.6, 0.6, 4.2, 2.2, "activation memory B\none bank per pixel lane", ORANGE)
    arrow(ax, (2.4, 5.1), (3.4, 5.1))
    arrow(ax, (2.4, 7.2), (3.4, 7.2))
    arrow(ax, (3.4, 1.3), (1.3, 1.3), (1.3, 4.4))
    arrow(ax, (5.0, 8.6), (5.0, 7.8))
    arrow(ax, (5.0, 6.6), (5.0, 5.8))
    arrow(ax, (6.6, 5.3), (7.2, 5.3), (7.2, 8.45), (8.0, 8.45))
    arrow(ax, (6.6, 4.7), (7.2, 4.7), (7.2, 2.2), (8.0, 2.2))
    arrow(ax, (8.0, 1.2), (6.6, 1.2))
    arrow(ax, (8.25, 2.8), (8.25, 4.5))
    arrow(ax, (8.9, 6.0), (9.4, 6.0))
    arrow(ax, (11.5, 8.0), (11.5, 7.4))
    arrow(ax, (14.55, 6.5), (15.4, 6.5))
    arrow(ax, (17.0, 6.5), (17.7, 6.5))
    arrow(ax, (20.9, 6.5), (20.9, 1.2), (16.8, 1.2))
    ax.plot([20.6, 20.9], [6.5, 6.5], color="black", lw=1)
    ax.plot([20.6, 20.9], [3.3, 3.3], color="black", lw=1)
    arrow(ax, (16.8, 2.2), (17.25, 2.2), (17.25, 3.3), (17.7, 3.3))
    arrow(ax, (17.25, 3.3), (17.25, 5.6), (17.7, 5.6))
    fig.savefig(Path(__file__).with_name("engine.png"), dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
