"""``python -m quant``: the shipped example to an integer network file, with its accuracies."""

import sys
from typing import Annotated

from typer import Option

from examples import EXAMPLES, paths
from spec.entry import entry
from spec.files import check_outputs
from spec.progress import going, say

from . import example

__all__ = ["main"]


@entry("python -m quant", "--out build/network.npz")
def main(
    out: Annotated[str, Option(help="integer network to write (.npz)")],
    name: Annotated[str, Option("--example", help=f"one of {', '.join(EXAMPLES)}")] = "fashion_mnist",
) -> int:
    """Quantize the shipped example to an integer network file.

    Its accuracies are measured and shown.
    """
    check_outputs(out, inputs=paths(name))
    loaded = example.load(name)
    network = loaded.quantized()
    network.save(out)
    for scheme, filters in example.mix(network).items():
        print(f"{filters:5} filters {scheme}")
    with going(say, "measuring the accuracy", 10):
        accuracies = loaded.accuracies(network)
    for kind, value in accuracies.items():
        print(f"accuracy {kind} {100 * value:.2f} % of {len(loaded.images)} images")
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
