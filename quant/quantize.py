"""From a trained model and some images to the integer network, in one call: :func:`quantize`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
import torch
from torch import nn

from sim.estimate import Target, engine, layer_cycles
from spec.errors import AlloyError
from spec.network import Network
from spec.operators.lookup import LookupLayer
from spec.progress import Course, say, telling

from .confine import confine
from .equalize import equalize
from .graph import FloatNet, Graph
from .images import check_pixels, look_at
from .imports import trace
from .net import QuantNet
from .normalize import SCALE, Normalization
from .ptq import reconstruct
from .qat import Training, fine_tune
from .recipes import Plan, Request, Variant, make_plan, variant
from .sensitivity import collect
from .tensors import give_back
from .work import stages

__all__ = ["Source", "quantize", "float_graph", "real_graph", "CALIBRATION"]

DARK = 30  # standard deviations of pixels / 255 that are none
CALIBRATION = 256  # images; more take longer and change little
# Values of the images, and images at least, that show ranges of channels and slopes of the loss: large ones have so
# many positions that fewer of them tell as much.
SHOWN, FEWEST = 1 << 24, 128

Report = Callable[[str], None]


def quantize(
    model: nn.Module, images: np.ndarray | torch.Tensor, *, recipe: str | Variant = "alloy",
    board: Target = "zcu102", mean: ArrayLike | None = None, std: ArrayLike | None = None, logits: bool | None = None,
    labels: ArrayLike | None = None, training: Training | None = None, mirror: bool = False, name: str = "network",
    seed: int = 0, report: Report | None = say, keep: Callable[[QuantNet], object] | None = None,
) -> Network:
    """The integer network of a trained model, which stays as it is.

    ``network.save(path)`` writes it for the compiler. ``network.run(images)`` computes what the engine computes, the
    codes of the output for images like these; ``network.logits(images)`` gives the real values that the codes stand
    for.

    Parameters
    ----------
    model : for one tensor of images (N, C, H, W); on the CPU. It is taken as it evaluates, also if it is in training
        mode.
    images : uint8 (N, C, H, W), an array or a tensor, such as the network will see, 100 or more: pixels 0..255 as they
        are in image files. :data:`CALIBRATION` of them, drawn by ``seed``, decide ranges and roundings.
    recipe : which number system each filter gets: a name in :data:`quant.recipes.VARIANTS` or a variant of one's own.
    board : name, ``boards.Board`` or ``spec.config.EngineConfig`` of the engine whose slots are filled and whose cycles
        are counted.
    mean, std : of the normalization ``(pixel / 255 - mean) / std`` that the model was trained with, numbers or one for
        each channel: the network reads pixels all the same. Without them the model reads ``pixel / 255``.
    logits : whether the outputs are a classifier's, of which only the answers count. If None, they are if they are two
        or more numbers for an image that no ReLU bounds.
    labels : of all ``images``, integers (N,): the network is trained further after calibration, by ``training``
        (:class:`quant.qat.Training`). None: no training.
    mirror : the images may be turned left to right: they calibrate mirrored, too, and half of those in training are.
    report : called with a line of text, at least every five seconds, and about how long the rest takes; None for
        silence.
    keep : called with the network in PyTorch that is exported, as :func:`quant.kept.save_net` takes it.

    Raises :class:`AlloyError`, before any long work, for what cannot be quantized. Python's warnings tell what is
    suspicious.
    """
    if not isinstance(name, str) or not name or not isinstance(seed, int) or seed < 0:
        raise AlloyError(f"the network is called {name!r}, the seed is {seed!r}: give it a name, and a seed of 0 or "
                         "more")
    pixels, chosen = _pixels(images), variant(recipe)
    engine(board)
    course = Course()
    with telling(report, "reading the model", prefix=f"{name}: ", course=course) as step:
        source = Source(model, _some(pixels, seed), mean, std, logits, mirror, seed, step, course)
        if labels is None and training is not None:
            raise AlloyError("there are settings for training and no labels: give labels, one for each image")
        settings = training or Training(seed=seed)
        settings = replace(settings, mirror=settings.mirror or mirror)
        if labels is not None:
            labels = _labels(labels, len(pixels), source.graph)
            settings.batches(len(pixels))
        if report:
            for line in source.assumptions():
                report(f"{name}: {line}")
        source.expect(chosen)
        plan, net = source.net(chosen, board)
        if labels is not None:
            source.train(net, plan, (pixels, labels), settings, chosen, board)
        if keep is not None:
            keep(net)
        return net.export(name)


@dataclass(eq=False)
class Source:
    """A float network and the images that show it what it will see: what every recipe starts from. Parameters are those
    of :func:`quantize`.

    :attr:`graph` reads ``(pixel - zero) * SCALE``. If several recipes are asked for, ``shared``, those for the same
    bits share its equalized form and the statistics, which may be gigabytes; those of the bits that were asked for last
    are kept.
    """

    model: nn.Module
    images: np.ndarray
    mean: ArrayLike | None = None
    std: ArrayLike | None = None
    logits: bool | None = None
    mirror: bool = False
    seed: int = 0
    report: Report = lambda text: None
    course: Course = field(default_factory=Course)
    shared: bool = False
    _kept: dict = field(default_factory=dict)

    def __post_init__(self):
        self.normalization, self.graph = float_graph(self.model, self.images.shape[1:], self.mean, self.std,
                                                     self.logits)
        self.images = self.images.reshape(-1, *self.graph.shapes[self.graph.input])
        look_at(self.graph, check_pixels(self.graph, self.images), SCALE, self.zero)

    @property
    def zero(self) -> int:
        """The pixel that stands for 0 in the graph."""
        return self.normalization.zero

    @property
    def real(self) -> torch.Tensor:
        """The images as the graph reads them."""
        return self._read(self.images)

    @property
    def some(self) -> torch.Tensor:
        """Those of the :attr:`real` images that show ranges and slopes, evenly among them."""
        return self._read(self._some)

    @property
    def _some(self):
        return self.images[::-(-len(self.images) // max(FEWEST, SHOWN // self.images[0].size))]

    def _read(self, codes):
        return (torch.from_numpy(codes).float() - self.zero) / 255

    def assumptions(self) -> Iterator[str]:
        """What was not said and cannot be seen, in lines of text."""
        if self.logits is None and self.graph.logits:
            yield (f"the {self.graph.shapes[self.graph.output][0]} outputs are taken for the logits of a classifier: "
                   "say logits=False if they are not")
        if self.graph.end is not None:
            yield f"the model ends with {self.graph.end}: the network returns what that is of, the logits"
        if self.mean is None and min(self.normalization.std) > DARK:
            yield ("the model divides pixels / 255 once more: say mean=0, std=1/255 if it reads pixels from 0 to 255")
        elif self.mean is None and all(layer.moments is None for layer in self.graph.layers if layer.learned):
            yield "the model is taken to read pixels / 255: give mean and std if it was trained on normalized images"

    def expect(self, chosen: Variant) -> None:
        """The course of :meth:`net` begins now."""
        self.course.begin(stages(self.graph, len(self.images), len(self._some), self.mirror,
                                 chosen.recipe not in ("fixed", "ratio")))

    def _done(self, stage):
        """Reports the text of a step of ``stage``, which is done."""
        def report(text):
            self.course.step(stage)
            self.report(text)
        return report

    def equalized(self, bits: tuple[int, int]) -> tuple[Graph, Mapping]:
        """(graph, statistics) for ``bits`` of weights and activations."""
        if bits in self._kept:
            return self._kept[bits]
        self._kept.clear()
        graph = equalize(self.graph, self.some, weight_bits=bits[0], act_bits=bits[1], seed=self.seed,
                         report=self._done("equalize"))
        self.course.finish("equalize")
        found = graph, self._statistics(graph)
        if self.shared:
            self._kept[bits] = found
        return found

    def _statistics(self, graph):
        return _Later(lambda: collect(graph, self.some, seed=self.seed, report=self._done("statistics")))

    def _plan(self, chosen, board, graph, statistics):
        return make_plan(chosen.recipe, Request(graph, statistics, engine(board), chosen.options, self.real,
                                                lambda network: layer_cycles(network, board), self.report))

    def planned(self, chosen: Variant, board: Target) -> tuple[Graph, Plan]:
        """The equalized graph and what a recipe decides for it on a board."""
        graph, statistics = self.equalized(chosen.bits)
        plan = self._plan(chosen, board, graph, statistics)
        del statistics      # unless they are shared
        give_back()
        for stage in ("statistics", "plan"):
            self.course.finish(stage)
        return graph, plan

    def net(self, chosen: Variant, board: Target) -> tuple[Plan, QuantNet]:
        """What a recipe decides for a board, and the network that is quantized so."""
        graph, plan = self.planned(chosen, board)
        net = plan.net(graph, input_scale=SCALE, input_zero=self.zero, config=engine(board))
        reconstruct(net, self.images, seed=self.seed, mirror=self.mirror, known=True,
                    report=lambda index, name: self._done("layers")(f"layer {index} of {len(graph.layers)} ({name})"))
        self.course.finish("layers")
        confine(net)
        return plan, net

    def train(self, net: QuantNet, plan: Plan, data: tuple, settings: Training, chosen: Variant, board: Target, *,
              checkpoint: Path | None = None) -> None:
        """Train ``net`` further on ``data``, images and labels; number systems are chosen anew as the settings say."""
        def assignment(graph):
            return self._plan(chosen, board, graph, self._statistics(graph)).schemes

        def report(epoch, epochs, loss):
            self.report(f"epoch {epoch} of {epochs}, loss {loss:.3f}")
        images, labels = data
        fine_tune(net, FloatNet(self.graph), images, labels, settings, assignment=assignment, penalty=plan.penalty,
                  checkpoint=checkpoint, report=report)
        confine(net)


def real_graph(model: nn.Module, shape: tuple[int, ...], mean: ArrayLike | None, std: ArrayLike | None,
               logits: bool | None) -> tuple[Normalization, Graph]:
    """(normalization, graph that reads images normalized so) of a model for images of ``shape`` (C, H, W); a
    normalization that the model begins with is in that and not in the graph. The others are those of
    :func:`quantize`."""
    graph = trace(model, shape, logits=bool(logits))
    given, graph = Normalization.of(mean, std, graph.shapes[graph.input][0]).before(graph)
    graph.logits = _classifies(graph) if logits is None else logits
    return given, graph


def float_graph(model: nn.Module, shape: tuple[int, ...], mean: ArrayLike | None, std: ArrayLike | None,
                logits: bool | None) -> tuple[Normalization, Graph]:
    """The same with a graph that reads ``(pixel - zero) * SCALE``."""
    given, graph = real_graph(model, shape, mean, std, logits)
    return given, given.folded(graph)


class _Later(Mapping):
    """A mapping that is made when somebody looks into it."""

    def __init__(self, make):
        self._make = make

    @cached_property
    def _made(self):
        return self._make()

    def __getitem__(self, key):
        return self._made[key]

    def __iter__(self):
        return iter(self._made)

    def __len__(self):
        return len(self._made)


def _pixels(images):
    """``images`` as an array uint8 (N, C, H, W)."""
    found = _array("images", images)
    what = f"the images are {found.dtype} of shape {found.shape}"
    if found.dtype != np.uint8:
        raise AlloyError(f"{what}: give pixels uint8 from 0 to 255 as they are in image files, and the normalization "
                         "as mean and std")
    if not 2 <= found.ndim <= 4 or 0 in found.shape:
        raise AlloyError(f"{what}: give at least one, in the shape (images, channels, height, width), (images, "
                         "channels, length) or (images, values)")
    if found.ndim == 4 and found.shape[1] > 4 >= found.shape[3]:
        raise AlloyError(f"{what}, channels last: give images.transpose(0, 3, 1, 2)")
    return np.ascontiguousarray(found)


def _array(what, values):
    try:
        return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    except ValueError:
        raise AlloyError(f"the {what} are not all of one shape: bring them to one size first") from None


def _some(pixels, seed):
    """Those that calibrate."""
    if len(pixels) <= CALIBRATION:
        return pixels
    return pixels[np.random.default_rng(seed).permutation(len(pixels))[:CALIBRATION]]


def _classifies(graph):
    """Whether a graph's output looks like logits: several numbers for an image that no ReLU bounds and that are no
    function of others."""
    channels, *size = graph.shapes[graph.output]
    return channels > 1 and size == [1, 1] and not any(
        x.output == graph.output and (x.relu or isinstance(x, LookupLayer)) for x in graph.layers)


def _labels(labels, count, graph):
    """``labels`` as an array int64 (N,) of classes of the graph."""
    found = _array("labels", labels)
    classes = graph.shapes[graph.output][0]
    if not graph.logits:
        raise AlloyError("labels train a classifier, and the outputs are not taken for logits: say logits=True if they "
                         "are, or leave out the labels")
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer):
        raise AlloyError(f"the labels are {found.dtype} of shape {found.shape}: give one integer for each of the "
                         f"{count} images")
    if found.min() < 0 or found.max() >= classes:
        raise AlloyError(f"the labels are {found.min()} to {found.max()}, and the model has {classes} classes: count "
                         "them from 0")
    return found.astype(np.int64)
