"""How far an integer network is from the quantized file that it was read from, all layers together."""

from collections.abc import Sequence

import numpy as np

from spec.network import Network

from .emit import NEAR, Finding

__all__ = ["IMAGES", "file_codes", "together"]

IMAGES = 8              # at most
WORK = 2e9              # multiply-accumulates that are spent on all of them


def file_codes(network: Network, findings: Sequence[Finding], images: np.ndarray,
               change: float = 0.0) -> dict[str, np.ndarray]:
    """Codes of every tensor as :meth:`spec.network.Network.codes` has them, each layer computed by the file's own
    arithmetic; ``change`` is added before each rounding, in codes, where that is of 32-bit numbers."""
    sources = {one.layer: one.source for one in findings if one.source}
    tensors = {network.input: np.asarray(images, np.int64)}
    for node in network.nodes:
        codes = [tensors[name] for name in node.inputs]
        source = sources.get(node.name)
        tensors[node.output] = source(network, *codes, change=change) if source else node.run(network, *codes)
    return tensors


def together(network: Network, findings: Sequence[Finding], seed: int = 0) -> Finding | None:
    """The output beside the file's arithmetic on random images; None where every layer is exact.

    A code that one layer rounds otherwise is read by the next ones, so no bound of each layer by itself is one of the
    output. The file's 32-bit numbers are only known as well as these are added up: what comes out if all of them were a
    little larger, or smaller, counts as well.
    """
    if not any(one.source for one in findings):
        return None
    macs = sum(node.macs(network) for node in network.nodes)
    images = _images(network, int(np.clip(WORK / max(macs, 1), 1, IMAGES)), seed)
    ours = network.codes(images)[network.output]
    off = np.max([np.abs(ours - file_codes(network, findings, images, change)[network.output])
                  for change in (0.0, NEAR, -NEAR)], 0)
    share, most = float((off > 0).mean()), int(off.max())
    count = f"{len(images)} random image{'s' * (len(images) != 1)}"
    what = (f"the output has the codes of the file on {count}" if most == 0 else
            f"the output differs by at most {most} code{'s' * (most != 1)} for a share of {share:.2g} of its values on "
            f"{count}, because each layer reads what those before it have rounded")
    return Finding("the output", share, most, f"all layers together: {what}")


def _images(network, count, seed):
    """Random codes: from one number for each pixel to blocks of many, as images have both."""
    draw, tensor = np.random.default_rng(seed), network.tensors[network.input]
    found = []
    for at in range(count):
        size = 1 << at % 4
        rows, cols = -(-tensor.height // size), -(-tensor.width // size)
        coarse = draw.integers(0, 1 << tensor.bits, (tensor.channels, rows, cols))
        found.append(coarse.repeat(size, 1).repeat(size, 2)[:, :tensor.height, :tensor.width])
    return np.stack(found)
