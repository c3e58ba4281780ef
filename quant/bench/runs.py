"""One row of the bench: a recipe on a network, measured."""

from collections import namedtuple
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
import platform
import resource
import time

import numpy as np
from scipy.special import log_softmax
import torch

import boards
from compiler import compile
from sim import golden
from sim.cycle_model import model
from spec.coding import code_lengths, entropy
from spec.errors import AlloyError
from spec.numerics import split_weight
from spec.operators.convolution import Conv

from ..equalize import equalize
from ..imports import trace
from ..ptq import reconstruct
from ..qat import Training, fine_tune
from ..recipes import Request, make_plan
from ..recipes.plan import code_bits
from ..sensitivity import collect
from .paired import pack

__all__ = ["VARIANTS", "Prepared", "prepare", "run", "layer_cycles", "BOARDS"]

Variant = namedtuple("Variant", "recipe options bits note")        # bits that channels are equalized for
BOARDS = ("zcu102", "pynq-z2")
CALIBRATION, TABLE_BITS = 256, 48
TRAINING = {"resnet8": Training(epochs=8, reassign=2), "resnet20": Training(epochs=1)}

VARIANTS = {
    "fixed8": Variant("fixed", {"bits": 8, "act_bits": 8}, (8, 8), "8-bit weights and activations"),
    "fixed4": Variant("fixed", {"bits": 4, "act_bits": 4, "ends": 8}, (4, 4), "4-bit, first and last layer 8-bit"),
    "uniform4": Variant("fixed", {"bits": 4, "act_bits": 5}, (4, 5), "4-bit weights, A5"),
    "uniform4_a8": Variant("fixed", {"bits": 4, "act_bits": 8}, (4, 8), "4-bit weights, A8"),
    "ilmpq": Variant("ilmpq", {}, (4, 4), "60:35:5, A4; reconstruction of the eigenvalue"),
    "msq": Variant("msq", {}, (4, 4), "SP2 60 %, fixed-4 40 %, A4; reconstruction of the levels from a secondary source"),
    "ios_pot": Variant("ios_pot", {}, (4, 8), "PoT-4, A8; reconstruction"),
    "ios_pot3": Variant("ios_pot", {"bits": 3}, (4, 8), "PoT-3, A8; reconstruction"),
    "hbp": Variant("hbp", {}, (4, 5), "4 bits on average, A5; reconstruction"),
    "hbp_a8": Variant("hbp", {"act_bits": 8}, (4, 8), "4 bits on average, A8; reconstruction"),
    "nonuniform": Variant("nonuniform", {}, (4, 4), "16 levels for weights and for activations, single scale; reconstruction"),
    "nonuniform_scaled": Variant("nonuniform", {"single_scale": False}, (4, 4), "16 levels for weights and for activations; reconstruction"),
    "nonuniform_kq": Variant("nonuniform", {"quantiles": True}, (4, 4), "k-quantiles for weights, as published; reconstruction"),
    "film_qnn": Variant("film_qnn", {}, (4, 5), "95 % W4, 5 % W8, A5"),
    "film_qnn_a8": Variant("film_qnn", {"act_bits": 8}, (4, 8), "95 % W4, 5 % W8, A8"),
    "alloy": Variant("alloy", {}, (4, 5), "ours, A5, fewest cycles"),
    "alloy_more": Variant("alloy", {"slack": 0.25}, (4, 5), "ours, a quarter more cycles"),
    "alloy_a8": Variant("alloy", {"act_bits": 8}, (4, 8), "ours, A8, fewest cycles of the array"),
}


def _float_logits(task, images):
    with torch.no_grad():
        return golden.outputs(lambda x: task.model((torch.from_numpy(x).float() - task.zero) / 255), images)


def _divergence(exact, logits):
    """Kullback-Leibler divergence (nats) of ``logits`` from ``exact`` for each image, both (N, classes)."""
    one, two = log_softmax(exact.astype(float), 1), log_softmax(logits.astype(float), 1)
    return (np.exp(one) * (one - two)).sum(1)


def _measured(net, network, prepared):
    """What a quantized network answers to the test images, beside the float network: a part of a row."""
    (tests, labels), zero = prepared.task.test, net.zeros[network.output]
    codes = golden.outputs(lambda x: golden.run(network, x)[network.output], tests)
    wrong = (codes != golden.outputs(lambda x: net.codes(x, network)[network.output], tests)).any(1)
    if wrong.any():
        raise AlloyError(f"image {int(np.flatnonzero(wrong)[0])}: fake quantization and the golden model disagree")
    real, found = prepared.logits.argmax(1), codes.argmax(1)
    right, agreed, float_right = found == labels, found == real, real == labels
    distance = _divergence(prepared.logits, (codes - zero) * float(net.step(network.output).detach()))

    def share(flags):
        return round(100 * float(flags.mean()), 2)
    return {"images": len(tests), "float_top1": share(float_right), "fake_top1": share(right), "int_top1": share(right),
            "stderr": round(100 * float(right.std()) / len(tests) ** 0.5, 2), "agree": share(agreed),
            "divergence": round(float(distance.mean()), 5), "divergence_error": round(float(distance.std()) / len(tests) ** 0.5, 5),
            "right": pack(right), "agreed": pack(agreed), "float_right": pack(float_right)}


