"""The errors as a picture: of every layer, and of the values of the worst one."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from spec.errors import AlloyError
from spec.files import replacing

from .layers import LayerError

__all__ = ["SUFFIXES", "check_picture", "draw"]

SUFFIXES = (".png", ".svg", ".pdf")
DEEP, PALE = "#c2410c", "#4b5563"
MOST = 40               # layers with names on the axis
POINTS = 20_000         # of the scatter


def check_picture(path: str | Path) -> None:
    """Raise :class:`AlloyError` for a kind of file that is no picture's, and ModuleNotFoundError without Matplotlib:
    before the work."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise AlloyError(f"{path} is no picture that can be written: name a file that ends with {', '.join(SUFFIXES)}")
    import_module("matplotlib.figure")


def draw(path: str | Path, title: str, errors: Sequence[LayerError], worst: LayerError,
         values: tuple[np.ndarray, np.ndarray, float, int, int]) -> None:
    """Write a picture: errors of all layers above, values of the ``worst`` one (:func:`alloy.diff.layers.values_of`)
    below."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(13, 9), dpi=110, layout="constrained")
    parts = figure.add_gridspec(2, 4, height_ratios=(1, 1.05))
    _layers(figure.add_subplot(parts[0, :]), errors, worst)
    real, fake, step, zero, top = values
    _map(figure, figure.add_subplot(parts[1, 0]), real, fake, worst)
    _scatter(figure.add_subplot(parts[1, 1]), real, fake, worst)
    _histogram(figure.add_subplot(parts[1, 2]), real[:, worst.channel], fake[:, worst.channel], step, worst)
    _channels(figure.add_subplot(parts[1, 3]), worst)
    low, high = -zero * step, (top - zero) * step
    figure.suptitle(f"{title}: float against fake quantization; below, layer {worst.name} alone quantized: tensor "
                    f"{worst.tensor}, codes 0 to {top} of step {step:.3g}, {low:.3g} to {high:.3g}", fontsize=11)
    with replacing(path) as partial:
        figure.savefig(partial, format=Path(path).suffix[1:].lower())


def _layers(ax: Any, errors: Sequence[LayerError], worst: LayerError) -> None:
    """Bars of the relative errors, own and with all before it."""
    at = np.arange(len(errors))
    for shift, which, color, text in ((-0.2, "whole", PALE, "with all layers before it quantized"),
                                      (0.2, "own", DEEP, "this layer alone quantized")):
        ax.bar(at + shift, [100 * (getattr(one, which).relative or 0) for one in errors], 0.4, color=color, label=text)
    number = [one.name for one in errors].index(worst.name)
    ax.axvspan(number - 0.5, number + 0.5, color=DEEP, alpha=0.1, lw=0)
    few = at[::-(-len(at) // MOST)]
    ax.set_xticks(few, [errors[i].name for i in few], rotation=60 if len(few) > 8 else 0, ha="right" if len(few) > 8
                  else "center", fontsize=8, rotation_mode="anchor" if len(few) > 8 else "default")
    ax.set_xlim(-0.6, len(errors) - 0.4)
    ax.set_ylabel("error, % of the standard deviation", fontsize=9)
    ax.grid(True, axis="y", lw=0.3, alpha=0.5)
    ax.legend(fontsize=8)


def _map(figure: Any, ax: Any, real: np.ndarray, fake: np.ndarray, worst: LayerError) -> None:
    """The error of the worst channel where the map has two dimensions, else of all channels and images."""
    error = fake - real
    if min(error.shape[2:]) > 1:
        shown, names = error[0, worst.channel], ("column", "row")
        what = f"channel {worst.channel} of an image"
    else:
        shown, names, what = error.reshape(len(error), -1).T, ("image", "value"), "all channels"
    most = float(np.abs(shown).max()) or 1.0
    image = ax.imshow(shown, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=ax).ax.tick_params(labelsize=7)
    _named(ax, f"error, {what}", *names)
    _whole(ax.xaxis, ax.yaxis)


def _scatter(ax: Any, real: np.ndarray, fake: np.ndarray, worst: LayerError) -> None:
    """Quantized over float values, the worst channel in colour."""
    one, two = real.flatten(), fake.flatten()
    some = np.random.default_rng(0).permutation(len(one))[:POINTS]
    ax.plot(one[some], two[some], ".", ms=2, color=PALE, alpha=0.4, rasterized=True, label="all channels")
    ax.plot(real[:, worst.channel].flatten()[:POINTS], fake[:, worst.channel].flatten()[:POINTS], ".", ms=3, color=DEEP,
            alpha=0.7, rasterized=True, label=f"channel {worst.channel}")
    ends = [min(one.min(), two.min()), max(one.max(), two.max())]
    ax.plot(ends, ends, lw=0.6, color="black")
    ax.legend(fontsize=7)
    _named(ax, "values", "float", "quantized")


def _histogram(ax: Any, real: np.ndarray, fake: np.ndarray, step: float, worst: LayerError) -> None:
    """Values of the worst channel."""
    bins = np.linspace(min(real.min(), fake.min()) - step, max(real.max(), fake.max()) + step, 60)
    ax.hist(real.flatten(), bins, color=PALE, label="float")
    ax.hist(fake.flatten(), bins, histtype="step", color=DEEP, lw=1.2, label="quantized")
    ax.set_yscale("log")
    ax.legend(fontsize=7)
    _named(ax, f"values of channel {worst.channel}", "value", "count")


def _channels(ax: Any, worst: LayerError) -> None:
    """Errors of the channels, the largest first."""
    ax.plot(100 * np.sort(worst.channels)[::-1], ".-", ms=4, lw=0.8, color=DEEP)
    ax.set_ylim(0)
    ax.grid(True, lw=0.3, alpha=0.5)
    _named(ax, "error of each channel, sorted", "channels", "% of the standard deviation")
    _whole(ax.xaxis)


def _whole(*axes: Any) -> None:
    """Ticks at whole numbers."""
    for axis in axes:
        axis.get_major_locator().set_params(integer=True)


def _named(ax: Any, title: str, x: str, y: str) -> None:
    ax.set_title(title, fontsize=9)
    ax.set_xlabel(x, fontsize=8)
    ax.set_ylabel(y, fontsize=8)
    ax.tick_params(labelsize=7)
