"""Entry points of the command line: the options are the annotated parameters of a function, once for ``python -m`` and
``alloy``."""

from collections.abc import Callable
from functools import cached_property, partial
import sys
from typing import Any

import typer

from .errors import AlloyError, command_line

__all__ = ["Entry", "entry", "group", "invoke"]

# Errors and signals are handled in spec.errors alone.
_app = partial(typer.Typer, add_completion=False, pretty_exceptions_enable=False)


class Entry:
    """A function as an entry point: called with a list of arguments (None: those of the process) it returns the exit
    status.

    Parameters
    ----------
    function : returns the exit status; its parameters are the options and arguments, with annotations of typer, its
        docstring is the help.
    name : how the program is started. example : options for the end of the help.
    """

    def __init__(self, function: Callable[..., int], name: str, example: str):
        self.function, self.name, self.example = function, name, example
        self.__doc__ = function.__doc__
        self._run = command_line(lambda arguments: invoke(self.command, name, arguments))

    def add_to(self, app: typer.Typer, prefix: str, name: str | None = None) -> None:
        """Register the function; ``prefix`` is what comes before the options in the example."""
        app.command(name, epilog=f"Example: {prefix} {self.example}")(self.function)

    @cached_property
    def command(self) -> Any:
        """The command as ``python -m`` has it."""
        return self.command_of(self.name)

    def command_of(self, prefix: str) -> Any:
        """The command under another name."""
        app = _app()
        self.add_to(app, prefix)
        return typer.main.get_command(app)

    def __call__(self, arguments: list[str] | None = None) -> int:
        return self._run(arguments)


def entry(name: str, example: str) -> Callable[[Callable[..., int]], Entry]:
    """Decorator: makes an :class:`Entry` of a function."""
    return lambda function: Entry(function, name, example)


def group(name: str, text: str, entries: dict[str, Entry]) -> Callable[..., int]:
    """An entry point of several, each under its word; ``text`` is the help."""
    app = _app(help=text)
    for word, one in entries.items():
        one.add_to(app, f"{name} {word}", word)
    return command_line(lambda arguments: invoke(typer.main.get_command(app), name, arguments))


def invoke(command: Any, name: str, arguments: list[str] | None) -> int:
    """Run a command of typer, with no handling of errors and signals but one sentence for a wrong command line."""
    try:
        with command.make_context(name, sys.argv[1:] if arguments is None else list(arguments)) as context:
            return command.invoke(context) or 0
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):        # rich's console ends so, with status 1
            raise BrokenPipeError from None
        raise
    except typer.TyperException as error:
        place = getattr(error, "ctx", None)
        where = name if place is None else place.command_path
        raise AlloyError(f"{error.format_message().strip().rstrip('.')}: see {where} --help") from None
