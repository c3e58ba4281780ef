"""The quantized network in PyTorch: fake quantization to train, exact integers to evaluate."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import nn

from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.operators import Layer
from spec.operators.average_pool import AveragePoolLayer
from spec.operators.convolution import ConvLayer
from spec.operators.lookup import CODES, LookupLayer
from spec.numerics import Scheme
from spec.sums import overflow
from spec.systems import SYSTEMS

from .assign import Ratio, assign
from .fake import calm, coded
from .graph import Graph, compute
from .integers import check, integer_network
from .ranges import encode_
from .requantizer import Requantizer, largest_shift, requantizer
from .rounding import level_ends, level_tables, nearest, search_scales

__all__ = ["QuantNet"]

ARRAYS = "schemes", "codebooks", "tables"       # of the state, by layer or tensor


class _ByName(nn.Module):
    """Parameters by the name of a layer or a tensor, whatever that is: ``keys``, ``type`` or ``training`` would break a
    ParameterDict."""

    @staticmethod
    def key(name: str) -> str:
        """What a name is called in the state."""
        return f"of_{name}"

    def __getitem__(self, name):
        return self.get_parameter(self.key(name))

    def __setitem__(self, name, parameter):
        self.register_parameter(self.key(name), parameter)


class QuantNet(nn.Module):
    """A graph (:func:`quant.graph.trace`) with a number system for each filter and a scale for each tensor.

    Parameters
    ----------
    graph : quant.graph.Graph
    ratio : Ratio, of the number systems in each layer; or ``schemes``, a dict from layer name to uint8 array (F,).
    codebooks : dict from layer name to its levels, for layers with code-book filters
        (:func:`quant.assign.fit_codebook`).
    bits : bits of activations behind a ReLU. All others have 8: signed tensors, those that are only added, pooled
        averages, the output; and those whose names are in ``wide``.
        ``zeros`` maps signed tensors to the code of 0, which :func:`quant.ptq.reconstruct` chooses.
    levels : instead of ``bits``, activations behind a ReLU take this many of the 256 codes of 8 bits
        (:func:`quant.ptq.reconstruct` chooses which; ``tables`` maps every code to the nearest).
    single_scale : all scales are powers of two (but for the input's), so that the engine only shifts (average pools
        apart); they are not learned.
    input_scale, input_zero : real value of one input code (8 bits) and the code of 0.
    config : of an engine whose accumulators must hold all sums (:func:`quant.confine.confine`); None: of any.

    ``state_dict`` is complete: a network made from the same graph, whatever its other parameters, that loads it
    computes the same codes.
    """

    def __init__(self, graph, *, ratio=None, schemes=None, codebooks=None, bits=5, wide=(), input_scale=1 / 255,
                 input_zero=0, levels=None, single_scale=False, config=None):
        super().__init__()
        if levels is not None and not 2 <= levels <= 256:
            raise AlloyError(f"activations of {levels} levels: 2 to 256 are supported")
        if not 1 <= bits <= 8:
            raise AlloyError(f"activations of {bits} bits: 1 to 8 are supported")
        # Calibration may move biases.
        self.graph = replace(graph, layers=[replace(layer) for layer in graph.layers])
        self.weights, self.biases, self.scales = _ByName(), _ByName(), _ByName()
        # log2 of the scale of each tensor, of a product in those of its sources; NaN until it is calibrated
        self.steps = _ByName()
        self.codebooks = {name: np.asarray(book, np.int16) for name, book in (codebooks or {}).items()}
        self.config = config
        self._levels, self.signed = {}, {graph.input} if input_zero else set()
        self.schemes, self.bits, self.zeros = {}, {graph.input: 8}, {graph.input: input_zero}
        self.input_scale, self.single_scale, self.tables = input_scale, single_scale, {}
        self.homes, bounded = graph.homes(), set(graph.bounded)
        self._find_signed()
        self._factors = {layer.output: layer.sources for layer in self.graph.layers if layer.product}
        for layer in self.graph.layers:
            home = self.homes[layer.output]
            self._set_codes(layer.output, bits if home in bounded and levels is None and home not in wide else 8)
            if layer.relu and home in bounded and levels is not None:
                kept = np.linspace(0, 255, levels)
                nearest_kept = np.abs(np.arange(256)[:, None] - kept).argmin(1)
                self.tables[layer.output] = np.round(kept[nearest_kept]).astype(np.uint8)
            self._check_sums(layer)
            if layer.learned:
                self.weights[layer.name] = nn.Parameter(layer.weight.float().clone())
                self.biases[layer.name] = nn.Parameter(layer.bias.float().clone())
            if layer.weighted:
                given = schemes[layer.name] if schemes else assign(layer.weight.numpy().astype(np.float64),
                                                                   ratio or Ratio(35, 60, 5))
                self._set_filters(layer, np.asarray(given, np.uint8))

    def _check_sums(self, layer):
        """Raise :class:`AlloyError` if an average adds up more codes than the engine's accumulators hold."""
        if self.config is None or not isinstance(layer, AveragePoolLayer):
            return
        count, bits, width = layer.kernel[0] * layer.kernel[1], self.bits[layer.input], self.config.acc_width
        share = float(overflow(np.ones((1, count)), bits, self.config)[0])
        if share > 1:
            raise AlloyError(f"layer {layer.name} adds up {count} codes of {bits} bits, more than the {width}-bit "
                             f"accumulators of {self.config.name} hold: raise acc_width to "
                             f"{width + int(np.ceil(np.log2(share)))} or pool in two steps")

    def _find_signed(self):
        """Which tensors are signed: those with values below 0, and all that have the codes of one."""
        for layer in self.graph.layers:
            if layer.signed(any(source in self.signed for source in layer.sources)):
                self.signed.add(layer.output)
        homes = {self.homes[name] for name in self.signed}
        self.signed = {name for name, home in self.homes.items() if home in homes}

    def _set_codes(self, name, bits):
        """Codes of a tensor: those of the input, or of ``bits`` bits."""
        home = self.homes[name]
        if home == self.graph.input:
            self.bits[name], self.zeros[name] = self.bits[home], self.zeros[home]
        else:
            self.bits[name], self.zeros[name] = bits, 1 << bits - 1 if name in self.signed else 0
        if home == name:
            learns = not self.single_scale and name not in self._factors
            self.steps[name] = nn.Parameter(torch.tensor(torch.nan), requires_grad=learns)

    def _set_filters(self, layer, scheme):
        """Number systems ``scheme`` and scales of a layer's filters."""
        name = layer.name
        self.schemes[name] = scheme
        scales = self.first_scales(layer.weight.flatten(1), scheme, self.codebooks.get(name))
        self.scales[name] = nn.Parameter(scales, requires_grad=not self.single_scale)

    def first_scales(self, weight: torch.Tensor, scheme: np.ndarray, codebook: np.ndarray | None) -> torch.Tensor:
        """Scales (F,) of filters (F, K) before anything is calibrated."""
        return search_scales(weight, scheme, codebook=codebook)

    def get_extra_state(self) -> dict:
        """What ``state_dict`` holds beside the parameters: all that decides the codes, in types that
        ``torch.load(weights_only=True)`` takes."""
        arrays = {field: {name: torch.from_numpy(np.array(value)) for name, value in getattr(self, field).items()}
                  for field in ARRAYS}
        whole = {field: {name: int(value) for name, value in getattr(self, field).items()}
                 for field in ("bits", "zeros")}
        return {**arrays, **whole, "signed": sorted(self.signed), "input_scale": float(self.input_scale),
                "single_scale": self.single_scale,
                "caps": {layer.name: layer.cap.clone() for layer in self.graph.layers if layer.cap is not None}}

    def set_extra_state(self, state: dict) -> None:
        """Inverse of :meth:`get_extra_state`, whatever number systems, bits and code books this network was made
        with."""
        filters = {layer.name: len(layer.weight) for layer in self.graph.weighted}
        known = {name: len(scheme) for name, scheme in state["schemes"].items()}
        if known != filters or state["bits"].keys() != self.bits.keys():
            raise AlloyError("the state is that of another network, whose layers, filters or tensors are not the same: "
                             "make the QuantNet from the graph of that one")
        for layer in self.graph.layers:         # equalization scales them
            layer.cap = state["caps"][layer.name].clone() if layer.name in state["caps"] else None
        for field in ARRAYS:
            setattr(self, field, {name: value.cpu().numpy().copy() for name, value in state[field].items()})
        self.bits, self.zeros, self.signed = dict(state["bits"]), dict(state["zeros"]), set(state["signed"])
        self.input_scale, self.single_scale = state["input_scale"], state["single_scale"]
        for parameter in (*self.scales.parameters(), *self.steps.parameters()):
            parameter.requires_grad_(not self.single_scale)
        for name in self._factors:
            self.steps[name].requires_grad_(False)
        self._levels.clear()

    # -- training ------------------------------------------------------------------------------------------------------
    def step(self, name: str) -> torch.Tensor:
        """Real value of one code of a tensor."""
        home = self.homes[name]
        if home == self.graph.input:
            return torch.tensor(self.input_scale)
        return prod((self.step(source) for source in self._factors.get(home, ())), start=torch.exp2(self.steps[home]))

    def set_step(self, layer: Layer, step: float) -> None:
        """Let a code of a layer's output stand for ``step``, or for the next larger value that the layer can have."""
        if layer.product:
            step = layer.ratio(self, step / prod(float(self.step(source)) for source in layer.sources))
        self.steps[layer.output].fill_(float(np.log2(step)))

    def top(self, layer: Layer) -> int:
        """The largest code of a layer's output: that of its bits, or of the least bound of a ReLU6."""
        top = (1 << self.bits[layer.output]) - 1
        if layer.cap is None:
            return top
        ratio = layer.cap.min().double() / self.step(layer.output).detach().double()
        return max(1, min(top, int(encode_(ratio))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (N, features). Training: fake quantization with straight-through gradients; evaluation: exact
        integers."""
        if self.training:
            out = self.tensors(x)[self.graph.output]
        else:
            check(self)
            name = self.graph.output
            given = encode_(x / self.input_scale, self.zeros[self.graph.input]).long()
            codes = self.export().codes(given.numpy())[name]
            out = (torch.from_numpy(codes) - self.zeros[name]).float() * float(self.step(name).detach())
        return out.flatten(1)

    def requantizer(self, layer: ConvLayer, scale: torch.Tensor | None = None) -> tuple[Requantizer, np.ndarray]:
        """(:class:`quant.requantizer.Requantizer`, real value of each filter's level (F,) float64 that it stands for)
        of a convolution.

        The engine multiplies by whole numbers, so filters can have only certain scales: these are the nearest to those
        that the network has, or to ``scale`` (F,).
        """
        given = self._unit(layer) if scale is None else scale
        real = given.detach().abs().double().cpu().numpy()
        one, two, residual = (float(self.step(name).detach().double()) if name else 0.0
                              for name in (layer.input, layer.output, layer.residual))
        weight, zero = self.weights[layer.name].detach().abs().flatten(1), self.zeros[layer.output]
        # Each weight is rounded to a level at most half a step away, unless it is clipped.
        spread = weight.sum(1).double().cpu().numpy() + real * weight.shape[1]
        reach = spread * self._furthest(layer.input) * one / two
        found = requantizer(
            real * one / two, self.biases[layer.name].detach().double().cpu().numpy() / two, reach,
            extra=residual / two,
            other=self._furthest(layer.residual) * residual / two if layer.residual else 0.0,
            low=0 if layer.relu else -zero, high=self.top(layer) - zero)
        return found, np.where(found.mult > 0, found.mult * 2.0 ** -found.shift * two / one, real)

    def _unit(self, layer):
        """Real value of a level of each filter (F,); without number systems the one level is the weight itself."""
        return self.scales[layer.name] if layer.weighted else self.weights[layer.name].flatten()

    def _furthest(self, name):
        """The largest distance of a tensor's codes from that of 0."""
        return max(self.zeros[name], (1 << self.bits[name]) - 1 - self.zeros[name])

    def quantized_weight(self, layer: ConvLayer) -> torch.Tensor:
        """Weights of a convolution on the levels of its filters, with straight-through gradients: (F, C / groups, kh,
        kw)."""
        weight = self.weights[layer.name]
        if not layer.weighted:
            whole = torch.from_numpy(self.requantizer(layer)[1]).to(weight).reshape(weight.shape)
            return weight + (whole * weight.sign() - weight).detach()
        if layer.name not in self._levels:
            tables = level_tables(self.schemes[layer.name], self.codebooks.get(layer.name))
            self._levels[layer.name] = tables, *level_ends(tables, len(weight))
        tables, low, high = self._levels[layer.name]
        low, high = low.to(weight.device), high.to(weight.device)
        learned = self.scales[layer.name].abs()
        whole = torch.from_numpy(self.requantizer(layer)[1]).to(learned)
        scale = calm(learned, weight[0].numel() * torch.maximum(high, -low))
        scale = (scale + (whole - learned).detach())[:, None, None, None]
        ratio = weight / scale
        bounded = torch.minimum(torch.maximum(ratio, low[:, None, None, None]), high[:, None, None, None])
        with torch.no_grad():
            quantized = torch.empty_like(ratio)
            for rows, table in tables:
                quantized[rows] = nearest(ratio[rows], table.to(weight.device))
        return (bounded + (quantized - bounded).detach()) * scale

    def integers(self, layer: ConvLayer) -> np.ndarray:
        """Whole weights of a convolution: levels of its filters, int64 (F, C / groups, kh, kw)."""
        scheme, book = self.schemes[layer.name], self.codebooks.get(layer.name)
        book = book if (scheme == Scheme.CODEBOOK).any() else None
        weight = self.weights[layer.name].detach().double().cpu().numpy()
        ratio, out = weight / self.requantizer(layer)[1][:, None, None, None], np.zeros(weight.shape, np.int64)
        for number in np.unique(scheme):
            rows = scheme == number
            out[rows] = SYSTEMS[int(number)].nearest(ratio[rows], book)
        return out

    def float_graph(self) -> Graph:
        """The graph with the weights and biases as they are now, not rounded."""
        layers = [replace(layer, weight=self.weights[layer.name].detach().cpu().clone(),
                          bias=self.biases[layer.name].detach().cpu().clone())
                  if layer.learned else layer for layer in self.graph.layers]
        return replace(self.graph, layers=layers)

    def assign(self, schemes: Mapping[str, np.ndarray]) -> None:
        """Other number systems for the filters, ``{layer: uint8 (F,)}``; scales and weights stay (see
        :func:`quant.ptq.reassign`)."""
        self.schemes |= {name: np.array(scheme, np.uint8) for name, scheme in schemes.items()}
        self._levels.clear()

    def tensors(self, x: torch.Tensor, quantized: bool = True) -> dict[str, torch.Tensor]:
        """Real values of every tensor, ``{name: (N, C, H, W)}``, with straight-through gradients; ``quantized`` or
        not."""
        tensors = {self.graph.input: x}
        for layer in self.graph.layers:
            if quantized:
                tensors[layer.output] = self.fake(layer, tensors)
            else:
                tensors[layer.output] = compute(layer, tensors, **self.filters(layer, quantized=False))
        return tensors

    def fake(self, layer: Layer, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Fake quantization of one layer: real values of its output's codes, from the real ``tensors`` by name."""
        out = compute(layer, tensors, **self.filters(layer))
        if layer.keeps:
            return out
        zero, top = self.zeros[layer.output], self.top(layer)
        step = calm(self.step(layer.output), out[0].numel() * top)
        table = torch.from_numpy(self.tables[layer.output]).to(out) if layer.output in self.tables else None
        return coded(out, step, zero, top, table)

    def filters(self, layer: Layer, quantized: bool = True) -> dict[str, torch.Tensor]:
        """Weight and bias as they are learned, for :func:`quant.graph.compute`; the weight is ``quantized`` or not."""
        if not isinstance(layer, ConvLayer):
            return {}
        weight = self.quantized_weight(layer) if quantized else self.weights[layer.name]
        return {"weight": weight, "bias": self.biases[layer.name]}

    # -- integers ------------------------------------------------------------------------------------------------------
    def tensor(self, name: str) -> Tensor:
        """The :class:`spec.network.Tensor` of this name."""
        channels, height, width = self.graph.shapes[name]
        scale = float(self.step(name).detach()) if name in (self.graph.input, self.graph.output) else None
        return Tensor(name=name, channels=channels, height=height, width=width, bits=self.bits[name],
                      zero=self.zeros[name], scale=scale)

    def table(self, layer: LookupLayer) -> np.ndarray:
        """Codes of a table's output for each code of its input: uint8 (256,)."""
        codes = torch.arange(CODES) - self.zeros[layer.input]
        out = layer.apply(torch, codes * self.step(layer.input).detach())
        ratio = torch.nan_to_num(out / self.step(layer.output).detach(), 0.0)
        return encode_(ratio, self.zeros[layer.output], self.top(layer)).numpy().astype(np.uint8)

    @staticmethod
    def multipliers(factors: np.ndarray) -> tuple[np.ndarray, int]:
        """Whole (mult, shift) of the engine for real ``factors``: ``mult / 2**shift``. One that makes more of a single
        unit than all codes counts as that: values of such units are 0 or clipped."""
        factors = np.minimum(factors, CODES)
        shift = largest_shift(float(factors.max()))
        return np.round(factors * 2.0 ** shift).astype(np.int32), shift

    def export(self, name: str = "network") -> Network:
        """The integer network (:class:`spec.network.Network`). Raises :class:`AlloyError` if the network is not
        calibrated."""
        return integer_network(self, name)
