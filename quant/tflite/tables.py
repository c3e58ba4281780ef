"""Functions of each value, and the roundings between codes and real numbers: tables of codes."""

from dataclasses import replace

import numpy as np
from scipy.special import erf, expit

from .arithmetic import away, bounds, hard_swish, multiplier, table_of, times
from .reader import Reader, is_map, reads
from .step import Step, Value, View

__all__: list[str] = []

FUNCTIONS = {"LOGISTIC": expit, "TANH": np.tanh, "EXP": np.exp,
             "ELU": lambda x: np.where(x < 0, np.expm1(x), x)}
"""Real functions that are tables."""


@reads(*FUNCTIONS)
def _function(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    return reader.table(view, table_of(FUNCTIONS[step.op_type], view.codes.grid, grid), grid, step)


@reads("GELU")
def _gelu(reader: Reader, step: Step) -> View:
    def exact(x):
        return x * (1 + erf(x / np.sqrt(2))) / 2

    def near(x):
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))) / 2
    view, grid = step.view(0), step.grid()
    function = near if step.option("approximate", False) else exact
    return reader.table(view, table_of(function, view.codes.grid, grid), grid, step)


def _offsets(view):
    """Codes less their zero point, all that there are."""
    grid = view.codes.grid
    return np.arange(grid.low, grid.high + 1) - grid.zero


def _ratio(step, grid, gain=1.0):
    """The multiplier of a code of the input, times a gain, in 32 bits."""
    scale = np.float32(step.grid_in(0).scale)
    return multiplier(float(scale * np.float32(gain) / np.float32(grid.scale)))


@reads("RELU", "RELU6", "RELU_N1_TO_1")
def _relu(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    low, high = bounds({"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[step.op_type], grid)
    scaled = times(_offsets(view), *_ratio(step, grid)) + grid.zero
    return reader.table(view, np.clip(scaled, low, high), grid, step)


@reads("LEAKY_RELU", "PRELU")
def _leaky_relu(reader: Reader, step: Step) -> View:
    view, grid, x = step.view(0), step.grid(), _offsets(step.view(0))
    positive = times(x, *_ratio(step, grid))
    if step.op_type == "LEAKY_RELU":
        alpha = float(step.option("alpha", 0.0))
        negative = times(x, *_ratio(step, grid, abs(alpha))) * (1 if alpha >= 0 else -1)
    elif step.array(1).size != 1:
        step.refuse(f"has {step.array(1).size} slopes, which no table of codes can hold: use one")
    else:
        slopes = step.grid_in(1)
        negative = times(x * (int(step.array(1).flat[0]) - slopes.zero), *_ratio(step, grid, slopes.scale))
    made = np.where(x >= 0, positive, negative) + grid.zero
    return reader.table(view, np.clip(made, grid.low, grid.high), grid, step)


@reads("HARD_SWISH")
def _hard_swish(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    made = hard_swish(_offsets(view), view.codes.grid, grid)
    return reader.table(view, np.clip(made, grid.low, grid.high), grid, step)


# -- roundings -------------------------------------------------------------------------------------------------------
@reads("QUANTIZE")
def _quantize(reader: Reader, step: Step) -> Value:
    """Of the input, of real numbers that were codes, or from codes to codes."""
    view, grid = step.inputs[0], step.grid()
    assert isinstance(view, View)
    if view.codes.name == reader.input_name and view.codes.grid.scale == 0:
        if not is_map(view) and len(np.unique(view.index)) < view.index.size:
            step.refuse("quantizes a part of the input: quantize all of it first")
        return replace(reader.enter(view, grid), index=view.index)
    source = view.codes.grid
    if view.real:
        q = np.float32(source.scale) * _offsets(view).astype(np.float32)
        made = away(q / np.float32(grid.scale)) + grid.zero
    else:
        made = times(_offsets(view), *multiplier(float(np.float32(source.scale)) / float(np.float32(grid.scale))))
        made = made + grid.zero
    codes = np.clip(made, grid.low, grid.high).astype(np.int64)
    return reader.table(replace(view, real=False), codes, grid, step)


@reads("DEQUANTIZE")
def _dequantize(reader: Reader, step: Step) -> Value:
    return replace(step.view(0), real=True)
