"""Models and benches: golden integers, command-level, cycles, Amaranth's simulator and Verilator."""
