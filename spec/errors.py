"""The one exception a user of Alloy sees for bad input."""

__all__ = ["AlloyError"]


class AlloyError(ValueError):
    """Bad input: one sentence that names the value and the way out.

    Command-line programs print it without a traceback and exit with status 2.
    """
