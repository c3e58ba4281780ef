"""The quantized network in PyTorch: fake quantization to train, exact integers to evaluate."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from spec.errors import AlloyError
from spec.network import BIAS_BITS, MULT_BITS, SHIFT_MAX, Conv, Network, Pool, Tensor, worst_case
from spec.numerics import Scheme, nearest_level, requantize, round_shift

from .assign import Ratio, assign
from .rounding import level_ends, level_tables, nearest, search_scales

__all__ = ["QuantNet"]

LOGIT_BITS = 8


class _Coded(torch.autograd.Function):
    """``(codes - zero) * step`` with the codes ``clamp(floor(x / step + 1/2) + zero, 0, top)``, replaced by ``table[code]`` if there is a table.

    The gradients are straight-through (Esser et al., LSQ, equations 3 and 5); one function, for training spends much of its time here.
    """

    @staticmethod
    def forward(ctx, x, step, zero, top, table):
        ratio = x / step
        codes = torch.floor(ratio + 0.5).add_(zero)
        inside = (codes >= 0) & (codes <= top)
        codes.clamp_(0, top)
        if table is not None:
            codes = table[codes.long()]
        codes.sub_(zero)
        ctx.save_for_backward(ratio, codes, inside)
        return codes * step

    @staticmethod
    def backward(ctx, gradient):
        ratio, codes, inside = ctx.saved_tensors
        passed = gradient * inside
        return passed, (gradient * codes).sub_(passed * ratio).sum(), None, None, None


def _calm(scale, count):
    """``scale`` with its gradient divided by sqrt(count): it sums over ``count`` values (Esser et al., LSQ, ICLR 2020, section 2.2)."""
    factor = count ** -0.5
    return scale * factor + (scale * (1 - factor)).detach()


class QuantNet(nn.Module):
    """A graph (:func:`quant.graph.trace`) with a number system for each filter and a scale for each tensor.

    Parameters
    ----------
    graph : quant.graph.Graph
    ratio : Ratio, of the number systems in each layer; or ``schemes``, a dict from layer name to uint8 array (F,).
    codebooks : dict from layer name to its levels, for layers with code-book filters (:func:`quant.assign.fit_codebook`).
    bits : bits of activations behind a ReLU. All others have 8: signed tensors, those that are only added, pooled averages, the output; and
        those whose names are in ``wide``.
        ``zeros`` maps signed tensors to the code of 0, which :func:`quant.ptq.reconstruct` chooses.
    levels : instead of ``bits``, activations behind a ReLU take this many of the 256 codes of 8 bits (:func:`quant.ptq.reconstruct` chooses which;
        ``tables`` maps every code to the nearest).
    single_scale : all scales are powers of two (but for the input's), so that the engine only shifts (average pools apart); they are not learned.
    input_scale, input_zero : real value of one input code (8 bits) and the code of 0.
    """

    def __init__(self, graph, *, ratio=None, schemes=None, codebooks=None, bits=5, wide=(), input_scale=1 / 255, input_zero=0,
                 levels=None, single_scale=False):
        super().__init__()
        if levels is not None and not 2 <= levels <= 256:
            raise AlloyError(f"activations of {levels} levels: 2 to 256 are supported")
        if not 1 <= bits <= 8:
            raise AlloyError(f"activations of {bits} bits: 1 to 8 are supported")
        self.graph = graph
        ratio = ratio or Ratio(35, 60, 5)
        self.weights, self.biases, self.scales = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        self.steps = nn.ParameterDict()         # log2 of the scale of each tensor
        self.codebooks = {name: np.asarray(book, np.int16) for name, book in (codebooks or {}).items()}
        self._levels = {}
        self.schemes, self.bits, self.zeros = {}, {graph.input: 8}, {graph.input: input_zero}
        self.input_scale, self.single_scale, self.tables = input_scale, single_scale, {}
        for layer in graph.layers:
            narrow = layer.output in graph.bounded
            self.bits[layer.output] = bits if narrow and levels is None and layer.output not in wide else 8
            if narrow and levels is not None:
                kept = np.linspace(0, 255, levels)
                self.tables[layer.output] = np.round(kept[np.abs(np.arange(256)[:, None] - kept).argmin(1)]).astype(np.uint8)
            self.zeros[layer.output] = 0 if layer.relu else 1 << self.bits[layer.output] - 1
            if layer.kind == "max":
                self.bits[layer.output], self.zeros[layer.output] = self.bits[layer.input], self.zeros[layer.input]
            if layer.kind == "avg":
                self.zeros[layer.output] = 0 if self.zeros[layer.input] == 0 else 1 << self.bits[layer.output] - 1
            if layer.kind != "max":
                self.steps[layer.output] = nn.Parameter(torch.zeros(()), requires_grad=not single_scale)
            if layer.kind != "conv":
                continue
            weight = layer.weight.numpy().astype(np.float64)
            scheme = np.asarray(schemes[layer.name], np.uint8) if schemes else assign(weight, ratio)
            self.schemes[layer.name] = scheme
            self.weights[layer.name], self.biases[layer.name] = nn.Parameter(layer.weight.clone()), nn.Parameter(layer.bias.clone())
            self.scales[layer.name] = nn.Parameter(search_scales(layer.weight.flatten(1), scheme, codebook=self.codebooks.get(layer.name)),
                                                   requires_grad=not single_scale)

    def _book(self, layer, scheme):
        """Code book of a filter, or None if its scheme has none."""
        return self.codebooks.get(layer.name) if scheme == Scheme.CODEBOOK else None

    # -- training ------------------------------------------------------------------------------------------------------
    def step(self, name):
        """Real value of one code of a tensor."""
        layer = next((x for x in self.graph.layers if x.output == name), None)
        if layer is None:
            return torch.tensor(self.input_scale)
        return self.step(layer.input) if layer.kind == "max" else torch.exp2(self.steps[name])

    def top(self, layer):
        """The largest code of a layer's output: that of its bits, or of the least bound of a ReLU6."""
        top = (1 << self.bits[layer.output]) - 1
        if layer.cap is None:
            return top
        return max(1, min(top, int(np.floor(float(layer.cap.min()) / float(self.step(layer.output).detach().double()) + 0.5))))

    def forward(self, x):
        """Logits (N, classes). Training: fake quantization with straight-through gradients; evaluation: exact integers."""
        if self.training:
            out = self.tensors(x)[self.graph.output]
        else:
            name = self.graph.output
            codes = self.codes(torch.floor(x / self.input_scale + 0.5).long() + self.zeros[self.graph.input])[name]
            out = (torch.from_numpy(codes) - self.zeros[name]).float() * float(self.step(name).detach())
        return out.flatten(1)

    def quantized_weight(self, layer):
        """Weights of a convolution on the levels of its filters, with straight-through gradients: (F, C / groups, kh, kw)."""
        weight = self.weights[layer.name]
        if layer.name not in self._levels:
            tables = level_tables(self.schemes[layer.name], self.codebooks.get(layer.name))
            self._levels[layer.name] = tables, *level_ends(tables, len(weight))
        tables, low, high = self._levels[layer.name]
        low, high = low.to(weight.device), high.to(weight.device)
        scale = _calm(self.scales[layer.name].abs(), weight[0].numel() * torch.maximum(high, -low))[:, None, None, None]
        ratio = weight / scale
        bounded = torch.minimum(torch.maximum(ratio, low[:, None, None, None]), high[:, None, None, None])
        with torch.no_grad():
            quantized = torch.empty_like(ratio)
            for rows, table in tables:
                quantized[rows] = nearest(ratio[rows], table.to(weight.device))
        return (bounded + (quantized - bounded).detach()) * scale

    def float_graph(self):
        """The graph with the weights and biases as they are now, not rounded."""
        layers = [replace(layer, weight=self.weights[layer.name].detach().cpu().clone(), bias=self.biases[layer.name].detach().cpu().clone())
                  if layer.kind == "conv" else layer for layer in self.graph.layers]
        return replace(self.graph, layers=layers)

    def assign(self, schemes):
        """Other number systems for the filters, ``{layer: uint8 (F,)}``; scales and weights stay (see :func:`quant.ptq.reassign`)."""
        self.schemes |= {name: np.array(scheme, np.uint8) for name, scheme in schemes.items()}
        self._levels.clear()

    def tensors(self, x, quantized=True):
        """Real values of every tensor, ``{name: (N, C, H, W)}``, with straight-through gradients; ``quantized`` or not."""
        tensors = {self.graph.input: x}
        for layer in self.graph.layers:
            conv = layer.kind == "conv"
            weight = (self.quantized_weight(layer) if quantized else self.weights[layer.name]) if conv else None
            out = layer.apply(tensors[layer.input], weight, self.biases[layer.name] if conv else None)
            out = layer.finish(out, tensors.get(layer.residual))
            if quantized and layer.kind != "max":
                zero, top = self.zeros[layer.output], self.top(layer)
                step = _calm(self.step(layer.output), out[0].numel() * top)
                table = torch.from_numpy(self.tables[layer.output]).to(out) if layer.output in self.tables else None
                out = _Coded.apply(out, step, zero, top, table)
            tensors[layer.output] = out
        return tensors

    # -- integers ------------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def export(self, name="network"):
        """The integer network (:class:`spec.network.Network`)."""
        shapes = self.graph.shapes
        tensors = {n: Tensor(name=n, channels=shapes[n][0], height=shapes[n][1], width=shapes[n][2], bits=self.bits[n],
                             zero=self.zeros[n]) for n in self.bits}
        nodes = []
        for layer in self.graph.layers:
            common = dict(name=layer.name, input=layer.input, output=layer.output, stride=layer.stride, padding=layer.padding)
            top = self.top(layer)
            if layer.kind == "max":
                nodes.append(Pool(op="max", kernel=layer.kernel, lo=0, hi=top, **common))
                continue
            step_in, step_out = (float(self.step(n).double()) for n in (layer.input, layer.output))
            if not 0 < step_in < np.inf or not 0 < step_out < np.inf:
                raise AlloyError(f"layer {layer.name} has an activation scale of {step_in:g} or {step_out:g}: train with a smaller rate")
            if layer.kind == "avg":
                factor = step_in / step_out / (layer.kernel[0] * layer.kernel[1])
                shift = _shift(factor)
                nodes.append(Pool(op="avg", kernel=layer.kernel, mult=round(factor * 2 ** shift), shift=shift, lo=0, hi=top, **common))
                continue
            scale = self.scales[layer.name].abs().double().numpy()
            weight = self.weights[layer.name].double().numpy()
            for index in np.flatnonzero(~(np.isfinite(scale) & (scale > 0))):
                raise AlloyError(f"layer {layer.name} filter {index} has the scale {scale[index]:g}: train with a smaller rate")
            if not (np.isfinite(weight).all() and torch.isfinite(self.biases[layer.name]).all()):
                raise AlloyError(f"layer {layer.name} has weights or biases that are NaN or infinite: train with a smaller rate")
            scheme = self.schemes[layer.name]
            integers = np.stack([nearest_level(w / s, Scheme(int(k)), self._book(layer, k)) for w, s, k in zip(weight, scale, scheme)])
            factor = scale * step_in / step_out
            book = self._book(layer, Scheme.CODEBOOK) if (scheme == Scheme.CODEBOOK).any() else np.zeros(0, np.int16)
            extra = float(self.step(layer.residual).double()) / step_out if layer.residual else 0.0
            bias = self.biases[layer.name].double().numpy() / step_out
            shift = _shift(max(factor.max(), extra), np.abs(bias).max())
            nodes.append(Conv(
                weight=integers.astype(np.int16), bounds=worst_case(integers, tensors[layer.input]), scheme=scheme,
                mult=np.round(factor * 2 ** shift).astype(np.int32), bias=np.round(bias * 2.0 ** shift).astype(np.int64), shift=shift,
                lo=self.zeros[layer.output] if layer.relu else 0, hi=top, residual=layer.residual, res_mult=round(extra * 2 ** shift), codebook=book,
                table=self.tables.get(layer.output, np.zeros(0, np.uint8)), **common))
        return Network(name=name, input=self.graph.input, output=self.graph.output, tensors=tensors, nodes=nodes)

    @torch.no_grad()
    def codes(self, images, network=None):
        """Codes of every tensor for input codes (N, C, H, W): PyTorch convolutions on integers, without rounding.

        ``network`` is what :meth:`export` gave, for those who ask again and again.
        """
        network = network or self.export()
        tensors = {network.input: np.asarray(images, np.int64)}
        for node in network.nodes:
            source, out = network.tensors[node.input], network.tensors[node.output]
            whole = torch.from_numpy(tensors[node.input] - source.zero)
            if node.kind == "conv":
                reach = max(source.zero, (1 << source.bits) - 1 - source.zero)
                acc = _exact_conv(node, whole, reach, source.channels // node.weight.shape[1]).numpy()
                res = tensors[node.residual] - network.tensors[node.residual].zero if node.residual else 0
                tensors[node.output] = requantize(acc, node.mult[:, None, None].astype(np.int64), node.bias[:, None, None], node.shift,
                                                  lo=node.lo, hi=node.hi, out_zero=out.zero, res=res, res_mult=node.res_mult, table=node.table)
            elif node.op == "max":
                pooled = F.max_pool2d(whole.double(), node.kernel, node.stride, node.padding).numpy().astype(np.int64)
                tensors[node.output] = pooled + source.zero
            else:
                size = node.kernel[0] * node.kernel[1]
                total = np.round(F.avg_pool2d(whole.double(), node.kernel, node.stride).numpy() * size).astype(np.int64)
                tensors[node.output] = np.clip(round_shift(total * node.mult, node.shift) + out.zero, node.lo, node.hi)
        return tensors


def _exact_conv(node, codes, largest, groups):
    """Sums of integers (N, F, rows, cols) for codes of at most ``largest``: float32 holds those below 2**24, so larger codes go through it
    digit by digit, and where even digits do not fit float64 does (exact below 2**53)."""
    reach = int(np.abs(node.weight.astype(np.int64)).sum((1, 2, 3)).max())
    kind = torch.float32 if reach << 4 < 1 << 24 else torch.float64

    def conv(values):
        return F.conv2d(values.to(kind), torch.from_numpy(node.weight).to(kind), stride=node.stride, padding=node.padding, groups=groups).long()
    if kind is torch.float64 or reach * largest < 1 << 24:
        return conv(codes)
    high = codes >> 4
    return (conv(high) << 4) + conv(codes - (high << 4))


def _shift(factor, bias=0.0):
    """Largest shift at which the multiplier has at most 16 bits and the bias fits."""
    shift = SHIFT_MAX
    while shift > 1 and (factor * 2.0 ** shift >= (1 << MULT_BITS) - 1 or bias * 2.0 ** shift >= 1 << BIAS_BITS - 2):
        shift -= 1
    return shift
