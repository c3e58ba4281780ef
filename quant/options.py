"""What a user can say about a model and its images, once for the command line, for files of options and for Python."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
import inspect
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
import typer
import yaml

from spec.entry import Outcome
from spec.errors import AlloyError
from spec.files import read_bytes

__all__ = ["Options", "QuantizeOptions", "option", "with_options", "collected", "to_yaml"]

T = TypeVar("T", bound="Options")
SHOWN = 200             # characters of a wrong value in a sentence


def _joined(value):
    """A list of numbers of YAML as the text that a command line has."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _sized(value):
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else _joined(value)


Numbers = Annotated[str, BeforeValidator(_joined)]
Size = Annotated[str, BeforeValidator(_sized)]


def option(default: Any, text: str, panel: str, **limits: Any) -> Any:
    """A field with its help and the part of the help that it stands in."""
    return Field(default, description=text, json_schema_extra={"panel": panel}, **limits)


class Options(BaseModel, extra="forbid", frozen=True):
    """Options of a program: fields with descriptions, plain values."""


class QuantizeOptions(Options, frozen=True):
    """A model, its images and how it is quantized."""
    model: str | None = option(None, "MODULE:NAME, such as models:Net or file.py:net (called without arguments), a "
                               ".pt2 file of torch.export.save, an .onnx or .tflite file or an integer network (.npz)",
                               "Model")
    weights: str | None = option(None, "state_dict of the model: .pt, .pth or .safetensors", "Model")
    name: str | None = option(None, "of the network (default: that of the model)", "Model")
    images: str | None = option(None, "folder of JPEG or PNG files, or .npz with images (and labels)", "Images")
    test: str | None = option(None, "other images to measure on (default: a part of --images)", "Images")
    labels: str | None = option(None, "CSV file with columns file and label (default: the sub-folders are the classes)",
                                "Images")
    test_labels: str | None = option(None, "the same for --test", "Images")
    calibration: int = option(256, "images to calibrate with, at most half of a single folder", "Images", ge=1)
    count: int = option(500, "test images, 0: all", "Images", ge=0)
    size: Size | None = option(None, "of the model's images, HxW or one number (default: as they are)", "Images")
    resize: int | None = option(None, "scale the shorter side to this first, then cut the centre out", "Images", ge=1)
    crop: bool = option(False, "scale until the size fits and cut the centre out", "Images")
    channels: int | None = option(None, "of the model, 1 gray, 3 RGB (default: what its first convolution reads)",
                                  "Images", ge=1, le=4)
    mean: Numbers | None = option(None, "of the normalization in training: imagenet, one number, or one for each "
                                  "channel: 0.485,0.456,0.406", "Images")
    std: Numbers | None = option(None, "the same", "Images")
    transform: str | None = option(None, "size and normalization of torchvision's weights, such as "
                                   "torchvision.models:ResNet18_Weights.DEFAULT", "Images")
    recipe: str = option("alloy", "number systems of the filters, see docs/quantization.md", "Quantization")
    platform: str | None = option(None, "board whose engine is filled (default zcu102)", "Quantization")
    config: str | None = option(None, "engine configuration (JSON) instead of the board's own", "Quantization")
    logits: bool | None = option(None, "whether the outputs are a classifier's (default: seen from them)",
                                 "Quantization")
    mirror: bool = option(False, "images may be turned left to right: they calibrate mirrored, too", "Quantization")
    seed: int = option(0, "of all that is drawn", "Quantization", ge=0)


def _parameters(options: type[Options], argument: str) -> list[inspect.Parameter]:
    """The fields as parameters for typer, all None unless they are given; the field ``argument`` is no option."""
    found = []
    for name, field in options.model_fields.items():
        parts = get_args(field.annotation)
        annotation: Any = next((part for part in parts if part is not type(None)), field.annotation)
        annotation = getattr(annotation, "__origin__", annotation)
        if name == argument:
            info = typer.Argument(metavar=name.upper(), help=field.description)
        else:
            text = field.description or ""
            text += f" (default {field.default})" if field.default not in (None, False) else ""
            panel = field.json_schema_extra["panel"] if isinstance(field.json_schema_extra, dict) else None
            info = typer.Option(help=text, show_default=False, rich_help_panel=str(panel))
        found.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None,
                                       annotation=Annotated[annotation | None, info]))
    return found


def with_options(options: type[Options], argument: str = "model"
                 ) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Decorator of a program's function ``f(given, ...)``: ``given`` becomes the options of the command line that were
    given, a mapping for :func:`collected`; the function's other parameters stay."""
    def decorate(function):
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
               for p in list(inspect.signature(function).parameters.values())[1:]]
        parameters = [*_parameters(options, argument), *own]
        names = {p.name for p in own}

        @wraps(function, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def wrapped(**values):
            given = {name: value for name, value in values.items() if name not in names and value is not None}
            return function(given, **{name: values[name] for name in names})
        wrapped.__dict__.pop("__wrapped__")     # its signature is another
        wrapped.__dict__["__signature__"] = inspect.Signature(parameters)
        return wrapped
    return decorate


def collected(options: type[T], given: Mapping[str, Any], file: str | Path | None = None) -> T:
    """The options of a YAML ``file`` and those of the command line, which win.

    Raises :class:`AlloyError` for an unknown key, with the one that was meant, and for a value of the wrong kind.
    """
    values = _read(options, file) if file is not None else {}
    try:
        return options(**{**values, **given})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        given_in = f"{file}: " if name in values and name not in given else "--" if name in given else ""
        what = first["msg"][0].lower() + first["msg"][1:]
        raise AlloyError(f"{given_in}{name.replace('_', '-')} is {repr(first['input'])[:SHOWN]}: {what}") from None


class _Plain(yaml.SafeLoader):
    """Plain values, each where it is written: aliases of aliases can stand for more than any memory holds."""

    def compose_node(self, parent, index):
        """A node of the file."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "an alias, which options do not need", mark)
        return super().compose_node(parent, index)


def _read(options, file):
    try:
        values = yaml.load(read_bytes(file, "file of options"), _Plain)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        deep = "it is nested too deeply" if isinstance(error, RecursionError) else "it is no text"
        why = getattr(error, "problem", None) or deep
        raise AlloyError(f"{file}{where} is no YAML ({why}): give one option a line, such as recipe: alloy") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise AlloyError(f"{file} holds {type(values).__name__}, no options: give one a line, such as recipe: alloy")
    known, found = options.model_fields, {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in known:
            close = get_close_matches(name, known, 1, 0.5)
            way = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise AlloyError(f"{file} has the unknown option {key!r}: {way}")
        if name in found:
            raise AlloyError(f"{file} has the option {key} twice")
        found[name] = value
    return found


def to_yaml(options: Options) -> str:
    """All options that have a value as the text of a file that :func:`collected` reads."""
    values = {name: value for name, value in options.model_dump().items() if value is not None}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
