"""The table of speeds, ``python -m sim.bench``: networks on boards, by the cycle model and by the Verilated engine."""
