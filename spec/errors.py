"""The one exception a user of Alloy sees for bad input, and how command-line programs show it."""

from functools import wraps
import sys

__all__ = ["AlloyError", "command_line"]


class AlloyError(ValueError):
    """Bad input: one sentence that names the value and the way out."""


def command_line(main):
    """A program whose :class:`AlloyError` becomes one line on standard error and exit status 2."""
    @wraps(main)
    def wrapped(arguments=None):
        try:
            return main(arguments)
        except AlloyError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return wrapped
