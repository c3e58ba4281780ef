"""One row of the bench: a recipe on a network, measured."""

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
import platform
import resource
import time

import numpy as np
from scipy.special import log_softmax
import torch

import boards
from sim import golden
from sim.estimate import engine, layer_cycles
from spec.coding import code_lengths, entropy
from spec.errors import AlloyError
from spec.operators.convolution import Conv
from spec.systems import DIGIT_BITS, DSP, SYSTEMS

from ..qat import Training
from ..quantize import CALIBRATION, Report, Source
from ..recipes import VARIANTS
from ..sketch import sketch
from .data import Task
from .paired import pack

__all__ = ["Prepared", "prepare", "measure", "counted", "BOARDS"]

BOARDS = ("zcu102", "pynq-z2")
TABLE_BITS = 48
TRAINING = {"resnet8": Training(epochs=8, reassign=2, mirror=True), "resnet20": Training(epochs=1, mirror=True)}


def _divergence(exact, logits):
    """Kullback-Leibler divergence (nats) of ``logits`` from ``exact`` for each image, both (N, classes)."""
    one, two = log_softmax(exact.astype(float), 1), log_softmax(logits.astype(float), 1)
    return (np.exp(one) * (one - two)).sum(1)


def _measured(net, network, prepared):
    """What a quantized network answers to the test images, beside the float network: a part of a row."""
    (tests, labels), out = prepared.task.test, network.tensors[network.output]
    codes = network.run(tests).reshape(len(tests), -1)
    real, found = prepared.logits.argmax(1), codes.argmax(1)
    right, agreed, float_right = found == labels, found == real, real == labels
    distance = _divergence(prepared.logits, (codes - out.zero) * out.scale)

    def share(flags):
        return round(100 * float(flags.mean()), 2)
    return {"images": len(tests), "float_top1": share(float_right), "fake_top1": share(right), "int_top1": share(right),
            "stderr": round(100 * float(right.std()) / len(tests) ** 0.5, 2), "agree": share(agreed),
            "divergence": round(float(distance.mean()), 5),
            "divergence_error": round(float(distance.std()) / len(tests) ** 0.5, 5),
            "right": pack(right), "agreed": pack(agreed), "float_right": pack(float_right)}


