"""The generated Verilog between cocotb's bus models: masters and slaves of AXI that are not Alloy's own."""

from pathlib import Path

HERE = Path(__file__).parent
