"""Programs of ``torch.export`` (``.pt2``) as modules that take any number of images."""

import logging
from pathlib import Path
import warnings

import torch
from torch import fx
from torch.export.graph_signature import InputKind

from spec.errors import AlloyError
from spec.files import read_bytes
from spec.looks import looks_like

__all__ = ["load_exported", "as_module", "exported_shape"]

MOVES = ("view", "reshape", "expand", "_unsafe_view")       # whose list of sizes names the batch
MODES = {"batch_norm": "training", "dropout": "train"}      # what is another function in training -> its argument
SAME = 1e-4                                                 # of the largest output: images alone and together


def load_exported(path: str | Path) -> fx.GraphModule:
    """The module of a file of ``torch.export.save``, see :func:`as_module`."""
    seen = looks_like(read_bytes(path, "exported program"), path)
    log = logging.getLogger("torch.export")
    level = log.level
    try:
        log.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
    except Exception as error:      # PyTorch raises whatever the damage leads to
        raise AlloyError(f"{path} is no exported program, or is damaged ({type(error).__name__}): it looks like {seen};"
                         " give what torch.export.save wrote") from None
    finally:
        log.setLevel(level)
    return as_module(program)


def as_module(program: torch.export.ExportedProgram) -> fx.GraphModule:
    """A module that computes what an exported program does, for any number of images.

    A program of one image has that 1 in its views: it becomes the number of images, and the module is run with two
    images beside the program with each of them.
    """
    given = [spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    if len(given) != 1:
        raise AlloyError(f"the exported program has {len(given)} inputs: export one that takes a single tensor")
    value = next(node for node in program.graph.nodes if node.name == given[0].arg.name).meta["val"]
    if not isinstance(value, torch.Tensor) or value.ndim != 4 or any(not isinstance(n, int) for n in value.shape[1:]):
        shape = "x".join(map(str, value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__
        raise AlloyError(f"the exported program takes {shape}: export it with images (N, C, H, W) of one size")
    _trained(program)
    plain = program.module(check_guards=False)
    module = fx.GraphModule(plain, plain.graph)        # without PyTorch's ban on eval()
    batch = value.shape[0]
    if isinstance(batch, int):
        if batch != 1:
            raise AlloyError(f"the exported program takes {batch} images at a time: export it with one, or with a "
                             "dynamic number (dynamic_shapes={0: torch.export.Dim.DYNAMIC})")
        _any_number(module)
        _same(plain, module, value.shape[1:])
    return module


def _trained(program):
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        mode = None if schema is None else MODES.get(schema.name.split("::")[-1])
        names = [] if schema is None else [argument.name for argument in schema.arguments]
        if mode and dict(zip(names, node.args, strict=False)).get(mode):
            raise AlloyError(f"the exported program was exported in training mode ({node.name}): call model.eval() and "
                             "export it again")


def _any_number(module):
    """The number of images in place of the 1 in lists of sizes."""
    image = next(node for node in module.graph.nodes if node.op == "placeholder")
    for node in list(module.graph.nodes):
        schema = getattr(node.target, "_schema", None)
        if schema is None or schema.name.split("::")[-1] not in MOVES or len(node.args) < 2:
            continue
        source, sizes = node.args[0], node.args[1]
        first = node.args[0].meta.get("val") if isinstance(source, fx.Node) else None
        if isinstance(first, torch.Tensor) and first.ndim and first.shape[0] == 1 and sizes and sizes[0] == 1:
            with module.graph.inserting_before(node):
                count = module.graph.call_function(torch.ops.aten.sym_size.int, (image, 0))
            node.args = (source, [count, *sizes[1:]], *node.args[2:])
    module.recompile()


@torch.no_grad()
def _same(plain, module, shape):
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    alone = [plain(image[None].clone()) for image in images]
    try:
        together = module(images)
        same = isinstance(together, torch.Tensor) and torch.allclose(
            together, torch.cat(alone), rtol=0, atol=SAME * float(max(out.abs().max() for out in alone)))
    except (RuntimeError, AssertionError, IndexError, TypeError, ValueError):
        same = False
    if not same:
        raise AlloyError("the exported program takes one image and cannot be made one of several: export it with a "
                         "dynamic number (dynamic_shapes={0: torch.export.Dim.DYNAMIC})")


def exported_shape(module: fx.GraphModule) -> tuple[int, int, int]:
    """(C, H, W) of the images that a module of :func:`as_module` takes."""
    image = next(node.meta["val"] for node in module.graph.nodes if node.op == "placeholder")
    return int(image.shape[1]), int(image.shape[2]), int(image.shape[3])
