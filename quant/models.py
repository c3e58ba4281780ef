"""A trained model by the name that a user gives: ``package.module:factory``, a file of ``torch.export``, ONNX or
TFLite, or an integer network."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
import importlib
import importlib.util
import inspect
import os
from pathlib import Path
import sys
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn

from spec.errors import PACKAGES, AlloyError, Unsupported
from spec.looks import looks_like
from spec.network import Network

from .capture import first_line
from .exported import as_module, exported_shape, load_exported
from .weights import load_weights

__all__ = ["Loaded", "load_model", "find", "without_kernels"]

WAY = "give MODULE:NAME, such as models:Net, whose NAME is a class or a function without arguments, or a model"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A trained model in eval mode, or an integer network, and what is known of the images that it takes.

    ``channels`` are those of the first convolution where nothing else tells; ``size`` is (height, width) or None.
    ``on_pixels`` makes, with mean and std of the training or None, a network that reads pixels of one that reads codes
    of its own; None for all that reads pixels. ``refused`` is what the file asks for and nothing supports: the model
    has something in its place. ``findings`` are about a quantized file, how its network compares with it.
    """
    model: nn.Module | Network
    channels: int
    size: tuple[int, int] | None = None
    on_pixels: Callable[[Any, Any], Any] | None = None
    refused: tuple[Unsupported, ...] = ()
    findings: tuple[Any, ...] = ()

    @classmethod
    def of(cls, model: nn.Module | Network, shape: tuple[int, int, int] | None = None) -> "Loaded":
        """Of a model and the shape (C, H, W) of its images, if that is known."""
        if isinstance(model, Network) and shape is None:
            shape = model.tensors[model.input].shape
        elif isinstance(model, fx.GraphModule) and shape is None:
            shape = exported_shape(model)
        if shape is not None:
            return cls(model, shape[0], shape[1:])
        assert isinstance(model, nn.Module)
        first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
        return cls(model, first.in_channels if first is not None else 3)


def load_model(name: str, weights: str | Path | None = None, size: tuple[int, int] | None = None, *,
               partly: bool = False) -> Loaded:
    """The trained model called ``name``, or an integer network.

    Parameters
    ----------
    name : ``package.module:factory`` or ``folder/file.py:factory``, a class or function that is called without
        arguments, or a module; what lies in the working directory is found, too. Or a file: ``.pt2`` of
        ``torch.export.save``, ``.onnx``, ``.tflite`` of 8-bit codes, or ``.npz``, an integer network.
    weights : file of a state dictionary; ``DEFAULT`` stands for those of a model of torchvision that are on this
        machine: nothing is ever downloaded.
    size : (height, width) of the images, for files that leave it open.
    partly : of a file in which something is not supported, load the others; otherwise the first such thing is raised.
    """
    suffix = Path(name).suffix.lower()
    if suffix in FILES:
        if weights is not None:
            raise AlloyError(f"{name} has its weights in it: leave out --weights {weights}")
        return FILES[suffix](name, size, partly)
    if ":" not in name:
        raise AlloyError(_no_name(name))
    model = _built(find(name), name)
    if weights is not None:
        load_weights(model, _shipped(name, str(weights)) or weights)
    return Loaded.of(model.eval())


def _no_name(name):
    path = Path(name)
    if not path.is_file():
        return f"the model {name!r} is neither a file nor MODULE:NAME: {WAY}"
    if path.suffix == ".py":
        return f"{name} is Python without a name in it: {WAY}"
    found = looks_like(path.read_bytes(), path)
    if found == "a TorchScript model":
        return (f"{name} is a TorchScript model, whose Python is not there: export the model with torch.export.save "
                "(.pt2) or torch.onnx.export (.onnx) where it was made")
    return (f"{name} is no model by itself, it looks like {found}: name the model in its place, MODULE:NAME, and give "
            "the file as --weights if it holds them")


def _onnx(name, size, partly):
    from .onnx import load      # brings libraries that nothing else needs
    return _found(load(name, size, partly=partly))


def _tflite(name, size, partly):
    from .tflite import load
    return _found(load(name, size, partly=partly))


def _found(found):
    model = found.network if found.module is None else found.module.eval()
    assert model is not None
    loaded = replace(Loaded.of(model, found.shape), refused=found.refused, findings=found.findings)
    if found.network is None or found.refused:
        return loaded
    return replace(loaded, on_pixels=lambda mean, std: found.on_pixels(mean, std).network)


FILES: dict[str, Callable[[str, Any, bool], Loaded]] = {
    ".pt2": lambda name, size, partly: Loaded.of(load_exported(name).eval()), ".onnx": _onnx, ".tflite": _tflite,
    ".npz": lambda name, size, partly: Loaded.of(Network.load(name))}


