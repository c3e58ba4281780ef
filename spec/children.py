"""Other programs that do not outlive the one that started them."""

from collections.abc import Sequence
from contextlib import suppress
import os
import signal
import subprocess
import threading
from typing import Any

from .errors import AlloyError

__all__ = ["Children"]


class Children:
    """Programs that run inside a ``with`` block, started from any thread. When it is left, for whatever reason, those
    that still run are killed with everything that they have started, and no further one starts."""

    def __init__(self):
        self._lock, self._running, self._left = threading.Lock(), set(), False

    def start(self, command: Sequence, **options: Any) -> subprocess.Popen:
        """``subprocess.Popen`` in a process group of its own; :class:`AlloyError` if there is no such program."""
        with self._lock:
            if self._left:
                raise RuntimeError("the block has been left")
            try:
                process = subprocess.Popen(command, process_group=0, **options)
            except (FileNotFoundError, PermissionError) as error:
                raise AlloyError(f"{command[0]} cannot be run ({error.strerror}): install it") from None
            self._running.add(process)
        return process

    def run(self, command: Sequence, *, input: str | None = None, **options: Any) -> tuple[int, str, str]:
        """Run to the end: (exit status, standard output, standard error) as text."""
        source = subprocess.DEVNULL if input is None else subprocess.PIPE
        process = self.start(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                             errors="replace", **options)
        out, error = process.communicate(input)
        with self._lock:
            self._running.discard(process)
        return process.returncode, out, error

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with self._lock:
            self._left = True
            for process in self._running:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
            for process in self._running:
                process.wait()
