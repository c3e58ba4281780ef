"""Quantization-aware training of a :class:`quant.net.QuantNet`, after post-training quantization.

Straight-through gradients, learned scales (Esser et al., LSQ, ICLR 2020), distillation from the float network (Hinton et al.,
arXiv:1503.02531) and a moving average of the weights. Runs on a GPU if there is one; under ``torchrun`` each process takes its share of every
batch. The same seed gives the same network on the same hardware.
"""

from dataclasses import dataclass
from hashlib import sha256
import io
import os
from pathlib import Path
import pickle

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spec.errors import AlloyError
from spec.files import read_bytes, replacing
from spec.looks import looks_like

from .ptq import IMAGES, reassign

__all__ = ["Training", "fine_tune"]

SLOW = 0.1      # learning rate of scales, as a part of the others'


@dataclass(frozen=True)
class Training:
    """Settings of one training.

    Attributes
    ----------
    rate : largest learning rate of the one-cycle schedule, in levels of a weight per step (Adam).
    batch : images of a step, of all processes together.
    distillation : weight of the teacher's part of the loss, the rest is cross entropy with the labels; temperature of its answers.
    reassign : epochs between two assignments of number systems (0: keep the first), until the share ``freeze`` of all epochs is over.
    average : decay of the moving average in each step. shift : largest shift of the augmentation, in pixels; half of the images are mirrored.
    """
    epochs: int = 4
    batch: int = 128
    rate: float = 1e-3
    distillation: float = 0.5
    temperature: float = 4.0
    average: float = 0.998
    shift: int = 2
    reassign: int = 0
    freeze: float = 2 / 3
    seed: int = 0


def _augment(images, shift, zero, generator):
    """Mirrored and shifted copies of a batch of codes (N, C, H, W); what comes in has the code ``zero``."""
    flip = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    dy, dx = torch.randint(0, 2 * shift + 1, (2,), generator=generator).tolist()
    height, width = images.shape[2:]
    return F.pad(images, (shift,) * 4, value=zero)[:, :, dy:dy + height, dx:dx + width]


def _loss(logits, labels, target, settings):
    plain = F.cross_entropy(logits, labels)
    if not settings.distillation:
        return plain
    t = settings.temperature
    soft = F.kl_div(F.log_softmax(logits / t, 1), F.log_softmax(target / t, 1), reduction="batchmean", log_target=True) * t * t
    return (1 - settings.distillation) * plain + settings.distillation * soft


class _Levels:
    """The learned parameters counted in levels: weights and biases in the steps they are rounded to, scales in their first value.

    :mod:`quant.equalize` gives channels any scale; a step of the optimizer must not depend on it. :attr:`groups` are the optimizer's.
    """

    def __init__(self, net, settings):
        units = {}
        for layer in net.graph.weighted:
            scale = net.scales[layer.name].detach().abs()
            for group, unit in ((net.weights, scale[:, None, None, None]), (net.scales, scale), (net.biases, net.step(layer.output).detach())):
                units[id(group[layer.name])] = unit.clone()
        learned = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self.units = {name: units.get(id(p), torch.ones_like(p)) for name, p in learned.items()}
        self.learned, self.values = learned, {name: nn.Parameter(p.detach() / self.units[name]) for name, p in learned.items()}
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
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError, OSError, AttributeError):
        raise AlloyError(f"{path} is not a whole checkpoint of a training: it looks like {looks_like(data, path)}; "
                         "remove it or name another file") from None


def fine_tune(net, teacher, images, labels, settings, *, assignment=None, penalty=None, checkpoint=None, report=None):
    """Train ``net`` in place.

    Parameters
    ----------
    teacher : float model that reads ``(code - zero) * input_scale``.
    images : input codes uint8 (N, C, H, W); labels int64 (N,).
    assignment : called with the float graph as it is then, gives the number systems of every layer (settings.reassign).
    penalty : called with the network, gives what is added to the loss.
    checkpoint : file that holds the state after every epoch; if it exists, training goes on from it. :class:`AlloyError` if it is of another network
        or of other settings.
    report : called with (epoch, epochs, mean loss) after each epoch.
    """
    net.check()
    if not net.graph.logits:
        raise AlloyError("training needs the logits of a classifier: say trace(model, shape, logits=True) if the outputs are")
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    if size > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    net.to(device).train()
    teacher = teacher.to(device).eval()
    model = DistributedDataParallel(net) if size > 1 else net
    zero, batches = net.zeros[net.graph.input], len(images) // settings.batch
    levels = _Levels(net, settings)
    optimizer = torch.optim.Adam(levels.groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in levels.groups],
                                                   total_steps=settings.epochs * batches, pct_start=0.1, cycle_momentum=False)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
    parts = {"net": net, "optimizer": optimizer, "schedule": schedule, "average": average, "levels": levels}
    first, path, start = 0, Path(checkpoint) if checkpoint else None, _start(net, settings)
    if path and path.exists():
        state = _checkpoint(path, device)
        if state.pop("start", None) != start:
            raise AlloyError(f"{path} is the checkpoint of another training (other number systems, bits or settings): remove it or name another file")
        first = state.pop("epoch")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    pixels, answers = torch.from_numpy(images), torch.from_numpy(np.asarray(labels, np.int64))
    for epoch in range(first, settings.epochs):
        if assignment and settings.reassign and epoch and epoch % settings.reassign == 0 and epoch < settings.freeze * settings.epochs:
            schemes = assignment(net.float_graph())
            some = torch.randperm(len(images), generator=torch.Generator().manual_seed(settings.seed))[:IMAGES]
            for module in (net, average.module):
                reassign(module, schemes, (pixels[some].float() - zero) * net.input_scale)
            levels.read()
        generator = torch.Generator().manual_seed(settings.seed * 1000 + epoch)
        order, total = torch.randperm(len(images), generator=generator), 0.0
        for at in range(0, batches * settings.batch, settings.batch):
            pick = order[at:at + settings.batch]
            batch = _augment(pixels[pick], settings.shift, zero, generator)[rank::size].to(device)
            x = (batch.float() - zero) * net.input_scale
            with torch.no_grad():
                target = teacher(x)
            loss = _loss(model(x), answers[pick][rank::size].to(device), target, settings) + (penalty(net) if penalty else 0)
            net.zero_grad()
            loss.backward()
            levels.gradients()
            optimizer.step()
            schedule.step()
            levels.write()
            average.update_parameters(net)
            total += float(loss.detach())
        if path and rank == 0:
            with replacing(path) as partial:
                torch.save({"start": start, "epoch": epoch + 1, **{name: part.state_dict() for name, part in parts.items()}}, partial)
        if report:
            report(epoch + 1, settings.epochs, total / batches)
    net.load_state_dict(average.module.state_dict())
    return net.cpu().eval()
