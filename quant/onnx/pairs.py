"""The operators of quantized networks on two tensors or more: sums, products, and channels side by side."""

from dataclasses import replace

import numpy as np

from ..grids.values import Curve, Joined, Moved, Product, Sum, Value, Weights
from .integer import affine, curve_from, rounded
from .quantized import Reader, Step, reads_quantized

__all__: list[str] = []

NO_PRODUCT = ("multiplies two tensors value by value, which is not supported: multiply by constants, by a function of "
              "the same tensor, or by one number for each channel, channels x 1 x 1")


def _by_channel(step, value, codes):
    """A constant as numbers, one or one for each channel of a sum or tensor."""
    real = (value.real if isinstance(value, Weights) else np.asarray(value)).astype(np.float64)
    channels = len(codes.index) if isinstance(codes, Moved) else (
        len(codes.weight) if isinstance(codes, Sum) else codes.shape[0])
    rank = 2 if getattr(codes, "flat", False) else 4
    full = real.reshape([1] * (rank - real.ndim) + list(real.shape)) if real.ndim <= rank else real
    if real.size == 1:
        return real.ravel()
    if full.shape != (1, channels, *[1] * (rank - 2)) or channels != full.size:
        step.refuse(f"has a constant of shape {real.shape}: one for all values or one for each channel is supported")
    return real.ravel()


def _is_constant(value):
    return isinstance(value, np.ndarray | Weights)


@reads_quantized("Add", "Sub", "Sum", "QLinearAdd")
def _add(reader: Reader, step: Step) -> Value:
    linear = step.op_type == "QLinearAdd"
    if linear:
        made = _added(reader, step, reader.taken(step, 0), reader.taken(step, 3))
        return rounded(step, made, 6)
    if len(step.inputs) != 2:
        step.refuse(f"adds {len(step.inputs)} tensors: add two at a time, and quantize after each addition")
    one, two = step.inputs
    if _is_constant(two) or _is_constant(one):
        constants, value = (two, one) if _is_constant(two) else (one, two)
        sign = (1.0, -1.0) if step.op_type == "Sub" and constants is two else (
            (-1.0, 1.0) if step.op_type == "Sub" else (1.0, 1.0))
        made = value if isinstance(value, Moved) else reader.sum_of(value, step)
        return affine(reader, step, made, np.array(sign[0]), sign[1] * _by_channel(step, constants, made))
    if step.op_type == "Sub":
        step.refuse("subtracts two tensors, which is not supported: add one with negative weights")
    return _added(reader, step, one, two)


def _added(reader, step, one, two):
    """The sum of two tensors, one of which may be a sum that nothing has rounded."""
    if isinstance(two, Sum):
        one, two = two, one
    if isinstance(two, Sum):
        step.refuse("adds two sums that nothing has quantized: quantize one of them")
    other = reader.codes(two, step.where)
    if not isinstance(one, Sum):
        one = reader.codes(one, step.where)
        if one.name == other.name:
            return reader.sum_of(one, step).affine(np.array(2.0), np.array(0.0))
        if one.grid.scale < other.grid.scale:
            one, other = other, one
        one = reader.sum_of(one, step)
    if one.residual is not None or one.shape != other.shape or one.pools or np.isfinite([one.least, one.most]).any():
        step.refuse(f"adds tensors of {'x'.join(map(str, one.shape))} and {'x'.join(map(str, other.shape))} values, or "
                    "three and more: quantize after each addition of two of one shape")
    return replace(one, residual=other, where=step.where)


@reads_quantized("QLinearMul")
def _whole_product(reader: Reader, step: Step) -> Value:
    pair = []
    for index in (0, 3):
        value = step.inputs[index]
        if isinstance(value, np.ndarray):
            value = Weights(np.asarray(value.astype(np.int64) - step.array(index + 2).astype(np.int64)),
                            np.broadcast_to(np.float32(step.number(index + 1)), value.shape))
        pair.append(value if isinstance(value, Weights) else reader.taken(step, index))
    return rounded(step, _multiplied(reader, step, *pair), 6)


def _through(reader, curve):
    """A function of what a table makes, as one of what that reads."""
    found = reader.tables.get(curve.source.name)
    return curve if found is None else replace(curve, source=found[0], values=curve.values[found[1]])


def _product(reader, step, one, two):
    """The product of a map and a number for each of its channels; None for other shapes."""
    shapes = [reader.shape_of(value)[1:] for value in (one, two)]
    for image, numbers, (size, other) in ((one, two, shapes), (two, one, shapes[::-1])):
        if len(size) == 3 and other == (size[0], 1, 1) and size != other:
            return Product(reader.codes(image, step.where), reader.codes(numbers, step.where), step.name, step.where)
    return None


@reads_quantized("Mul", "Div")
def _mul(reader: Reader, step: Step) -> Value:
    one, two = step.inputs
    if step.op_type == "Div" and not _is_constant(two):
        step.refuse("divides by a tensor, which is not supported: multiply by a constant")
    return _multiplied(reader, step, one, two)


def _multiplied(reader, step, one, two):
    """A product, or a quotient by a constant, which nothing has rounded."""
    if not (_is_constant(one) or _is_constant(two)):
        made = _product(reader, step, one, two)
        if made is not None:
            return made
        curves = [curve_from(reader, step, value) for value in (one, two)]
        if curves[0].source.name != curves[1].source.name:      # one may be a table of the other
            curves = [_through(reader, curve) for curve in curves]
        if curves[0].source.name != curves[1].source.name:
            step.refuse(NO_PRODUCT)
        return Curve(curves[0].source, curves[0].values * curves[1].values, step.where, step.name)
    constants, value = (two, one) if _is_constant(two) else (one, two)
    if isinstance(value, Curve):
        gain = _by_channel(step, constants, value.source)
        if gain.size == 1:
            return Curve(value.source, value.values / gain if step.op_type == "Div" else value.values * gain,
                         step.where, step.name)
    made = value if isinstance(value, Moved) else reader.sum_of(value, step)
    gain = _by_channel(step, constants, made)
    return affine(reader, step, made, 1 / gain if step.op_type == "Div" else gain, np.array(0.0))


@reads_quantized("Concat", "QLinearConcat")
def _concat(reader: Reader, step: Step) -> Value:
    """Parts that are rounded each for itself; those of one grid stay as they are."""
    if step.attributes.get("axis", 1) not in (1, -3):
        step.refuse(f"joins tensors along dimension {step.attributes.get('axis')}: only channels, 1, are supported")
    if step.op_type == "Concat":
        for value in step.inputs:
            if not isinstance(value, Sum | Curve | Moved):
                reader.codes(value, step.where)
        return Joined(tuple(step.inputs), step.name, step.where)
    parts = tuple(reader.taken(step, index) for index in range(2, len(step.inputs), 3))
    return rounded(step, Joined(parts, step.name, step.where), 0)