def find(name: str) -> Any:
    """What ``package.module:attribute`` names; the working directory is on the path."""
    module, _, path = name.rpartition(":")
    if not module or not path:
        raise AlloyError(f"{name!r} names nothing: {WAY}")
    found: Any = _imported(module)
    for part in path.split("."):
        if not hasattr(found, part):
            names = [n for n, value in vars(found).items() if not n.startswith("_") and callable(value)
                     and getattr(value, "__module__", None) == getattr(found, "__name__", None)]
            has = f"it has {', '.join(names[:8])}" if names else "it defines no class or function"
            raise AlloyError(f"{module} has no {path!r}: {has}")
        found = getattr(found, part)
    return found


@contextmanager
def _here(*folders: str):
    """Inside, Python looks into folders first, afterwards last; Alloy's own packages keep their names."""
    for own in (*PACKAGES, "boards", "spec"):
        importlib.import_module(own)
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)
        sys.path += [folder for folder in folders if folder not in sys.path]


def _imported(module) -> ModuleType:
    here, word = os.getcwd(), module.partition(".")[0]
    own = word in (*PACKAGES, "boards", "spec")
    try:
        try:
            return _import(module, here)
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            without_kernels()
            return _import(module, here)
    except AlloyError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            way = f"{word} is a package of Alloy itself, give the file instead: folder/file.py:NAME" if own else WAY
            raise AlloyError(f"there is no module {error.name} in {here} or among the installed packages: {way}"
                             ) from None
        raise AlloyError(f"{module} cannot be imported: it needs {error.name}, which is not installed") from None
    except (Exception, SystemExit) as error:        # the user's own code
        raise AlloyError(f"{module} cannot be imported ({type(error).__name__}: {first_line(error)}): see whether it "
                         "works in Python") from None


def _import(module, here):
    path = Path(module)
    if path.suffix != ".py":
        with _here(here):
            return importlib.import_module(module)
    if not path.is_file():
        raise AlloyError(f"there is no file {module}: {WAY}")
    with _here(str(path.resolve().parent), here):
        name = f"_{path.stem}_of_the_user"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        return found


def without_kernels() -> None:
    """Let torchvision be imported without its kernels (non-maximum suppression and others), which no network for Alloy
    needs: the wheels of the registry have them for PyTorch with CUDA alone, and beside another one fail."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    left_out = "torchvision._meta_registrations"        # of the kernels
    sys.modules[left_out] = ModuleType(left_out)


def _built(found, name) -> nn.Module:
    """The module that ``found`` is or makes."""
    if isinstance(found, torch.export.ExportedProgram):
        return as_module(found)
    if isinstance(found, nn.Module):
        return _plain(found, name)
    if not callable(found):
        raise AlloyError(f"{name} is {_a(found)}: {WAY}")
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):     # of C code
        parameters = []
    needed = [p.name for p in parameters
              if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed:
        raise AlloyError(f"{name} needs the argument{'s' * (len(needed) > 1)} {', '.join(needed)}: write a function "
                         "without arguments that makes the model, and give that")
    try:
        model = found()
    except (Exception, SystemExit) as error:        # the user's own code
        raise AlloyError(f"{name}() fails ({type(error).__name__}: {first_line(error)}): see whether it works in "
                         "Python") from None
    if isinstance(model, torch.export.ExportedProgram):
        return as_module(model)
    if not isinstance(model, nn.Module):
        raise AlloyError(f"{name}() returns {_a(model)}: let it return the torch.nn.Module")
    return _plain(model, name)


def _plain(model, name):
    if isinstance(model, torch.jit.ScriptModule):
        raise AlloyError(f"{name} is a TorchScript model, which cannot be traced: give the torch.nn.Module that it was "
                         "made of")
    return model.module if isinstance(model, nn.DataParallel) else model


def _a(value):
    return "None" if value is None else f"a {type(value).__name__}"


def _shipped(name, weights):
    """The file of weights that torchvision knows under a name such as ``DEFAULT`` or None if it is none; only one that
    is on this machine."""
    if os.path.exists(weights) or not weights.isidentifier():
        return None
    if not name.startswith("torchvision."):
        raise AlloyError(f"there is no file of weights {weights}: give a .pt, .pth or .safetensors file")
    import torchvision
    known = torchvision.models.get_model_weights(name.rpartition(":")[2])
    if weights not in known.__members__:
        raise AlloyError(f"{name} has no weights {weights!r}: choose {', '.join(known.__members__)}")
    url = known[weights].url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.is_file():
        raise AlloyError(f"the weights {weights} of {name} are not on this machine, and nothing is downloaded: fetch "
                         f"{url} and give the file as --weights")
    return path

