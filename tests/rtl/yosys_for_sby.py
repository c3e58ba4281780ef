"""Yosys as ``sby`` calls it, ``-ql LOG SCRIPT``: the native library, which starts at once."""

import sys

from pyosys import libyosys as ys

if __name__ == "__main__":
    ys.run_pass("tee -q -o {} script {}".format(*sys.argv[-2:]), ys.Design())
