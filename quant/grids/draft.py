"""An integer network while a file is read, node after node."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from spec.errors import AlloyError, Unsupported
from spec.network import Parts, Tensor
from spec.operators.operator import Operator

from .emit import Finding

__all__ = ["Draft", "Key", "LARGEST"]

LARGEST = 1 << 26       # values of one tensor

Key = TypeVar("Key", str, int)          # what a file calls its values


class Draft(Generic[Key]):
    """What has been read: ``tensors`` and ``nodes`` of the network, ``findings`` about them.

    ``refused`` is everything that is not supported, ``unknown`` the values that it would have made: what reads them is
    not looked at.
    """

    def __init__(self, name: str):
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Operator] = []
        self.findings: list[Finding] = []
        self.refused: list[Unsupported] = []
        self.unknown: set[Key] = set()
        self.ended = ""         # where the last operator is, if it is left out
        self._names: set[str] = set()

    @contextmanager
    def refusing(self, where: str, makes: Collection[Key]) -> Iterator[None]:
        """What is refused inside is noted, and reading goes on; ``makes`` are the values that the operator makes."""
        try:
            yield
        except AlloyError as error:
            self.refused.append(Unsupported.of(error, where))
            self.unknown.update(makes)

    def skips(self, reads: Collection[Key], makes: Collection[Key]) -> bool:
        """Whether an operator reads what nothing supports makes; then nobody knows what it makes either."""
        if not self.unknown.intersection(reads):
            return False
        self.unknown.update(makes)
        return True

    def leave_out(self, where: str) -> None:
        """The operator ``where`` changes no answer and ends the network."""
        self.ended = where
        self.findings.append(Finding(where, 0.0, 0, f"{where} is left out: the largest output stays the largest"))

    def append(self, node: Operator, tensor: Tensor, finding: Finding | None) -> None:
        """One node and what it makes."""
        if tensor.channels * tensor.height * tensor.width > LARGEST:
            raise AlloyError(f"layer {node.name} makes {tensor.channels}x{tensor.height}x{tensor.width} values, more "
                             f"than {LARGEST}: use smaller images")
        self.tensors[tensor.name] = tensor
        self.nodes.append(node)
        if finding is not None:
            self.findings.append(finding)

    def unique(self, name: str) -> str:
        """A name of a layer and its tensor that no other has."""
        found, count = name, 0
        while found in self._names:
            count += 1
            found = f"{name}_{count}"
        self._names.add(found)
        return found

    def parts(self) -> Parts:
        """What there is of a network of which something is refused."""
        return Parts(name=self.name, input="", output="", tensors=self.tensors, nodes=self.nodes)
