"""The embedded example: what it loads, quantizes to and counts."""

import numpy as np
import pytest

from examples import paths
from examples.fashion_mnist.model import ResNet8
from quant import example
from spec.errors import AlloyError
from spec.numerics import Scheme


def test_weights_of_another_model():
    float_weights = paths("fashion_mnist")[0]
    assert example.load_float(ResNet8(), float_weights).linear.out_features == 10
    with pytest.raises(AlloyError, match="float.npz does not hold the weights of this model: .*") as error:
        example.load_float(ResNet8(classes=9), float_weights)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_it_is_quantized_as_its_page_says():
    """The quickest mix: one ratio in every layer, counted filter by filter."""
    loaded = example.load("fashion_mnist")
    network = loaded.quantized(report=None)
    schemes = np.concatenate([node.scheme for node in network.nodes if hasattr(node, "scheme")])
    assert example.mix(network) == {
        Scheme(s).name: int((schemes == s).sum()) for s in (Scheme.FIXED4, Scheme.FIXED8, Scheme.POT4)
    }
    assert network.name == loaded.name == "fashion_mnist" and (len(loaded.known), len(loaded.images)) == (256, 10_000)
    few = example.Example(loaded.name, loaded.model, loaded.known, loaded.images[:200], loaded.labels[:200])
    found = few.accuracies(network)
    assert (
        found["integer"] == (network.run(few.images).argmax(1) == few.labels).mean()
        and abs(found["float"] - found["integer"]) < 0.05
    )
