"""``python -m examples.soc``."""

from pathlib import Path
import re
import sys
from typing import Annotated

import numpy as np
from typer import Option

from compiler import compile
from examples import paths
from rtl.generate import generate
from spec.entry import Outcome, entry
from spec.errors import AlloyError, Failed
from spec.files import check_folder, read_arrays
from spec.network import Network
from spec.progress import going, say

from .firmware import firmware
from .system import CONFIG, SYSTEMS, Run, build, run

__all__ = ["compared", "main"]

EXAMPLE = "fashion_mnist"
CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
LINE = re.compile(r"image (\d+): class (\d+)(?: \(.*\))?, (\d+) cycles, codes((?: \d+)*)")


def compared(found: Run, expected: np.ndarray) -> list[bool]:
    """Whether class and codes that the processor has printed are those ``expected`` (N, C), image by image.

    Raises :class:`Failed` if the software has ended with an error.
    """
    if found.status:
        raise Failed(f"the software has ended with an error: {(*found.lines[-1:], found.note)[0]}")
    told = {int(number): (int(best), [int(code) for code in codes.split()]) for number, best, _, codes in
            LINE.findall("\n".join(found.lines))}
    return [told.get(number) == (int(codes.argmax()), codes.tolist()) for number, codes in enumerate(expected)]


def _network(path):
    if path is not None:
        return Network.load(path)
    from quant import example       # not before: a network that is there needs no PyTorch
    with going(say, "quantizing the example"):
        return example.load(EXAMPLE).quantized(report=None)


@entry("python -m examples.soc", "--system litex --images 1")
def main(
    system: Annotated[str, Option(help=f"one of {', '.join(SYSTEMS)}")] = "verilog",
    images: Annotated[int, Option(min=1, max=100, help="of the example's test images, the first")] = 2,
    network: Annotated[str | None, Option(help="integer network for images of 28 x 28",
                                          show_default="the example, quantized now")] = None,
    limit: Annotated[int, Option(min=1, help="cycles after which the simulation ends")] = 100_000_000,
    out: Annotated[str, Option(help="directory of the simulators and of the processor's software")] = "build/soc",
) -> Outcome:
    """Let a RISC-V processor classify images on the engine beside it, in one simulation.

    It runs the C driver and says over its UART what it has found, which is compared with the golden model: exit status
    1 if anything differs, or if the software ends with an error.
    """
    if system not in SYSTEMS:
        raise AlloyError(f"there is no system {system!r}: choose {', '.join(SYSTEMS)}")
    check_folder(out)
    net, data = _network(network), read_arrays(paths(EXAMPLE)[2], needed=("images", "labels"))
    pictures, labels = data["images"][:images], data["labels"][:images]
    expected = net.codes(pictures)[net.output].reshape(images, -1)
    with going(say, "compiling the network and elaborating the engine"):
        classes = CLASSES if net.tensors[net.output].channels == len(CLASSES) else ()
        program, engine = compile(net, CONFIG, classes=classes), generate(CONFIG)["alloy.v"]
    folder = Path(out, system)
    memory = firmware(program, CONFIG, pictures, folder, irq=SYSTEMS[system].irq)
    simulator = build(system, engine, out, say=say)
    found = run(system, simulator, memory, folder, limit=limit, show=lambda line: print(f"uart: {line}", flush=True))
    print(found.note)
    same = compared(found, expected)
    print(f"labels: {', '.join(CLASSES[label] for label in labels)}")
    print(f"bit-exact: {sum(same)} of {images} images")
    return int(not all(same)), {"system": system, "images": images, "bit_exact": sum(same), "uart": found.lines,
                                "labels": labels.tolist(), "note": found.note}


if __name__ == "__main__":
    sys.exit(main())
