"""``python -m quant``: the shipped example to an integer network file, with its accuracies."""

import argparse
import os
from pathlib import Path
import sys

from spec.errors import AlloyError

from . import example

__all__ = ["main"]


def main(arguments=None):
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m quant", description=__doc__)
    parser.add_argument("--example", default="fashion_mnist", help=f"one of {', '.join(example.EXAMPLES)}")
    parser.add_argument("--out", required=True, help="integer network to write (.npz)")
    args = parser.parse_args(arguments)
    try:
        loaded = example.load(args.example)
        network = loaded.net.export(args.example)
        out = Path(args.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".part")
        try:
            network.save(partial)
            os.replace(partial, out)
        finally:
            partial.unlink(missing_ok=True)
        for name, filters in loaded.mix().items():
            print(f"{filters:5} filters {name}")
        for name, value in loaded.accuracies(network).items():
            print(f"accuracy {name} {100 * value:.1f} % of {len(loaded.images)} images")
        print(f"written to {out}")
    except OSError as error:
        print(f"error: {args.out} cannot be written ({error.strerror}): choose another --out", file=sys.stderr)
        return 2
    except AlloyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
