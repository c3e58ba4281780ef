"""``python -m quant``: a trained model and pictures, or the shipped example, to an integer network file, with its
accuracies."""

import sys
from typing import Annotated

from typer import Option

import boards
from examples import EXAMPLES, paths
from spec.config import EngineConfig
from spec.entry import Outcome, entry
from spec.errors import AlloyError
from spec.files import check_outputs
from spec.progress import going, say

from . import example
from .job import open_job
from .options import QuantizeOptions, collected, with_options

__all__ = ["main"]


@entry("python -m quant", "models:Net --weights net.pth --images photos --size 224 --mean imagenet --out net.npz")
@with_options(QuantizeOptions)
def main(
    given: dict,
    out: Annotated[str, Option(help="integer network to write (.npz)")],
    shipped: Annotated[str | None, Option("--example", help=f"a shipped one instead: {', '.join(EXAMPLES)}")] = None,
    options_file: Annotated[str | None, Option("--options", help="YAML file of these options; the command line wins")
                            ] = None,
) -> Outcome:
    """Quantize a trained model, or the shipped example, to an integer network file.

    Accuracies of the float model and of the integer network are measured on images that do not calibrate.
    """
    if not given and options_file is None:
        return _example(shipped or "fashion_mnist", out)
    if shipped is not None:
        raise AlloyError(f"--example {shipped} has its own model and images: leave out "
                         f"{'--' + next(iter(given)) if given else '--options'}")
    options = collected(QuantizeOptions, given, options_file)
    inputs = (options.model, options.weights, options.images, options.test, options.labels, options.test_labels,
              options.config, options_file)
    check_outputs(out, inputs=inputs)
    board = EngineConfig.load(options.config) if options.config else boards.get(options.platform or "zcu102")
    job = open_job(options, say)
    say(f"{job.name}: {len(job.calibration)} images calibrate, {len(job.test)} test")
    network = job.quantize(board, say)
    network.save(out)
    for scheme, filters in example.mix(network).items():
        print(f"{filters:5} filters {scheme}")
    measured = job.measure(network, say)
    for line in measured.lines():
        print(line)
    print(f"written to {out}")
    return 0, {"file": out, "filters": example.mix(network), "calibration": len(job.calibration),
               "test": measured.to_dict()}


def _example(name, out):
    check_outputs(out, inputs=paths(name))
    loaded = example.load(name)
    network = loaded.quantized()
    network.save(out)
    for scheme, filters in example.mix(network).items():
        print(f"{filters:5} filters {scheme}")
    with going(say, "measuring the accuracy", 10):
        accuracies = loaded.accuracies(network)
    for which, value in accuracies.items():
        print(f"accuracy {which} {100 * value:.2f} % of {len(loaded.images)} images")
    print(f"written to {out}")
    return 0, {"file": out, "filters": example.mix(network), "accuracy": accuracies, "images": len(loaded.images)}


if __name__ == "__main__":
    sys.exit(main())
