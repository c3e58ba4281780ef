"""The buses: AXI4 and AXI4-Lite, their ports, and the register slices at the pins."""

from .arbiter import ReadArbiter
from .axi import AXI4LiteSignature, AXI4ReadSignature, AXI4WriteSignature
from .ports import ReadPort, WritePort
from .slices import Skid, Slice

__all__ = ["AXI4LiteSignature", "AXI4ReadSignature", "AXI4WriteSignature", "ReadArbiter", "ReadPort", "Skid", "Slice",
           "WritePort"]
