"""What was found, as lines of text."""

from collections.abc import Iterator, Sequence

from .hardware import Ran
from .integers import Compared
from .layers import Error, LayerError

__all__ = ["float_lines", "integer_lines", "rtl_lines", "worst_of"]

WIDTH = 24              # of the longest bar
SHOWN = 10              # differences that are listed


def worst_of(errors: Sequence[LayerError]) -> LayerError | None:
    """The layer with the largest relative error of its own; None if there is none."""
    some = [one for one in errors if one.own.relative]
    return max(some, key=lambda one: one.own.relative or 0.0) if some else None


def float_lines(errors: Sequence[LayerError], worst: LayerError | None, off: float, near: float
                ) -> Iterator[str]:
    """A table of the layers; ``off`` is how far the float network is from the model, ``near`` how far it may be."""
    most = max([one.own.relative or 0.0 for one in errors], default=0.0) or 1.0
    wide = max([len(one.name) for one in errors] + [5])
    yield f"{'layer':{wide}}  own error    SQNR  with all before    SQNR"
    for one in errors:
        bar = "#" * round(WIDTH * (one.own.relative or 0.0) / most)
        own, whole = ((_share(error), _decibel(error)) for error in (one.own, one.whole))
        yield f"{one.name:{wide}}  {own[0]:>9}{own[1]:>8}  {whole[0]:>15}{whole[1]:>8}  {bar}".rstrip()
    yield "error: root mean square, % of the standard deviation of the layer's float values; SQNR in dB"
    if worst is not None:
        yield (f"largest own error: layer {worst.name}, {_share(worst.own)} %, most of it in channel {worst.channel} "
               f"of {len(worst.channels)}")
    if off > near:
        yield (f"the float network is not the model: their outputs are up to {off:.2g} standard deviations apart, and "
               f"{near:g} is what rounding makes")


def _share(error: Error) -> str:
    return "-" if error.relative is None else f"{100 * error.relative:.2f}"


def _decibel(error: Error) -> str:
    return "-" if error.sqnr is None else f"{error.sqnr:.1f}"


def integer_lines(numbers: Sequence[str], found: Compared | None) -> Iterator[str]:
    """What is other in the integer network."""
    yield from _some(numbers, "the integer network is not what fake quantization makes: ")
    if found is None:
        return
    if found.first is not None:
        yield f"first difference: {found.first}"
    border = f"; {found.border} of {found.values:,} values lie on the border of two codes" if found.border else ""
    yield f"integers: {found.equal} of {found.tensors} tensors equal{border}"


def rtl_lines(found: Ran) -> Iterator[str]:
    """What is other in RTL."""
    yield from _some(found.program, "the program is not what the compiler makes: ")
    if found.fault is not None:
        yield found.fault
    if found.first is not None:
        yield f"first difference: image {found.image}: {found.first}"
    some = "" if found.all_tensors else ", those that the program writes"
    yield f"RTL: {found.equal} of {found.tensors} tensors equal, {found.images} images{some}"


def _some(sentences: Sequence[str], start: str) -> Iterator[str]:
    for text in sentences[:SHOWN]:
        yield f"{start}{text}"
    if sentences[SHOWN:]:
        yield f"{start}{len(sentences) - SHOWN} more differences"
