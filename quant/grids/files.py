"""Files of models: their content, if it can be one."""

from pathlib import Path

from spec.errors import AlloyError

__all__ = ["WEIGHTS", "content"]

WEIGHTS = 1 << 31       # bytes of a file, and of all its weights


def content(path: Path, model: str, way: str) -> bytes:
    """Of a file of a ``model`` ("an ONNX", "a TFLite"); ``way``: what to do if it is too large."""
    if not path.is_file():
        raise AlloyError(f"{path} is no file: give the path of {model} model")
    size = path.stat().st_size
    if size > WEIGHTS:
        raise AlloyError(f"{path} has {size >> 20} MiB, more than the {WEIGHTS >> 20} MiB of {model} file: {way}")
    return path.read_bytes()
