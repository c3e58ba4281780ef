"""``python -m rtl.study``: single blocks compared by synthesis, on both families; writes docs/results/blocks.md."""

import sys
from typing import Annotated

from typer import Option

from spec.entry import entry
from spec.files import check_outputs, write_text

from .tools.study import page

__all__ = ["main"]


@entry("python -m rtl.study", "--out build/blocks.md")
def main(out: Annotated[str, Option(help="page to write")] = "docs/results/blocks.md") -> int:
    """Compare alternatives of single blocks by synthesis, on both families."""
    check_outputs(out)
    write_text(out, page(lambda text: print(text, flush=True)))
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
