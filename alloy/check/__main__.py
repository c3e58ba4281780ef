"""``alloy check``: the program."""

from collections.abc import Iterator
from contextlib import contextmanager
import gc
import sys
import time
from typing import Annotated

from typer import Argument, Option

import boards
from quant.recipes import VARIANTS, variant
from spec.config import EngineConfig
from spec.entry import Outcome, entry
from spec.errors import AlloyError

from . import Request, load, look
from .words import lines

__all__ = ["main"]


@entry("python -m alloy.check", "quant.bench.models:MobileNetV2 --platform zcu102 --size 224")
def main(
    model: Annotated[str, Argument(help="MODULE:NAME, called without arguments, or a file: .pt2, .onnx, .tflite, "
                                   ".npz")],
    platform: Annotated[str | None, Option(help=f"one of {boards.CHOICES}")] = None,
    config: Annotated[str | None, Option(help="engine configuration (.json) instead of the platform's own")] = None,
    size: Annotated[str | None, Option(help="of the images, HxW or one number")] = None,
    shape: Annotated[str | None, Option(metavar="C,H,W", help="shape of the images instead of their size")] = None,
    weights: Annotated[str | None, Option(help="state_dict of the model: .pt, .pth or .safetensors")] = None,
    recipe: Annotated[str, Option(help=f"one of {', '.join(VARIANTS)}")] = "alloy",
    images: Annotated[int | None, Option(min=1, help="number of images that will calibrate it")] = None,
) -> Outcome:
    """Say whether a model can run on a board, and everything that keeps it from that.

    Lists every layer that is not supported, whether weights and tensors fit, estimated frames per second, and what may
    cost accuracy. Exit status 1 if something cannot run.
    """
    if platform is None and config is None:
        raise AlloyError(f"an engine is needed: give --platform, one of {boards.CHOICES}, or --config")
    board = None if platform is None else boards.get(platform)
    engine = EngineConfig.load(config) if config else board.config if board else None
    assert engine is not None
    chosen, began = variant(recipe), time.monotonic()
    with _uncollected():
        loaded, found = load(model, weights, size, shape)
        report = look(Request(model, loaded.model, found, board, engine, recipe, chosen, images, began, loaded.refused,
                              loaded.findings))
    print(*lines(report), sep="\n")
    return 0 if report.accepted else 1, report.form()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for garbage: the imports and traces of libraries leave little, and looking takes half a
    second."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
