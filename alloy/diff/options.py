"""What can be said about a comparison: the options of ``alloy quantize`` and a few more."""

from quant.options import QuantizeOptions, option

__all__ = ["DiffOptions", "BESIDE"]

# Options that can be given beside the folder of a flow, which has the others.
BESIDE = {"model", "compare", "simulate", "cache", "network", "program"}


class DiffOptions(QuantizeOptions, frozen=True):
    """A model, its images, how it is quantized, and what is compared."""
    platform: str | None = option(None, "board whose engine is compared, too (quantized for zcu102 without)",
                                  "Quantization")
    compare: int = option(16, "test images for float and integers", "Comparison", ge=1)
    simulate: int = option(2, "test images that run in RTL", "Comparison", ge=1)
    network: str | None = option(None, "integer network (.npz) instead of the one that is made of the model",
                                 "Comparison")
    program: str | None = option(None, "program file instead of the compiler's", "Comparison")
    cache: str = option("build/cache", "folder of built simulators", "Comparison")
