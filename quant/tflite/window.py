"""How the kernel of an operator moves over a map."""

from dataclasses import replace
from math import prod

from spec.operators.windows import Window, pair

from ..grids.draft import LARGEST
from . import arrange
from .step import Step

__all__ = ["NOTHING", "window_of"]

NOTHING = arrange.Border()


def window_of(step: Step, size: tuple[int, int], kernel: tuple[int, int], border: arrange.Border = NOTHING) -> Window:
    """The window of an operator over a map of ``size``, around which ``border`` is put first."""
    stride = int(step.option("strideH", 1)), int(step.option("strideW", 1))
    dilation = int(step.option("dilationHFactor", 1)), int(step.option("dilationWFactor", 1))
    if min(*stride, *dilation, *kernel) < 1:
        step.refuse(f"has kernel {kernel}, stride {stride} and dilation {dilation}: they are 1 or more")
    window = Window(pair(kernel), stride, border.before, border.behind, dilation)
    if not int(step.option("padding", 1)):      # SAME
        full = [length + a + b for length, a, b in zip(size, border.before, border.behind, strict=True)]
        total = [max((-(-one // s) - 1) * s + r - one, 0) for one, s, r in zip(full, stride, window.reach, strict=True)]
        before, behind = ([b + part for b, part in zip(side, parts, strict=True)] for side, parts in (
            (border.before, [one // 2 for one in total]), (border.behind, [one - one // 2 for one in total])))
        window = replace(window, padding=pair(before), padding_end=pair(behind))
    if prod(a + length + b for a, length, b in zip(window.padding, size, window.end, strict=True)) > LARGEST:
        step.refuse(f"has a kernel of {window.reach} pixels for a map of {size}: use smaller kernels")
    if min(window.size(size)) < 1:
        step.refuse(f"has a kernel of {window.reach} pixels for a map of {size}: use larger images")
    return window
