"""A PyTorch model as a list of operations, each value written once.

``torch.export`` records the functions of ATen that forward calls, with changes in place already resolved. Here, what
depends on weights alone is computed, and what only moves values (views, permutations, slices) becomes an index: which
element of which value stands where. Convolutions and linear layers take such an index into their weights.
"""

from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice, product
import logging
import math
import operator
import os
import re
from typing import Any
import warnings

import torch
from torch import fx, nn

from spec.errors import AlloyError, Unsupported
from spec.operators import LAYERS

from .changes import without_changes
from .layers import read_layer, widened
from .moves import JOINS, LIKE, MOVES, REAL, joined, moved
from .nodes import BATCH, READERS, Named, Node, View, flat, supported, views, whole
from .ops import INPUT, Apply, Missing, Op
from .settle import bordered, maps_of, moves

__all__ = ["capture", "first_line", "is_read"]

# Functions of logits that the host may as well compute.
ENDS = {"softmax": "softmax", "_softmax": "softmax", "log_softmax": "log_softmax", "_log_softmax": "log_softmax",
        "argmax": "argmax"}
FURTHER = object()       # what stands for all results of a function but its first
# Endings of the names of values that a function makes on its way.
HELPERS = "scaled", "bounded", "rest", "parts", *(f"step{number}" for number in range(8))


class _Unread(Unsupported):
    """A call of a function that is not read in any form."""


class _Once(nn.Module):
    """The model called with one tensor, as Alloy calls it: all other arguments of its forward have their defaults."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


def first_line(error: BaseException) -> str:
    """What an error of PyTorch says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def capture(model: nn.Module, shape: tuple[int, ...]
            ) -> tuple[list[Op], str, tuple[int, int, int], list[Unsupported]]:
    """(operations in execution order, name of the value that is returned, (C, H, W) of the value of the input, what is
    not supported) of ``model`` for inputs of ``shape``: (C, H, W), (C, L) or (F,), a map of one row or of one pixel.

    A :class:`Missing` operation stands for each thing that is not supported.
    """
    with _traced():
        # Fake tensors: nothing is computed.
        program = torch.export.export(_Once(model), (torch.zeros(BATCH, *shape),), strict=False)
    try:
        titles = without_changes(program.graph)
        found = None if titles is None else _read(program, model, shape, titles)
        if found is None or found.refused:      # an empty table of decompositions still resolves changes in place
            with _traced():
                program = program.run_decompositions({})
            found = _read(program, model, shape, {})
    finally:
        whole.cache_clear()
    return *found.made, found.refused


@contextmanager
def _traced():
    """Inside, PyTorch traces a model, and what goes wrong is the model's fault."""
    log = logging.getLogger("torch.export")
    level = log.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            log.setLevel(logging.ERROR)
            yield
    except Exception as error:  # forward is the user's: it may raise anything when it is given no real tensor
        raise AlloyError(f"the model's forward cannot be traced ({first_line(error)}): avoid control flow, .item(), "
                         "NumPy and other Python functions that depend on data") from None
    finally:
        log.setLevel(level)


def _read(program, model, shape, titles):
    """What reads all nodes of an exported program; ``titles`` are names of nodes."""
    reader = _Reader(program, model, shape, titles)
    for node in program.graph.nodes:
        if node.op == "call_function":
            reader.read(node)
    reader.made = reader.result()
    unread = {one.where for one in reader.refused if isinstance(one, _Unread)}      # is said of a module alone
    reader.refused = [one for one in reader.refused if isinstance(one, _Unread) or one.where not in unread]
    return reader


def is_read(function: str) -> bool:
    """Whether calls of a function of ATen are read in any form."""
    return function in MOVES | REAL | LIKE | JOINS | ENDS.keys() or _reader_of(function) is not None


def _reader_of(function):
    return READERS.get(function) or (read_layer if any(function in layer.calls for layer in LAYERS) else None)