def _sizes(network):
    """Bytes of packed weight codes, of the same Huffman-coded with its tables, and their entropy.

    Codes of more than 4 bits are coded as two digits; each digit of each number system in a layer has a table.
    """
    packed, coded, bound = 0, 0, 0.0
    for node in network.nodes:
        if not isinstance(node, Conv):
            continue
        for scheme in np.unique(node.scheme):
            width = SYSTEMS[int(scheme)].bits(node.codebook if node.codebook.size else None)
            part = node.weight[node.scheme == scheme].ravel()
            packed += part.size * width
            for digit in DSP.digits(part, 2 if width > DIGIT_BITS else 1):
                symbols = np.unique(digit, return_inverse=True)[1]
                coded += int(code_lengths(np.bincount(symbols, minlength=16))[symbols].sum()) + TABLE_BITS
                bound += entropy(symbols) * symbols.size
    return (-(-int(v) // 8) for v in (packed, coded, np.ceil(bound)))


def _cycles(network):
    """Predicted cycles and frames per second on each board (one image in flight), or the reason why not."""
    cycles: dict[str, int | str] = {}
    fps: dict[str, float | None] = {}
    for name in BOARDS:
        board = boards.get(name)
        try:
            cycles[name] = count = round(sum(layer_cycles(network, board).values()))
            fps[name] = round(board.clock_mhz * 1e6 / count, 1)
        except AlloyError as error:
            cycles[name], fps[name] = str(error), None
    return cycles, fps


@dataclass
class Prepared:
    """What the recipes of a network share: the network and the images to quantize it with."""
    task: Task
    source: Source
    say: Report = print

    @cached_property
    @torch.no_grad()
    def logits(self) -> np.ndarray:
        """The float network's, of the tests: (N, classes)."""
        self.say(f"{self.task.name}: float answers to {len(self.task.test[0])} images")
        return golden.outputs(lambda x: self.task.model(self.source.normalization.real(x)), self.task.test[0])


def prepare(task: Task, *, seed: int = 0, say: Report = print) -> Prepared:
    """:class:`Prepared` for a task."""
    images = task.train[0]
    picked = images[np.random.default_rng(seed).permutation(len(images))[:CALIBRATION]]
    return Prepared(task, Source(task.model, picked, task.mean, task.std, True, task.mirror, seed, shared=True), say)


def _trained(variant, prepared, plan, net, board, folder):
    """Train ``net`` in place; returns the checkpoint that it has left."""
    task, seed = prepared.task, prepared.source.seed
    path = Path(folder) / f"{variant}-{task.name}-{seed}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    prepared.source.train(net, plan, task.train, replace(TRAINING[task.name], seed=seed), VARIANTS[variant], board,
                          checkpoint=path)
    return path


def measure(variant: str, prepared: Prepared, mode: str = "ptq", *, board: str = "zcu102",
        folder: str | Path = "build/bench", say: Report = print) -> dict:
    """Measure one row: a dict with the keys of docs/results/quant.md. Trainings (``mode`` "qat") keep their checkpoints
    in ``folder``."""
    chosen, began, task, source = VARIANTS[variant], time.time(), prepared.task, prepared.source

    def report(text):
        say(f"{variant} {task.name}: {text}")
    source.report = report
    plan, net = source.net(chosen, board)
    path = _trained(variant, prepared, plan, net, board, folder) if mode == "qat" else None
    network = net.export(task.name)
    report(f"accuracy on {len(task.test[0])} images")
    measured = _measured(net, network, prepared)
    report("cycles")
    cycles, fps = _cycles(network)
    packed, coded, bound = _sizes(network)
    if path:
        path.unlink(missing_ok=True)        # it would have served an interrupted run
    bits, weights = plan.weight_bits(source.graph)
    return {
        "recipe": variant, "network": task.name, "data": task.data, "mode": mode,
        "note": _note(chosen, plan, prepared, mode), "calibration": len(source.images) * (1 + task.mirror), **measured,
        "bits_per_weight": round(bits / weights, 3), "weight_bytes": packed, "compressed_bytes": coded,
        "entropy_bytes": bound, "shares": {k: round(v, 4) for k, v in plan.shares(source.graph).items()},
        "act_bits": plan.bits, "board": list(BOARDS), "cycles": cycles, "fps": fps, "seed": source.seed,
        "date": date.today().isoformat(), "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "seconds": round(time.time() - began),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20, 1)}


def counted(row: dict, prepared: Prepared, *, board: str = "zcu102", say: Report = print) -> dict:
    """A row with its cycles predicted anew, for what the recipe decides; nothing is calibrated or measured. A training
    that has chosen number systems anew is not known here: its row has the cycles of what it began with."""
    source = prepared.source
    source.report = lambda text: say(f"{row['recipe']} {row['network']}: {text}")
    chosen = VARIANTS[row["recipe"]]
    graph, plan = source.planned(chosen, board)
    network, _, refused = sketch(graph, chosen, engine(board), plan)
    if refused:
        raise refused[0]
    cycles, fps = _cycles(network)
    return row | {"board": list(BOARDS), "cycles": cycles, "fps": fps, "counted": date.today().isoformat()}


def _note(chosen, plan, prepared, mode):
    """What a row is, in words."""
    epochs, bounded = TRAINING[prepared.task.name].epochs if mode == "qat" else 0, prepared.source.graph.bounded
    note = chosen.note + (f", {epochs} epoch" + "s" * (epochs > 1) if epochs else "")
    return note + (f", {len(plan.wide)} of {len(bounded)} tensors A8" if plan.wide else "")
