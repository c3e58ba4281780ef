"""The backend for an engine behind a UART: memory on the chip, and the bytes of :mod:`spec.uart`."""

from typing import Protocol

import numpy as np

from spec.config import BOUNDARY
from spec.errors import AlloyError
from spec.uart import ACKNOWLEDGE, BAUD, FAILED, REGISTERS, WORD, Request

__all__ = ["Uart", "UartBuffer", "Wire"]

SECONDS = 5.0           # in which an answer must begin


class Wire(Protocol):
    """As :class:`serial.Serial`: fewer bytes than were asked for if they do not come in time."""

    def read(self, size: int, /) -> bytes:
        """So many bytes."""

    def write(self, data: bytes, /) -> object:
        """All of them."""

    def close(self) -> None:
        """The end."""


class UartBuffer:
    """Memory of the board and its copy here, ``bytes``; whole words go over the wire."""

    def __init__(self, board: "Uart", address: int, size: int):
        self._board, self.address, self.bytes = board, address, np.zeros(size, np.uint8)

    def flush(self, start: int, size: int) -> None:
        """Write to the board."""
        first, last = _words(start, size)
        data = self.bytes[first:last].tobytes()
        self._board.ask(Request.WRITE, self.address + first, data + bytes(-len(data) % WORD))

    def invalidate(self, start: int, size: int) -> None:
        """Read from the board."""
        first, last = _words(start, size)
        data = self._board.ask(Request.READ, self.address + first, count=-(first - last) // WORD)
        self.bytes[first:last] = np.frombuffer(data, np.uint8)[:self.bytes.size - first]


def _words(start, size):
    """Whole words around a range."""
    return start // WORD * WORD, -(start + size) // WORD * -WORD


class Uart:
    """An engine behind a UART.

    Parameters
    ----------
    port : name of a serial port (``/dev/ttyUSB0``), or a :class:`Wire`.
    memory_bytes : of the memory on the chip. baud : bits a second.
    """

    def __init__(self, port: str | Wire, memory_bytes: int, baud: int = BAUD):
        self._wire, self._bytes, self._taken = _opened(port, baud) if isinstance(port, str) else port, memory_bytes, 0

    def ask(self, kind: Request, address: int, data: bytes = b"", count: int = 0) -> bytes:
        """The answer to a request: ``count`` words of a READ."""
        count = count or len(data) // WORD
        expected = count * WORD if kind is Request.READ else 0
        self._wire.write(bytes([kind]) + address.to_bytes(WORD, "little") + count.to_bytes(WORD, "little") + data)
        answer = self._wire.read(expected + 1)
        if len(answer) != expected + 1:
            raise AlloyError(f"the board has answered {len(answer)} of {expected + 1} bytes: is it the right port, at "
                             "the rate of the bitstream?")
        if answer[-1] == FAILED:
            raise AlloyError(f"the engine has no register at {address - REGISTERS:#x}: its bitstream is of another "
                             "version")
        if answer[-1] != ACKNOWLEDGE:
            raise AlloyError(f"the board has ended an answer with {answer[-1]:#x}: bytes were lost, open it again at a "
                             "slower rate")
        return answer[:-1]

    def read(self, offset: int) -> int:
        """A register of 32 bits by its byte offset."""
        return int.from_bytes(self.ask(Request.READ, REGISTERS + offset, count=1), "little")

    def write(self, offset: int, value: int) -> None:
        """The same."""
        self.ask(Request.WRITE, REGISTERS + offset, value.to_bytes(WORD, "little"))

    def allocate(self, size: int) -> UartBuffer:
        """Memory of ``size`` bytes; :class:`AlloyError` if there is no more."""
        at, end = self._taken, self._taken - -size // BOUNDARY * BOUNDARY
        if end > self._bytes:
            raise AlloyError(f"the memory of the board has {self._bytes:,} bytes and {end:,} are needed: take a "
                             "smaller network, or open the board again for another one")
        self._taken = end
        return UartBuffer(self, at, size)

    def pause(self) -> None:
        """Nothing: the next question takes long enough."""

    def close(self) -> None:
        """Give the port back."""
        self._wire.close()


def _opened(port, baud):
    try:
        import serial
    except ImportError:
        raise AlloyError("pyserial is not installed: pip install pyserial, or give an object with read and write"
                         ) from None
    try:
        return serial.Serial(port, baud, timeout=SECONDS)
    except serial.SerialException as error:
        raise AlloyError(f"{port} cannot be opened: {error}") from None
