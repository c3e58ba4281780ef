"""Files of weights into a model of PyTorch: state dictionaries of ``.pt``, ``.pth`` and ``.safetensors``; nothing of a
file is executed."""

from collections.abc import Mapping
import io
from pathlib import Path
import pickle
import struct
from typing import Any
import zipfile

import torch
from torch import nn

from spec.errors import AlloyError
from spec.files import check_unpacked, read_bytes
from spec.looks import looks_like

__all__ = ["DAMAGED", "load_weights", "read_state"]

# What ``torch.load`` raises for files that are damaged anywhere.
DAMAGED = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError,
           ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile)

# Under these names training scripts keep the weights beside optimizer, epoch and so on; those in front come first.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params")
PREFIXES = ("module.", "_orig_mod.")        # of DataParallel and of torch.compile
SHOWN = 4                                   # names in a sentence


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Put the weights of a file into ``model``, in place.

    Raises :class:`AlloyError` for a file that holds none, and one that lists every name and shape that does not fit.
    """
    state, own = read_state(path), model.state_dict()
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state) and not any(n.startswith(prefix) for n in own):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    # What only counts batches is missing in files of before PyTorch 0.4.1, and means nothing to a trained model.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in own and not name.endswith("num_batches_tracked")]
    shapes = [f"{name} ({_shape(state[name])} in the file, {_shape(own[name])} in the model)"
              for name in own if name in state and state[name].shape != own[name].shape]
    wrong = [f"{words} {_some(names)}" for words, names in (
        ("it lacks", missing), ("the model does not have its", unknown), ("other shapes have", shapes)) if names]
    if wrong:
        raise AlloyError(f"{path} does not hold the weights of this {type(model).__name__}: {'; '.join(wrong)}: give "
                         "the weights and the model that were trained together")
    model.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors by name of a file of weights, on the CPU."""
    data = read_bytes(path, "file of weights")
    check_unpacked(path, data)
    found = looks_like(data, path)
    if found == "a TorchScript model":
        raise AlloyError(f"{path} is a TorchScript model, whose Python is not there: load it with torch.jit.load, save "
                         "its state_dict() with torch.save and give that as --weights of the model in Python")
    if found == "an ONNX model":
        raise AlloyError(f"{path} is an ONNX model, not a file of weights: give it in place of the model")
    if found == "a safetensors file":
        return _safetensors(path)
    if not found.startswith(("a PyTorch file", "a pickle", "a zip archive")):
        raise _unreadable(path, found)
    try:
        # Not by its path: PyTorch would read it by the end of its name.
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise AlloyError(f"{path} holds Python objects beside its tensors, such as a whole model, which would be "
                         "executed to be read: save model.state_dict() and give that") from None
    except DAMAGED:
        raise _unreadable(path, found) from None
    return _tensors(found, path)


def _unreadable(path, found):
    return AlloyError(f"{path} is no file of weights, or is damaged: it looks like {found}; give what torch.save or "
                      "safetensors wrote of a state_dict()")


def _safetensors(path):
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError):
        raise _unreadable(path, "a safetensors file") from None


def _tensors(found: Any, path) -> dict[str, torch.Tensor]:
    """The state dictionary in what was loaded, be it that itself or one of the entries of a checkpoint."""
    if isinstance(found, Mapping):
        for name in NESTED:
            if isinstance(found.get(name), Mapping):
                return _tensors(found[name], path)
        tensors = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
        if tensors and len(tensors) == len([name for name in found if not str(name).endswith("_extra_state")]):
            return tensors
    what = f"a dictionary of {_some(list(map(str, found)))}" if isinstance(found, Mapping) else type(found).__name__
    raise AlloyError(f"{path} holds no state_dict() but {what}: save model.state_dict() with torch.save and give that")


def _some(names):
    names = [str(name) for name in names]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _shape(tensor):
    return "x".join(map(str, tensor.shape)) or "a number"
