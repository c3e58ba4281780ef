"""The embedded examples: for each a folder with the model, its trained weights and its images, wherever this package
lies."""

from pathlib import Path

from spec.errors import AlloyError

__all__ = ["EXAMPLES", "paths"]

EXAMPLES = ("fashion_mnist",)
PARTS = ("float", "training", "images")
HERE = Path(__file__).resolve().parent


def paths(name: str, folder: str | Path | None = None) -> tuple[Path, ...]:
    """The files of an example: float weights, training images, test images. ``folder`` replaces the shipped one.

    Raises :class:`AlloyError` for an example that does not exist.
    """
    if name not in EXAMPLES:
        raise AlloyError(f"there is no example {name!r}: choose {', '.join(EXAMPLES)}")
    return tuple(Path(folder or HERE / name) / f"{part}.npz" for part in PARTS)
