"""What a host says to an engine behind a UART: requests of bytes, numbers of four bytes with the lowest first.

A request is its kind, an address and a number of words of 32 bits; behind a WRITE come the words. The answer is the
words of a READ, then ACKNOWLEDGE, or FAILED if a register has answered with an error. Any other byte between requests
is dropped, and a pause of :data:`PATIENCE` within one ends it.
"""

from enum import IntEnum

__all__ = ["ACKNOWLEDGE", "BAUD", "FAILED", "PATIENCE", "REGISTERS", "Request", "WORD"]

WORD = 4                # bytes
REGISTERS = 1 << 31     # addresses from here on are the engine's registers, those below memory
ACKNOWLEDGE, FAILED = b"KE"
PATIENCE = 0.1          # seconds
BAUD = 1_000_000        # bits a second, if nothing else is said


class Request(IntEnum):
    """First byte of a request."""
    READ = ord("R")
    WRITE = ord("W")
