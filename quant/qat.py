"""Quantization-aware training of a :class:`quant.net.QuantNet`, after post-training quantization.

Straight-through gradients, learned scales (Esser et al., LSQ, ICLR 2020), distillation from the float network (Hinton
et al., arXiv:1503.02531) and a moving average of the weights. Runs on a GPU if there is one; under ``torchrun`` each
process takes its share of every batch. The same seed gives the same network on the same hardware.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
import io
import os
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spec.errors import AlloyError
from spec.files import read_bytes, replacing
from spec.looks import looks_like

from .integers import check
from .net import QuantNet
from .ptq import IMAGES, reassign
from .weights import DAMAGED

__all__ = ["Training", "fine_tune"]

SLOW = 0.1      # learning rate of scales, as a part of the others'


@dataclass(frozen=True)
class Training:
    """Settings of one training.

    Attributes
    ----------
    rate : largest learning rate of the one-cycle schedule, in levels of a weight per step (Adam).
    batch : images of a step, of all processes together.
    distillation : weight of the teacher's part of the loss, the rest is cross entropy with the labels; temperature of
        its answers.
    reassign : epochs between two assignments of number systems (0: keep the first), until the share ``freeze`` of all
        epochs is over.
    average : decay of the moving average in each step.
    shift, mirror : augmentation: the largest shift, in pixels, and whether half of the images are mirrored.
    """
    epochs: int = 4
    batch: int = 128
    rate: float = 1e-3
    distillation: float = 0.5
    temperature: float = 4.0
    average: float = 0.998
    shift: int = 2
    mirror: bool = False
    reassign: int = 0
    freeze: float = 2 / 3
    seed: int = 0

    def __post_init__(self):
        if self.epochs < 1 or self.batch < 1 or self.shift < 0 or self.reassign < 0:
            raise AlloyError(f"training of {self.epochs} epochs in batches of {self.batch}, shifts of {self.shift}, a "
                             f"new assignment every {self.reassign}: epochs and batch are 1 or more, the others 0 or "
                             "more")
        shares = 0 <= self.distillation <= 1 and 0 <= self.average < 1
        if not (self.rate > 0 and self.temperature > 0 and shares):
            raise AlloyError(f"training with the rate {self.rate}, temperature {self.temperature}, distillation "
                             f"{self.distillation} and average {self.average}: rate and temperature are above 0, the "
                             "others 0 or more and at most 1 (average: less)")

    def reassigns(self, epoch: int) -> bool:
        """Whether number systems are chosen anew before an epoch, counted from 0."""
        return bool(self.reassign and epoch) and epoch % self.reassign == 0 and epoch < self.freeze * self.epochs

    def batches(self, count: int) -> int:
        """Steps of an epoch of so many images, the rest is left for the next; :class:`AlloyError` if there is none."""
        if count < self.batch:
            raise AlloyError(f"{count} images are less than one batch of {self.batch}: give more, or a Training with a "
                             "smaller batch")
        return count // self.batch


def _augment(images, settings, zero, generator):
    """Mirrored and shifted copies of a batch of codes (N, C, H, W); what comes in has the code ``zero``."""
    shift, flip = settings.shift, torch.rand(len(images), generator=generator) < 0.5 * settings.mirror
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    dy, dx = torch.randint(0, 2 * shift + 1, (2,), generator=generator).tolist()
    height, width = images.shape[2:]
    return F.pad(images, (shift,) * 4, value=zero)[:, :, dy:dy + height, dx:dx + width]


def _loss(logits, labels, target, settings):
    plain = F.cross_entropy(logits, labels)
    if not settings.distillation:
        return plain
    t = settings.temperature
    found, wanted = F.log_softmax(logits / t, 1), F.log_softmax(target / t, 1)
    soft = F.kl_div(found, wanted, reduction="batchmean", log_target=True) * t * t
    return (1 - settings.distillation) * plain + settings.distillation * soft


class _Levels:
    """The learned parameters counted in levels: weights and biases in the steps they are rounded to, scales in their
    first value.

    :mod:`quant.equalize` gives channels any scale; a step of the optimizer must not depend on it. :attr:`groups` are
    the optimizer's.
    """

    def __init__(self, net, settings):
        units = {}
        for layer in net.graph.layers:
            if not layer.learned:
                continue
            name = layer.name
            units[id(net.biases[name])] = net.step(layer.output).detach().clone()
            if layer.weighted:
                scale = net.scales[name].detach().abs()
                units[id(net.scales[name])] = scale.clone()
            else:       # a change of this much moves the largest code by one
                scale = (net.step(layer.output) / net.step(layer.input)).detach().expand(len(layer.weight)) / 255
            units[id(net.weights[name])] = scale[:, None, None, None].clone()
        learned = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self.units = {name: units.get(id(p), torch.ones_like(p)) for name, p in learned.items()}
        self.learned = learned
        self.values = {name: nn.Parameter(p.detach() / self.units[name]) for name, p in learned.items()}
        slow = [value for name, value in self.values.items() if name.startswith(("scales.", "steps."))]
        fast = [value for name, value in self.values.items() if not name.startswith(("scales.", "steps."))]
        self.groups = [{"params": fast, "lr": settings.rate}, {"params": slow, "lr": settings.rate * SLOW}]

    def gradients(self):
        """Take over the gradients of the network."""
        for name, value in self.values.items():
            value.grad = self.learned[name].grad * self.units[name]

    @torch.no_grad()
    def write(self):
        """Give the values to the network."""
        for name, value in self.values.items():
            self.learned[name].copy_(value * self.units[name])

    @torch.no_grad()
    def read(self):
        """Take the values from the network, which something else has changed."""
        for name, value in self.values.items():
            value.copy_(self.learned[name] / self.units[name])

    def state_dict(self):
        return {"units": self.units, "values": {name: value.detach() for name, value in self.values.items()}}

    @torch.no_grad()
    def load_state_dict(self, state):
        self.units = state["units"]
        for name, value in self.values.items():
            value.copy_(state["values"][name])


def _start(net, settings):
    """What tells one training from another: a digest of number systems, bits and settings at its start."""
    digest = sha256(repr((settings, net.bits)).encode())
    for name, schemes in net.schemes.items():
        digest.update(name.encode() + schemes.tobytes())
    return digest.hexdigest()


def _checkpoint(path, device):
    """What :func:`fine_tune` saved; any damage is one :class:`AlloyError`."""
    data = read_bytes(path, "checkpoint")
    try:
        state = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        return {**state, "start": state["start"]}
    except DAMAGED:
        raise AlloyError(f"{path} is not a whole checkpoint of a training: it looks like {looks_like(data, path)}; "
                         "remove it or name another file") from None


class _Run:
    """One training of a network: its processes and devices, what is kept from step to step, and the step itself."""

    def __init__(self, net, teacher, images, labels, settings):
        self.size, self.rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        local = int(os.environ.get("LOCAL_RANK", 0))
        self.device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
        if self.size > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        self.net, self.teacher, self.settings = net.to(self.device).train(), teacher.to(self.device).eval(), settings
        self.model = DistributedDataParallel(net) if self.size > 1 else net
        self.pixels, self.answers = torch.from_numpy(images), torch.from_numpy(np.asarray(labels, np.int64))
        self.zero, self.batches = net.zeros[net.graph.input], settings.batches(len(images))
        self.levels = _Levels(net, settings)
        self.optimizer = torch.optim.Adam(self.levels.groups)
        rates = [group["lr"] for group in self.levels.groups]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rates, total_steps=settings.epochs * self.batches, pct_start=0.1, cycle_momentum=False)
        self.average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
        self.kept = {"net": net, "optimizer": self.optimizer, "schedule": self.schedule, "average": self.average,
                     "levels": self.levels}
        self.start = _start(net, settings)

    def resume(self, path):
        """Go on from a checkpoint; returns the number of epochs that it has behind it."""
        state = _checkpoint(path, self.device)
        if state["start"] != self.start:
            raise AlloyError(f"{path} is the checkpoint of another training (other number systems, bits or settings): "
                             "remove it or name another file")
        for name, part in self.kept.items():
            part.load_state_dict(state[name])
        return state["epoch"]

    def save(self, path, epochs):
        """Write a checkpoint of so many epochs."""
        state = {name: part.state_dict() for name, part in self.kept.items()}
        with replacing(path) as partial:
            torch.save({"start": self.start, "epoch": epochs, **state}, partial)

    def reassign(self, schemes):
        """Other number systems."""
        some = torch.randperm(len(self.pixels), generator=torch.Generator().manual_seed(self.settings.seed))[:IMAGES]
        assert isinstance(self.average.module, QuantNet)
        for net in (self.net, self.average.module):
            reassign(net, schemes, self._real(self.pixels[some]))
        self.levels.read()

    def _real(self, codes):
        return (codes.float() - self.zero) * self.net.input_scale

    def epoch(self, number, penalty):
        """One pass over the images; returns the mean loss."""
        generator, total = torch.Generator().manual_seed(self.settings.seed * 1000 + number), 0.0
        order, batch = torch.randperm(len(self.pixels), generator=generator), self.settings.batch
        for at in range(0, self.batches * batch, batch):
            pick = order[at:at + batch]
            codes = _augment(self.pixels[pick], self.settings, self.zero, generator)[self.rank::self.size]
            labels = self.answers[pick][self.rank::self.size]
            total += self._step(self._real(codes.to(self.device)), labels.to(self.device), penalty)
        return total / self.batches

    def _step(self, x, labels, penalty):
        with torch.no_grad():
            target = self.teacher(x)
        loss = _loss(self.model(x), labels, target, self.settings) + (penalty(self.net) if penalty else 0)
        self.net.zero_grad()
        loss.backward()
        self.levels.gradients()
        self.optimizer.step()
        self.schedule.step()
        self.levels.write()
        self.average.update_parameters(self.net)
        return float(loss.detach())


def fine_tune(net: QuantNet, teacher: nn.Module, images: np.ndarray, labels: np.ndarray, settings: Training, *,
              assignment: Callable | None = None, penalty: Callable | None = None, checkpoint: str | Path | None = None,
              report: Callable | None = None) -> QuantNet:
    """Train ``net`` in place.

    Parameters
    ----------
    teacher : float model that reads ``(code - zero) * input_scale``; it is left in eval mode, on the device of the
        training.
    images : input codes uint8 (N, C, H, W); labels int64 (N,).
    assignment : called with the float graph as it is then, gives the number systems of every layer (settings.reassign).
    penalty : called with the network, gives what is added to the loss.
    checkpoint : file that holds the state after every epoch; if it exists, training goes on from it.
        :class:`AlloyError` if it is of another network or of other settings.
    report : called with (epoch, epochs, mean loss) after each epoch.
    """
    check(net)
    if not net.graph.logits:
        raise AlloyError("training needs the logits of a classifier: say trace(model, shape, logits=True) if the "
                         "outputs are")
    run, path = _Run(net, teacher, images, labels, settings), Path(checkpoint) if checkpoint else None
    first = run.resume(path) if path and path.exists() else 0
    for epoch in range(first, settings.epochs):
        if assignment and settings.reassigns(epoch):
            run.reassign(assignment(net.float_graph()))
        loss = run.epoch(epoch, penalty)
        if path and run.rank == 0:
            run.save(path, epoch + 1)
        if report:
            report(epoch + 1, settings.epochs, loss)
    net.load_state_dict(run.average.module.state_dict())
    return net.cpu().eval()
