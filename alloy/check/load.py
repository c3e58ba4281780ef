"""Models by name, and the shape of their images."""

from quant.models import Loaded, load_model
from quant.prepare import parse_size
from spec.errors import AlloyError
from spec.network import Network

__all__ = ["load"]


def load(name: str, weights: str | None = None, size: str | None = None, shape: str | None = None
         ) -> tuple[Loaded, tuple[int, int, int]]:
    """(model, shape (C, H, W) of its images) of what a user names: ``size`` "HxW" or one number, ``shape`` "C,H,W"."""
    if size is not None and shape is not None:
        raise AlloyError(f"--size {size} and --shape {shape} say the same thing: give one of them")
    wanted = _parsed(shape) if shape is not None else None
    given = wanted[1:] if wanted else parse_size(size) if size is not None else None
    loaded = load_model(name, weights, given, partly=True)
    if isinstance(loaded.model, Network):
        assert loaded.size is not None
        return loaded, (loaded.channels, *loaded.size)
    found = loaded.size if given is None else given
    if found is None:
        raise AlloyError("the size of the images is needed: give --size 224 or --shape 3,224,224")
    return loaded, wanted or (loaded.channels, *found)


def _parsed(text):
    try:
        channels, height, width = map(int, text.split(","))
        if min(channels, height, width) < 1:
            raise ValueError
    except ValueError:
        raise AlloyError(f"the shape {text!r} is not CHANNELS,HEIGHT,WIDTH such as 3,224,224") from None
    return channels, height, width