def _map(shape):
    """(C, H, W) of a map, a sequence (C, L) or a vector (F,)."""
    return (shape[0], *(1,) * (3 - len(shape)), *shape[1:])


class _Reader:
    """Reads the nodes of an exported program one by one."""

    def __init__(self, program, model, shape, titles):
        self._model, self._titles = model, titles
        self.made: tuple = ()
        self._signature = program.graph_signature
        self._ops: list[Op] = []
        self._shapes, self._free = {INPUT: _map(tuple(shape))}, len(shape) < 3
        self._known: dict[str, Any] = {}        # node -> View, tuple of them, or a tensor that depends on weights alone
        self._missing: set[str] = set()         # values of Missing operations
        self._settled_views: dict[Any, View] = {}
        self._lost: set[str] = set()            # values that stand for tensors which are not one for each image
        self.refused: list[Unsupported] = []
        for given in self._signature.input_specs:
            name = given.arg.name
            if given.kind is torch.export.graph_signature.InputKind.USER_INPUT:
                size = self._shapes[INPUT]
                self._known[name] = View(INPUT, whole(size).reshape(BATCH, *shape), size)
            else:
                state = program.state_dict if given.target in program.state_dict else program.constants
                self._known[name] = state[given.target].detach()

    def result(self):
        """(operations that the output depends on, name of the output's value, shape of the input's)."""
        names = self._signature.user_outputs
        known = [self._known.get(name) for name in names]
        views = [view for view in known if isinstance(view, View)]
        if len(known) != 1 or not views:
            self.refused.append(Unsupported("the model", "returns several values, none, or one that does not depend on "
                                            "the image", "return one tensor"))
        elif (out := views[0] if views[0].plain or views[0].value in self._missing
              else self._settled(views[0], "the output")) is None:
            self.refused.append(Unsupported("the model", "returns the values of its last layer in another order, or "
                                            "only some of them", "return that layer's tensor"))
        else:
            views = [out]
        outputs = [view.value for view in views] or [INPUT]
        needed, ops = set(outputs), []
        for op in reversed(self._ops):
            if op.name in needed:
                needed.update(op.inputs)
                ops.append(op)
        return ops[::-1], outputs[0], self._shapes[INPUT]

    def read(self, node: Any) -> None:
        """Append the operation of one node, or note what it moves or computes of weights, or that it is not
        supported."""
        given = flat([self._of(value) for value in (*node.args, *node.kwargs.values())])
        sources = tuple(dict.fromkeys(value.value for value in given if isinstance(value, View)))
        try:
            if self._refusal(node):
                raise self._refusal(node)
            if self._lost.intersection(sources):
                self._known[node.name] = self._stand_in(node, node.meta.get("val"), sources)
                self._check_function(node)
            else:
                self._read(node)
                if self._missing.issuperset(sources) and isinstance(found := self._known[node.name], View):
                    # How the values of something unknown lie in memory is nobody's fault.
                    if found.value in sources:
                        self._known[node.name] = self._stand_in(node, node.meta["val"], sources)
                    elif not (isinstance(op := self._ops[-1], Apply) and op.layer.learned):
                        self._missing.add(found.value)
        except AlloyError as error:
            if self._laid_otherwise(node):
                return
            if error not in self.refused:
                self.refused.append(Unsupported.of(error, self._where(node)[1]))
            like = next((one for one in given if isinstance(one, View) and one.whole), None)
            self._known[node.name] = self._stand_in(node, node.meta.get("val"), sources, like)

    def _laid_otherwise(self, node):
        """Whether a node can be read if the unknown values that it reads lie in memory otherwise, their channels first
        or last, or as those of another tensor that it reads: how they do is nobody's fault."""
        read = {one.name: view for one in node.all_input_nodes if isinstance(view := self._known[one.name], View)}
        before = {name: view for name, view in read.items() if view.value in self._missing}
        likes = [view for name, view in read.items() if name not in before and view.whole]
        for last, like in ((False, None), (True, None), *((False, one) for one in likes)) if before else ():
            self._known |= {name: self._unknown(node, view.index.shape, (view.value,), last, like)
                            for name, view in before.items()}
            with suppress(AlloyError):
                self._read(node)
                return True
            self._known |= before
        return False

    def _check_function(self, node):
        """Raise :class:`AlloyError` if a node's function is not supported, whatever it is applied to."""
        name = getattr(node.target, "_schema", None) and node.target._schema.name.split("::")[-1]
        if name and not is_read(name):
            raise _Unread(self._where(node)[1], f"is {name}, which is not supported", supported())

    def _stand_in(self, node, made, sources, like=None):
        """A value of its own for each tensor that a node which is not supported has ``made``, as a view, laid as the
        one that it is ``like``, if that has its shape."""
        if isinstance(made, list | tuple):
            return tuple(self._stand_in(node, one, sources, like) for one in made)
        if not isinstance(made, torch.Tensor):
            return None
        return self._unknown(node, made.shape, sources, like=like)

    def _unknown(self, node, shape, sources, last=False, like=None):
        """A view of a :class:`Missing` value for a tensor of this shape, the channels first or ``last``."""
        name, shape = self._name(node, None), tuple(shape)
        images = shape[:1] == (BATCH,) and 0 not in shape
        each = shape[1:] if images else (1,)
        if like is not None and like.index.shape == shape:
            size, index = like.size, like.index
        else:
            each = (each[-1], *each[:-1]) if last else each
            few = (*each, 1, 1) if 1 <= len(each) <= 3 else (math.prod(each), 1, 1)
            size = few[0], few[1], few[2]
            index = whole(size).reshape(BATCH, *each)
            index = index.movedim(1, -1) if last else index
        self._shapes[name] = size
        self._missing.add(name)
        self._ops.append(Missing(name=name, inputs=sources, where=self._where(node)[1], size=size))
        if not images:
            self._lost.add(name)
        return View(name, index, size)

    def _read(self, node):
        given = [self._of(value) for value in (*node.args, *node.kwargs.values())]
        if any(value is FURTHER for value in flat(given)):
            raise AlloyError(f"{self._where(node)[1]} reads a further result of a function, such as the indices of a "
                             "max pool, which is not supported: use its values alone")
        if not any(isinstance(value, View) for value in flat(given)):
            self._known[node.name] = node.target(*fx.node.map_arg(node.args, self._of),
                                                 **fx.node.map_arg(node.kwargs, self._of))
            return
        function, arguments = self._arguments(node)
        if function.startswith("_assert"):      # what holds anyway; nothing is returned
            self._known[node.name] = None
            return
        if function == "getitem" and isinstance(arguments["self"], tuple):
            parts, item = arguments["self"], arguments["item"]
            self._known[node.name] = parts[item] if item < len(parts) else FURTHER
            return
        path, where = self._where(node)
        if function in ENDS:
            self._known[node.name] = self._end(node, ENDS[function], arguments, where)
            return
        if function in JOINS:
            self._known[node.name] = joined(node, function, where, self._of, partial(self._apply, node, where),
                                            lambda view: self._placed(view, where))
            return
        layer = any(function in layer.calls for layer in LAYERS)
        found = None if layer and function in MOVES else moved(node, function, where, self._of)
        self._known[node.name] = (self._compute(node, function, arguments, path, where) if found is None else found)

    def _end(self, node, what, arguments, where):
        """What a function of logits shows at the end of a model: the logits."""
        view, dim = next(iter(views(arguments))), arguments.get("dim")
        ends = node.name in self._signature.user_outputs and view.value != INPUT and view.plain
        if not ends or dim is None or not replace(view, index=view.index.movedim(dim, 1)).by_channel:
            raise AlloyError(f"{where} is {what}, which is not supported but over the classes at the very end, where "
                             "the network returns the logits: leave it to the host")
        next(op for op in self._ops if op.name == view.value).end = what
        return view

    def _of(self, value):
        if isinstance(value, fx.Node):
            return self._known[value.name]
        return [self._of(v) for v in value] if isinstance(value, list | tuple) else value

    def _arguments(self, node):
        """(name of the function, all its arguments by name)."""
        if node.target is operator.getitem:
            return "getitem", {"self": self._of(node.args[0]), "item": node.args[1]}
        schema = node.target._schema
        names = [argument.name for argument in schema.arguments]
        given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        given |= {name: self._of(value) for name, value in zip(names, node.args, strict=False)}
        return schema.name.split("::")[-1], given | {name: self._of(value) for name, value in node.kwargs.items()}

    def _compute(self, node, function, arguments, path, where):
        """What a node stands for that computes; its operation is appended."""
        reader = _reader_of(function)
        if reader is None:
            self._check_function(node)
        made = node.meta["val"]
        several = isinstance(made, list | tuple)        # a value, and what quantization has no use for
        shape = (made[0] if several else made).shape
        if self._settle(arguments):
            arguments = self._arguments(node)[1]
        found, index = self._found(reader, Node(self._name(node, path), where, function, arguments, tuple(shape),
                                                node.target))
        call = int([*(node.meta.get("nn_module_stack") or {}), ""][-2 if path else -1].partition("@")[2] or 0)
        if path and self._ops and (self._ops[-1].module, self._ops[-1].call) == (path, call):
            self._ops[-1].module = None         # only the last of a call's operations makes what it returns
        for op in found if isinstance(found, list) else [found]:
            size = self._append(op, where)
        op.module, op.call = path, call
        view = self._view(op, size, whole(size).reshape(shape) if index is None else index)
        return (view,) if several else view

    def _settle(self, arguments):
        """The input becomes the map that the first operation sees of it, unless the user has given a map. Returns
        whether it has."""
        free, self._free = self._free, False
        view = views(arguments)[0]
        if not free or view.value != INPUT or not view.plain or view.index.dim() > 4:
            return False
        size = self._shapes[INPUT] = _map(tuple(view.index.shape[1:]))
        self._known |= {name: replace(one, size=size) for name, one in self._known.items()
                        if isinstance(one, View) and one.value == INPUT}
        return True

    def _found(self, reader, node):
        """What a reader makes of a node; where it cannot move values itself, it gets what layers have moved."""
        if any(view.padded for view in node.views):
            around = bordered(node.views[0].index.numpy()) if node.function == "conv2d" else None
            if around is not None:
                inner, start, end = around
                view = replace(node.views[0], index=torch.from_numpy(inner))
                op, index = self._found(reader, replace(node, arguments={**node.arguments, "input": view}))
                op.layer = widened(op.layer, start, end)
                return op, index
            return reader(self._moved(node))
        try:
            return reader(node)
        except AlloyError:
            for moved_node in self._others(node):
                with suppress(AlloyError):
                    return reader(moved_node)
            raise

    def _others(self, node):
        """The node with other views: layers have moved the values of one or several."""
        ways = [dict.fromkeys([view, *self._ways(view, node.where)]) for view in node.views]
        for chosen in islice(product(*ways), 1, None):
            yield self._with(node, dict(zip(node.views, chosen, strict=True)))

    def _ways(self, view, where):
        """Views of the same of which layers have moved the values, the channels first or last."""
        yield from filter(None, [self._settled(view, where)])
        if view.index.dim() == 4:
            found = self._settled(replace(view, index=view.index.movedim(-1, 1).contiguous()), where)
            if found is not None:
                yield replace(found, index=found.index.movedim(1, -1))

    def _moved(self, node):
        """The node with plain views."""
        return self._with(node, {view: self._placed(view, node.where) for view in node.views})

    @staticmethod
    def _with(node, new):
        def change(one):
            if isinstance(one, list | tuple):
                return [change(each) for each in one]
            return new[one] if isinstance(one, View) else one
        return replace(node, arguments={key: change(one) for key, one in node.arguments.items()})

    def _placed(self, view, where):
        """:meth:`_settled`, which there must be."""
        found = self._settled(view, where)
        if found is None:
            raise AlloyError(f"{where} reads a tensor {tuple(view.index.shape[1:])} that is made of one of "
                             f"{'x'.join(map(str, view.size))} by moving values between its pixels: only channels can "
                             "be moved, and maps be cut, padded with zeros, upsampled, and shuffled from and to "
                             "channels")
        return found

    def _settled(self, view, where):
        """A plain view of the same, of which layers have moved the values; None if there are no such layers."""
        if view.by_channel:
            return view
        index = view.index[0]
        key = view.value, len(index), index.numpy().tobytes()
        found = self._settled_views.get(key)
        if found is None or index.dim() == 3 and index.shape != found.size:
            ways = [moves(index.reshape(shape).numpy(), view.size) for shape in maps_of(tuple(index.shape))]
            layers = min((way for way in ways if way is not None), key=len, default=None)
            if layers is None:
                return None
            value, size = view.value, view.size
            for layer in layers:
                name, source = self._unused(f"{view.value}_moved"), value
                op = Apply(name=name, inputs=(source,), layer=replace(layer, name=name, output=name, sources=(source,)))
                size, value = self._append(op, where), name
                op.index = whole(size)[0]
            found = self._settled_views[key] = View(value, whole(size), size)
        return replace(found, index=found.index.reshape(BATCH, *index.shape))

    def _apply(self, node, where, layer):
        """What shows the output of a layer, which is appended."""
        name = self._name(node, None)
        op = Apply(name=name, inputs=layer.sources, layer=replace(layer, name=name, output=name))
        size = self._append(op, where)
        return self._view(op, size, whole(size))

    def _append(self, op, where):
        """Append an operation; returns the size of its value."""
        assert op.name not in self._shapes
        op.where = where
        size = self._shapes[op.name] = op.shape(*(self._shapes[source] for source in op.inputs))
        self._ops.append(op)
        return size

    @staticmethod
    def _view(op, size, index):
        op.index = index[0]
        return View(op.name, index.contiguous(), size)

    def _refusal(self, node):
        """Why the module of a node, which only stands for something, is not supported; None for all others."""
        module = self._module(node)[0]
        return module.refusal if isinstance(module, Named) else None

    # -- places ------------------------------------------------------------------------------------------------------
    def _where(self, node):
        """(path of the module of ``torch.nn``, or :class:`Named` one, that calls it or None, "layer NAME (place)")."""
        module, path, cls = self._module(node)
        if isinstance(module, Named):
            return path, module.where
        if not str(cls).startswith("torch.nn.modules."):
            path = ""
        trace = re.findall(r'File "(.*)", line (\d+)', node.meta.get("stack_trace") or "")
        own = [(file, line) for file, line in trace if file != __file__ and f"{os.sep}torch{os.sep}" not in file]
        at = f" ({os.path.basename(own[-1][0])}, line {own[-1][1]})" if own else ""
        return path or None, f"layer {path or self._titles.get(node, node.name)}{at}"

    def _module(self, node):
        """(the module that calls a node, its path, name of its class)."""
        path, cls = [("", ""), *(node.meta.get("nn_module_stack") or {}).values()][-1]
        path = path.partition("@")[0].removeprefix("model").removeprefix(".")
        return self._model.get_submodule(path), path, cls

    def _name(self, node, path):
        """A name for the value of a node that no other has."""
        return self._unused((path or self._titles.get(node, node.name)).replace(".", "_"))

    def _unused(self, wanted):
        name = wanted = f"_{wanted}" if wanted[0].isdigit() else wanted
        count = 0
        while any(known in self._shapes for known in (name, *(f"{name}_{more}" for more in HELPERS))):
            count += 1
            name = f"{wanted}_{count}"
        return name
