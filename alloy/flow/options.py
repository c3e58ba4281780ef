"""What can be said about a flow: the options of ``alloy quantize`` and a few more."""

from quant.options import QuantizeOptions, option

__all__ = ["FlowOptions"]


class FlowOptions(QuantizeOptions, frozen=True):
    """A model, its images, how it is quantized, the board and what is done on it."""
    platform: str | None = option(None, "board, see alloy build --help", "Quantization")
    simulate: int = option(2, "test images that run in RTL, each tensor compared with the golden model", "Engine", ge=1)
    synth: bool = option(False, "synthesize the engine, for its resources (minutes)", "Engine")
    cache: str = option("build/cache", "folder of built simulators", "Engine")
