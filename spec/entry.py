"""Entry points of the command line: the options are the annotated parameters of a function, once for ``python -m`` and
``alloy``. What all of them have is added here: ``--json``, ``--quiet`` and ``--batch``."""

from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import cached_property, partial, wraps
import inspect
import json
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from .errors import AlloyError, command_line
from .progress import shown

__all__ = ["Entry", "Outcome", "entry", "group", "invoke"]

# Exit status, and what --json shows.
Outcome = int | tuple[int, Mapping[str, Any]]
STDOUT = "-"
COMMON = {
    "json": Annotated[str | None, typer.Option("--json", metavar="[FILE.json]", rich_help_panel="Output", help="print "
                                               "the result as JSON and everything else to standard error, or write it "
                                               "to a file")],
    "quiet": Annotated[bool, typer.Option("--quiet", rich_help_panel="Output",
                                          help="no progress: results, warnings and errors alone")],
    "batch": Annotated[bool, typer.Option("--batch", rich_help_panel="Output",
                                          help="progress in plain lines also on a terminal")],
}

# A board is called either in the tools of this field: every program takes both.
SYNONYMS = ("--platform", "--board")

# Errors and signals are handled in spec.errors alone.
_app = partial(typer.Typer, add_completion=False, pretty_exceptions_enable=False)


class _Command(TyperCommand):
    """A command whose ``--json`` needs no value. Where the next word may be an argument of the command it is the file
    only if it ends with ``.json`` or is ``-``. An option of a board has both names."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        for param in self.params:
            if param.opts[0] in SYNONYMS:
                param.opts += [name for name in SYNONYMS if name not in param.opts]

    def parse_args(self, ctx, args):
        """The arguments with the value of ``--json``."""
        alone, filled = all(param.param_type_name == "option" for param in self.params), []
        for word, after in zip(args, [*args, "--"][1:], strict=True):
            filled.append(word)
            file = after == STDOUT or not after.startswith("-") and (alone or after.endswith(".json"))
            if word == "--json" and not file:
                filled.append(STDOUT)
        return super().parse_args(ctx, filled)


def _common(function: Callable[..., Outcome]) -> Callable[..., int]:
    """A program's function with the options that all have; returns the exit status."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())
    more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation,
                              default=None if name == "json" else False) for name, annotation in COMMON.items()]

    @wraps(function, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def run(**values):
        file, quiet, batch = (values.pop(name) for name in COMMON)
        printed = sys.stdout
        from .files import check_outputs        # not before: it needs NumPy, and a list of programs does not
        check_outputs(None if file == STDOUT else file,
                      inputs=[value for value in values.values() if isinstance(value, str) and os.path.isfile(value)])
        with shown(quiet=quiet, batch=batch or file == STDOUT), _aside(file):
            try:
                outcome = function(**values)
            except AlloyError as error:
                if file == STDOUT:
                    _show({"status": error.status, "error": str(error)}, file, printed)
                raise
            status, result = outcome if isinstance(outcome, tuple) else (outcome or 0, {})
            if file is not None:
                _show({"status": status, **result}, file, printed)
            return status
    run.__dict__.pop("__wrapped__")     # its signature is another
    run.__dict__["__signature__"] = inspect.Signature([*(p.replace(kind=p.KEYWORD_ONLY) for p in own), *more])
    return run


def _aside(file):
    return redirect_stdout(sys.stderr if file == STDOUT else sys.stdout)


def _show(result, file, printed):
    from .files import write_text
    text = json.dumps(result, indent=2) + "\n"
    if file == STDOUT:
        print(text, end="", file=printed)
    else:
        write_text(file, text)


class Entry:
    """A function as an entry point: called with a list of arguments (None: those of the process) it returns the exit
    status.

    Parameters
    ----------
    function : returns the exit status, or that and what ``--json`` shows; its parameters are the options and arguments,
        with annotations of typer, its docstring is the help.
    name : how the program is started. example : options for the end of the help.
    """

    def __init__(self, function: Callable[..., Outcome], name: str, example: str):
        self.function, self.name, self.example = function, name, example
        self.__doc__ = function.__doc__
        self._run = command_line(lambda arguments: invoke(self.command, name, arguments))

    def add_to(self, app: typer.Typer, prefix: str, name: str | None = None) -> None:
        """Register the function; ``prefix`` is what comes before the options in the example."""
        app.command(name, cls=_Command, epilog=f"Example: {prefix} {self.example}")(_common(self.function))

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


def entry(name: str, example: str) -> Callable[[Callable[..., Outcome]], Entry]:
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
        if end.code:
            raise
        return 0        # completion for the shell is installed
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = name if context is None else context.command_path
        raise AlloyError(f"{error.format_message().strip().rstrip('.')}: see {where} --help") from None
