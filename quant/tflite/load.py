"""From the path of a TFLite file to a model."""

from pathlib import Path

from spec.errors import AlloyError

from ..grids.model import Model
from . import layers, pairs, pools, tables
from .files import File, read
from .reader import Reader

__all__ = ["load"]

assert all((layers, pairs, pools, tables))      # they enter their readers


def load(path: str | Path, size: tuple[int, int] | None = None, *, partly: bool = False) -> Model:
    """The integer network in a TFLite file of 8-bit codes: its weights, scales and zero points are taken as they are.

    The file is not trusted: nothing in it is executed, and any damage is one :class:`AlloyError`.

    Parameters
    ----------
    size : (rows, columns) of the images, for files that leave them open; others take no other size than their own.
    partly : go on where something is not supported; otherwise the first such thing is raised.
    """
    file = read(path)
    _check_codes(path, file)
    reader = Reader(Path(path).stem, file, size)
    network = reader.read()
    found = Model(reader.name, reader.shape, network=network, findings=tuple(reader.findings),
                  refused=tuple(reader.refused))
    return found if partly else found.whole()


def _check_codes(path, file: File):
    """Raise :class:`AlloyError` for a model of other numbers as a whole."""
    dtypes = [file.tensors[one].dtype for node in file.nodes for one in node.outputs]
    if not {"INT8", "UINT8"}.intersection(dtypes):
        what = "16-bit codes" if "INT16" in dtypes else "32-bit numbers" if "FLOAT32" in dtypes else "no 8-bit codes"
        raise AlloyError(f"{path} computes with {what}: convert it with full integer quantization to 8 bits "
                         "(representative_dataset, TFLITE_BUILTINS_INT8), or give the float model as ONNX")