def _sizes(network):
    """Bytes of packed weight codes, of the same Huffman-coded with its tables, and their entropy.

    Codes of more than 4 bits are coded as two digits; each digit of each number system in a layer has a table.
    """
    packed = coded = bound = 0
    for node in network.nodes:
        if not isinstance(node, Conv):
            continue
        for scheme in np.unique(node.scheme):
            width = code_bits(scheme, node.codebook if node.codebook.size else None)
            part = node.weight[node.scheme == scheme].ravel()
            packed += part.size * width
            for digit in split_weight(part) if width > 4 else [part]:
                symbols = np.unique(digit, return_inverse=True)[1]
                coded += int(code_lengths(np.bincount(symbols, minlength=16))[symbols].sum()) + TABLE_BITS
                bound += entropy(symbols) * symbols.size
    return (-(-int(v) // 8) for v in (packed, coded, np.ceil(bound)))


def layer_cycles(network, board):
    """Cycles of every layer of an integer network on a board by the cycle model, ``{layer: cycles}``."""
    tables = any(isinstance(node, Conv) and node.table.size for node in network.nodes)
    config = replace(board.config, tables=2) if tables else board.config
    layers = model(compile(network, config), config, bytes_per_cycle=board.bytes_per_cycle(config), latency=board.latency)
    return {layer.name: layer.cycles for layer in layers}


def _cycles(network):
    """Predicted cycles and frames per second on each board (one image in flight), or the reason why not."""
    cycles, fps = {}, {}
    for name in BOARDS:
        board = boards.get(name)
        try:
            cycles[name] = round(sum(layer_cycles(network, board).values()))
            fps[name] = round(board.clock_mhz * 1e6 / cycles[name], 1)
        except AlloyError as error:
            cycles[name], fps[name] = str(error), None
    return cycles, fps


@dataclass
class Prepared:
    """What the recipes of a network share: images to quantize with, the float network's logits of the tests, and for the pair of bits
    (weights, activations) that was asked for last the equalized graph and its statistics, which may be gigabytes; the images as real inputs."""
    task: object
    seed: int
    images: np.ndarray
    logits: np.ndarray
    graphs: dict = field(default_factory=dict)

    @property
    def real(self):
        return (torch.from_numpy(self.images).float() - self.task.zero) / 255

    def graph(self, bits, say):
        """(graph, statistics) for ``bits`` of weights and activations."""
        if bits not in self.graphs:
            self.graphs.clear()
            say(f"{self.task.name}: equalization and statistics of {len(self.images)} images, {bits[0]}-bit weights, {bits[1]}-bit activations")
            def report(text):
                say(f"{self.task.name}: {text}")
            graph = equalize(trace(self.task.model, self.images.shape[1:], logits=True), self.real, weight_bits=bits[0], act_bits=bits[1],
                             seed=self.seed, report=report)
            self.graphs[bits] = graph, collect(graph, self.real, seed=self.seed, report=report)
        return self.graphs[bits]


def prepare(task, *, seed=0, say=print):
    """:class:`Prepared` for a task."""
    count = min(CALIBRATION, len(task.train[0]))
    images = task.train[0][np.random.default_rng(seed).permutation(len(task.train[0]))[:count]]
    say(f"{task.name}: float answers to {len(task.test[0])} images")
    return Prepared(task, seed, images, _float_logits(task, task.test[0]))


def run(variant, prepared, mode="ptq", *, board="zcu102", folder="build/bench", say=print):
    """Measure one row: a dict with the keys of docs/results/quant.md. Trainings (``mode`` "qat") keep their checkpoints in ``folder``."""
    chosen, began, task = VARIANTS[variant], time.time(), prepared.task
    graph, statistics = prepared.graph(chosen.bits, say)

    def planned(graph, statistics):
        return make_plan(chosen.recipe, Request(
            graph, statistics, boards.get(board).config, chosen.options, prepared.real, lambda network: layer_cycles(network, boards.get(board)),
            lambda text: say(f"{variant} {task.name}: {text}")))
    plan = planned(graph, statistics)
    net = plan.net(graph, input_zero=task.zero)
    reconstruct(net, prepared.images, seed=prepared.seed, mirror=task.mirror,
                report=lambda i, name: say(f"{variant} {task.name}: layer {i} of {len(graph.layers)} ({name})"))
    if mode == "qat":
        settings = TRAINING[task.name]
        path = Path(folder) / f"{variant}-{task.name}-{prepared.seed}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        fine_tune(net, task.model, *task.train, replace(settings, seed=prepared.seed), penalty=plan.penalty, checkpoint=path,
                  assignment=lambda current: planned(current, collect(current, prepared.real, seed=prepared.seed)).schemes,
                  report=lambda epoch, epochs, loss: say(f"{variant} {task.name}: epoch {epoch} of {epochs}, loss {loss:.3f}"))
    network = net.export(task.name)
    say(f"{variant} {task.name}: accuracy on {len(task.test[0])} images")
    measured = _measured(net, network, prepared)
    say(f"{variant} {task.name}: cycles")
    cycles, fps = _cycles(network)
    packed, coded, bound = _sizes(network)
    bits, weights = plan.weight_bits(graph)
    epochs = TRAINING[task.name].epochs if mode == "qat" else 0
    note = chosen.note + (f", {epochs} epoch" + "s" * (epochs > 1) if epochs else "")
    note += f", {len(plan.wide)} of {len(graph.bounded)} tensors A8" if plan.wide else ""
    if mode == "qat":
        path.unlink(missing_ok=True)        # it would have served an interrupted run
    return {
        "recipe": variant, "network": task.name, "data": task.data, "mode": mode, "note": note,
        "calibration": len(prepared.images) * (1 + task.mirror), **measured, "bits_per_weight": round(bits / weights, 3), "weight_bytes": packed,
        "compressed_bytes": coded, "entropy_bytes": bound, "shares": {k: round(v, 4) for k, v in plan.shares(graph).items()}, "act_bits": plan.bits,
        "board": list(BOARDS), "cycles": cycles, "fps": fps, "seed": prepared.seed, "date": date.today().isoformat(),
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} threads", "seconds": round(time.time() - began),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20, 1)}
