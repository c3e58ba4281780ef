"""The register table of the engine's AXI4-Lite slave (32-bit registers, byte addresses).

``rtl.control.registers`` builds the hardware from it; the C header, the JSON and ``docs/registers.md`` are generated
from it.
"""

from dataclasses import dataclass
from enum import IntEnum

from .commands import VERSION

__all__ = ["Register", "Bits", "Trace", "REGISTERS", "ID", "VERSION", "SPACE"]

ID = 0x594F4C41         # "ALOY"
SPACE = 256             # bytes of the register space


class Trace(IntEnum):
    """What the trace pins tell of a command."""
    BEGUN = 0           # a convolution issued its first k-step
    FED = 1             # and its last
    DONE = 2            # a compute command is complete: its outputs can be read


@dataclass(frozen=True)
class Bits:
    """A named bit range of a register."""
    name: str
    lo: int
    width: int
    text: str

    @property
    def mask(self) -> int:
        """The bits in the register."""
        return (1 << self.width) - 1 << self.lo


@dataclass(frozen=True)
class Register:
    """``access``: r (read only), rw (read and write), w1 (write 1 to act, reads 0), w1c (write 1 to clear).

    ``busy`` says what a write does while a program runs, ``init`` is the value after reset.
    """
    name: str
    offset: int
    access: str
    text: str
    bits: tuple = ()
    busy: str = "nothing, as always"
    init: int = 0


NEXT = "counts for the next program: the running one keeps what it was started with"
NOW = "as when idle: it acts at once"

REGISTERS = (
    Register("ID", 0x00, "r", "0x594f4c41, 'ALOY'"),
    Register("VERSION", 0x04, "r", "version of the register and command tables; a program is compiled with it"),
    Register("DIGEST", 0x08, "r", "configuration digest; a program is compiled for it"),
    Register("CTRL", 0x0C, "w1", "control",
             (Bits("start", 0, 1, "run the program"),
              Bits("abort", 1, 1, "stop and return to idle; outstanding bus transfers finish first")),
             "`start` is ignored; `abort` stops the program (while idle it does nothing, and in one write it goes "
             "before `start`)"),
    Register("STATUS", 0x10, "r", "state of the engine",
             (Bits("busy", 0, 1, "a program runs"), Bits("done", 1, 1, "the last program ran to its END"),
              Bits("error", 2, 1, "the last program was stopped"), Bits("code", 8, 8, "error code"),
              Bits("tag", 16, 16, "tag of the command at fault"))),
    Register("IRQ_ENABLE", 0x14, "rw", "interrupt enable",
             (Bits("done", 0, 1, "END reached"), Bits("error", 1, 1, "stopped")), NOW),
    Register("IRQ_STATUS", 0x18, "w1c", "pending interrupts",
             (Bits("done", 0, 1, "END reached"), Bits("error", 1, 1, "stopped")), NOW),
    Register("BASE_LO", 0x1C, "rw", "DRAM window base, bits 31..0; aligned to 4096", busy=NEXT),
    Register("BASE_HI", 0x20, "rw", "DRAM window base, bits 63..32", busy=NEXT),
    Register("SIZE", 0x24, "rw", "DRAM window size in bytes; no access leaves the window", busy=NEXT),
    Register("CMD_OFFSET", 0x28, "rw", "offset of the first command in the window; aligned to 128", busy=NEXT),
    Register("CMD_COUNT", 0x2C, "rw", "number of commands, START and END included", busy=NEXT),
    Register("WATCHDOG", 0x30, "rw", "cycles without progress after which the engine stops; 0 is never", busy=NEXT,
             init=1 << 20),
    Register("CYCLES_LO", 0x34, "r", "cycles of the running or last program, bits 31..0"),
    Register("CYCLES_HI", 0x38, "r", "bits 63..32"),
    Register("COMMANDS", 0x3C, "r", "commands completed"),
    Register("ARRAY_CYCLES", 0x40, "r", "cycles in which the array accumulated"),
    Register("LOAD_CYCLES", 0x44, "r", "cycles in which the load unit moved data"),
    Register("STORE_CYCLES", 0x48, "r", "cycles in which the store unit moved data"),
    Register("POST_CYCLES", 0x4C, "r", "cycles in which the post unit wrote"),
)
