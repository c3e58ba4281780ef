"""``python -m rtl.study``: alternatives of single blocks compared by synthesis, on both families; writes docs/results/blocks.md."""

import argparse
import sys

from spec.errors import command_line
from spec.files import check_outputs, write_text

from .tools.study import page

__all__ = ["main"]


@command_line
def main(arguments=None):
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m rtl.study", description=__doc__)
    parser.add_argument("--out", default="docs/results/blocks.md", help="page to write")
    args = parser.parse_args(arguments)
    check_outputs(args.out)
    write_text(args.out, page(lambda text: print(text, flush=True)))
    print(f"written to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
