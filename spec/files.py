"""Files that appear only when they are whole."""

from contextlib import contextmanager
import os
from pathlib import Path

from .errors import AlloyError

__all__ = ["replacing"]


@contextmanager
def replacing(path):
    """A path to write to; at the end of the block the file there takes the place of ``path``. Missing folders are made.

    Raises :class:`AlloyError` if the place cannot be written. After any error ``path`` is as it was.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise AlloyError(f"{path} cannot be written ({error.strerror}): choose another place") from None
    finally:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)
