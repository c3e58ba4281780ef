"""A user's model with its pictures: what ``alloy quantize`` and ``alloy flow`` work on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sim.estimate import Target
from spec.errors import AlloyError
from spec.network import Network
from spec.progress import telling

from .measure import Measured, measure
from .models import Loaded, find, load_model
from .net import QuantNet
from .normalize import Normalization
from .options import QuantizeOptions
from .pictures import Pictures, open_pictures, split
from .prepare import Preparation, from_transform, parse_numbers, parse_size
from .quantize import Report, quantize
from .recipes import variant

__all__ = ["Job", "network_name", "open_job", "prepared"]


@dataclass(frozen=True, eq=False)
class Job:
    """A model, the pictures that calibrate it and those that test it; ``mean`` and ``std`` are those of
    :func:`quant.quantize`."""
    options: QuantizeOptions
    model: nn.Module | Network
    calibration: Pictures
    test: Pictures
    mean: tuple | None
    std: tuple | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        channels, height, width = next(self.calibration.some([0]).batches(1)).shape[1:]
        return channels, height, width

    @property
    def name(self) -> str:
        """Of the network."""
        return self.options.name or network_name(self.options.model or "")

    def quantize(self, board: Target, report: Report, keep: Callable[[QuantNet], object] | None = None) -> Network:
        """The integer network for a board; ``keep`` is that of :func:`quant.quantize`."""
        assert isinstance(self.model, nn.Module)
        chosen, total = self.options, len(self.calibration)
        with telling(report) as step:
            codes = self.calibration.codes(lambda done: step(f"decoding, {done} of {total} pictures"))
        return quantize(self.model, codes, recipe=chosen.recipe, board=board, mean=self.mean, std=self.std,
                        logits=chosen.logits, mirror=chosen.mirror, name=self.name, seed=chosen.seed, report=report,
                        keep=keep)

    def measure(self, network: Network, report: Report) -> Measured:
        """How well a network does it, on the test part."""
        channels = network.tensors[network.input].channels
        with telling(report, "measuring") as step:
            return measure(self.model, network, self.test, Normalization.of(self.mean, self.std, channels), report=step)


def network_name(model: str) -> str:
    """A name for the network of a model: ``Net`` for ``models:Net``, ``net`` for ``files/net.pt2``."""
    return model.rpartition(":")[2].rpartition(".")[2] if ":" in model else Path(model).stem or "network"


def prepared(options: QuantizeOptions, loaded: Loaded) -> tuple[Preparation, tuple | None, tuple | None]:
    """(what is done with pictures, mean, std) for a model."""
    fields: dict = {"channels": options.channels or loaded.channels, "size": loaded.size}
    normal: dict = {}
    if options.transform is not None:
        more, normal = from_transform(find(options.transform), options.transform)
        fields |= more
    if options.size is not None:
        fields["size"] = parse_size(options.size)
    if options.resize is not None:
        fields["resize"] = options.resize
    fields["crop"] = options.crop or fields.get("crop", False)
    for key in ("mean", "std"):
        text = getattr(options, key)
        if text is not None:
            normal[key] = parse_numbers(key, text)
    words = {getattr(options, key) for key in ("mean", "std")} - {None}
    if words == {"imagenet"}:       # said once, it is both
        normal = {key: parse_numbers(key, "imagenet") for key in ("mean", "std")}
    if loaded.size is not None and fields["size"] != loaded.size:
        raise AlloyError(f"{options.model} takes images of {'x'.join(map(str, loaded.size))}, and these would be "
                         f"{'x'.join(map(str, fields['size']))}: leave out --size")
    return Preparation(**fields), normal.get("mean"), normal.get("std")


def open_job(options: QuantizeOptions, report: Report, *, quantized: bool = False) -> Job:
    """Load the model and look at the pictures; all that is wrong with the options is refused here. ``quantized``: the
    model may be an integer network."""
    variant(options.recipe)
    if options.model is None or options.images is None:
        raise AlloyError("there is a model and no images: give --images, a folder of pictures as the model will see "
                         "them" if options.model else "no model is given: give MODULE:NAME or a file")
    if options.test_labels is not None and options.test is None:
        raise AlloyError("--test-labels are those of --test, which is not given: use --labels")
    with telling(report, f"loading {options.model}"):
        return _opened(options, report, quantized)


def _opened(options, report, quantized):
    loaded = load_model(options.model, options.weights, parse_size(options.size) if options.size else None)
    model = loaded.model
    if isinstance(model, Network):
        _only_pixels(options, loaded, quantized)
    preparation, mean, std = prepared(options, loaded)
    if loaded.on_pixels is not None:
        model = loaded.on_pixels(mean, std)
    pictures = open_pictures(options.images, preparation, options.labels)
    if options.test is None:
        calibration, test = split(pictures, options.calibration, options.count, options.seed)
    else:
        calibration, test = _drawn(pictures, options.calibration, options.seed), open_pictures(
            options.test, preparation, options.test_labels)
        test = _drawn(test, options.count, options.seed) if options.count else test
    if isinstance(model, Network):
        channels, *size = model.tensors[model.output].shape
        classes = channels if size == [1, 1] and channels > 1 else None
    else:
        classes = _outputs(model, calibration, mean, std)
    return Job(options, model, calibration, _labelled(test, classes, report), mean, std)


def _only_pixels(options, loaded, quantized):
    """Refuse an integer network where there is nothing left to quantize, and what cannot be said about one."""
    if not quantized:
        raise AlloyError(f"{options.model} is quantized already: compile it with alloy compile, or give it to alloy "
                         "flow")
    for key in ("mean", "std", "transform"):
        if getattr(options, key) is not None and loaded.on_pixels is None:
            raise AlloyError(f"{options.model} is quantized already and reads pixels as they are: leave out --{key}")


def _drawn(pictures, count, seed):
    """At most so many, in their order."""
    return pictures.some(np.sort(np.random.default_rng(seed).permutation(len(pictures))[:count]))


@torch.no_grad()
def _outputs(model, pictures, mean, std):
    """Classes that a model tells apart, None if it gives no vector; runs it on one picture."""
    codes = next(pictures.some([0]).batches(1))
    try:
        out = model(Normalization.of(mean, std, codes.shape[1]).real(codes))
    except AlloyError:
        raise
    except Exception as error:      # forward is the user's
        size = "x".join(map(str, codes.shape[1:]))
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise AlloyError(f"the model cannot run on pictures of {size} ({why}): give --size (and --channels) of the "
                         "images that it was trained with") from None
    vector = isinstance(out, torch.Tensor) and out.ndim >= 2 and out.shape[1] > 1 and out[0].numel() == out.shape[1]
    return out.shape[1] if vector else None


def _labelled(pictures, classes, report):
    """The pictures without labels that cannot be the model's."""
    if pictures.labels is None:
        return pictures
    if classes is None or pictures.classes and len(pictures.classes) != classes:
        why = "gives no classes" if classes is None else f"tells {classes} classes apart"
        named = f"{len(pictures.classes)} kinds of labels" if pictures.classes else "labels"
        report(f"{pictures.path} has {named} and the model {why}: they are not used; give --labels, a CSV file with "
               "columns file and label, a number from 0")
        return pictures.unlabelled()
    low, high = int(pictures.labels.min()), int(pictures.labels.max())
    if low < 0 or high >= classes:
        raise AlloyError(f"the labels of {pictures.path} are {low} to {high}, and the model has {classes} classes: "
                         "count them from 0")
    return pictures
