"""``python -m quant``: the shipped example to an integer network file, with its accuracies."""

import argparse
import sys

from spec.errors import command_line
from spec.files import check_outputs
from spec.progress import going, say

from . import example

__all__ = ["main"]


@command_line
def main(arguments=None):
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m quant", description=__doc__)
    parser.add_argument("--example", default="fashion_mnist", help=f"one of {', '.join(example.EXAMPLES)}")
    parser.add_argument("--out", required=True, help="integer network to write (.npz)")
    args = parser.parse_args(arguments)
    check_outputs(args.out, inputs=example.paths(args.example))
    with going(say, f"quantizing {args.example}", 10):
        loaded = example.load(args.example)
        network = loaded.net.export(args.example)
    network.save(args.out)
    for name, filters in loaded.mix().items():
        print(f"{filters:5} filters {name}")
    with going(say, "measuring the accuracy", 10):
        accuracies = loaded.accuracies(network)
    for name, value in accuracies.items():
        print(f"accuracy {name} {100 * value:.2f} % of {len(loaded.images)} images")
    print(f"written to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
