"""The buses: AXI4 and AXI4-Lite, and their ports."""

from .arbiter import ReadArbiter
from .axi import AXI4LiteSignature, AXI4ReadSignature, AXI4WriteSignature
from .ports import ReadPort, WritePort

__all__ = ["AXI4LiteSignature", "AXI4ReadSignature", "AXI4WriteSignature", "ReadArbiter", "ReadPort", "WritePort"]
