"""Benches that fail leave a waveform."""

from tests.waves import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
