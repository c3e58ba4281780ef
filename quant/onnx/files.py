"""ONNX files: read without trust, checked, with every tensor in memory."""

import os
from pathlib import Path

import onnx  # before its own dependencies: the extra is named after it
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import external_data_helper as external

from spec.errors import AlloyError

from ..grids.files import WEIGHTS, content

__all__ = ["OLDEST", "read"]

OLDEST = 7              # opset: elementwise operators broadcast as NumPy does from there on
OWN = ("", "ai.onnx")   # domain of ONNX itself


def read(path: str | Path) -> onnx.ModelProto:
    """The model of an ONNX file, external weights included; nothing of it is executed.

    Raises :class:`AlloyError`, one sentence for each kind of damage.
    """
    path = Path(path)
    model = _parse(path)
    if not model.HasField("graph") or not model.opset_import:
        raise AlloyError(f"{path} is no ONNX model (it has no graph): export it again with torch.onnx.export")
    _check_opset(path, model)
    _load_external(path, model)
    if model.functions:
        model = _attempt(path, onnx.inliner.inline_local_functions, model)
    for one in (*model.graph.output, *model.graph.value_info):     # the checker asks for shapes that nobody needs
        one.type.tensor_type.shape.SetInParent()
    _attempt(path, onnx.checker.check_model, model)
    return model


def _parse(path):
    model, data = onnx.ModelProto(), content(path, "an ONNX", "keep the weights in a file beside it")
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise AlloyError(f"{path} is no whole ONNX file (it is damaged, cut off or something else): export it "
                         "again with torch.onnx.export") from None
    return model


def _attempt(path, function, model):
    """What a function of ``onnx`` returns for a model; what it raises is bad input."""
    try:
        return function(model)
    except Exception as error:      # the library has no class for what is wrong with a file
        text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AlloyError(f"{path} is not right as ONNX ({text[:200]}): export it again") from None


def _check_opset(path, model):
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in OWN and not OLDEST <= entry.version <= newest:
            raise AlloyError(f"{path} has opset {entry.version}, and {OLDEST} to {newest} are supported: export it "
                             "with opset_version=17")


def _load_external(path, model):
    """Weights from files beside the model, never from elsewhere."""
    folder, total = path.resolve().parent, 0
    for tensor in external._get_all_tensors(model):
        if not external.uses_external_data(tensor):
            continue
        info = external.ExternalDataInfo(tensor)
        beside = (folder / info.location).resolve()
        if os.path.isabs(info.location) or not beside.is_relative_to(folder) or not info.location:
            raise AlloyError(f"{path} takes the weights {tensor.name} from {info.location}, outside its folder: save "
                             "the model with its weights in the same folder")
        if not beside.is_file():
            raise AlloyError(f"{path} takes the weights {tensor.name} from {info.location}, which is not there: put "
                             "that file beside it")
        total += info.length or beside.stat().st_size
        if (info.offset or 0) + (info.length or 0) > beside.stat().st_size or total > WEIGHTS:
            raise AlloyError(f"{path} takes {info.length} bytes of weights {tensor.name} from {info.location}, more "
                             "than there are: the file is cut off, copy it again")
        _attempt(path, lambda one: external.load_external_data_for_tensor(one, str(folder)), tensor)
        tensor.ClearField("data_location")
        del tensor.external_data[:]
