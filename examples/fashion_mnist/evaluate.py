"""Accuracy of the float and of the integer network on the whole test set: ``python -m examples.fashion_mnist.evaluate --data FILE``."""

import argparse

import numpy as np

from quant import example
from sim import golden

from .train import accuracy, load_data


def main(arguments=None):
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="see train.py")
    _, (images, labels) = load_data(parser.parse_args(arguments).data)
    loaded = example.load("fashion_mnist")
    network = loaded.net.export()
    answers = np.concatenate([golden.run(network, images[at:at + 500])[network.output].reshape(-1, 10).argmax(1)
                              for at in range(0, len(images), 500)])
    print(f"float {accuracy(loaded.model, images, labels):.2%}, integer {(answers == labels).mean():.2%} of {len(images)} images")


if __name__ == "__main__":
    main()
