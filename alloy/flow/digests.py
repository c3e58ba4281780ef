"""Whether a model and pictures are the same as before: digests of what counts about them."""

from hashlib import sha256
from pathlib import Path
import sys

import numpy as np
from torch import nn

from quant.pictures import Pictures
from spec.network import Network

__all__ = ["model_digest", "pictures_digest"]


def model_digest(model: nn.Module | Network) -> str:
    """SHA-256 of a model: its weights, its modules and the Python files that they are written in; those of PyTorch
    itself are left out."""
    found = sha256()
    if isinstance(model, Network):
        for node in model.nodes:
            entry, arrays = node.form()
            found.update(repr(sorted(entry.items())).encode())
            for name, value in sorted(arrays.items()):
                found.update(name.encode() + np.ascontiguousarray(value).tobytes())
        found.update(repr(sorted(tensor.form().items() for tensor in model.tensors.values())).encode())
        return found.hexdigest()
    for name, value in sorted(model.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    found.update(repr(model).encode() + str(getattr(model, "code", "")).encode())
    for module in sorted({type(part).__module__ for part in model.modules()}):
        file = getattr(sys.modules.get(module), "__file__", None)
        if file and module.partition(".")[0] != "torch" and Path(file).is_file():
            found.update(Path(file).read_bytes())
    return found.hexdigest()


def pictures_digest(*parts: Pictures) -> str:
    """SHA-256 of pictures: their names, labels, and when their files were written last and how long they are."""
    found = sha256()
    for pictures in parts:
        root = Path(pictures.path)
        for name in pictures.names:
            path = root / name if root.is_dir() else root
            status = path.stat()
            found.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        labels = None if pictures.labels is None else pictures.labels.tolist()
        found.update(repr((len(pictures), labels)).encode())
    return found.hexdigest()
