"""``python -m rtl.regmap docs`` writes the two pages, ``python -m rtl.regmap --software DIR`` header and JSON."""

from pathlib import Path
import sys
from typing import Annotated

from typer import Argument, Option

from spec.entry import entry
from spec.errors import AlloyError
from spec.files import check_outputs

from .tools import PAGES, SOFTWARE, write_pages, write_software

__all__ = ["main"]


@entry("python -m rtl.regmap", "--software build/software")
def main(
    docs: Annotated[str | None, Argument(help="folder for registers.md and commands.md")] = None,
    software: Annotated[str | None, Option(metavar="DIR", help=f"folder for {' and '.join(SOFTWARE)}")] = None,
) -> int:
    """Write the register and command pages, or the C header and JSON."""
    if docs is None and software is None:
        raise AlloyError("nothing is asked for: name a folder for the pages, or --software DIR")
    for folder, names, write in ((docs, PAGES, write_pages), (software, SOFTWARE, write_software)):
        if folder is not None:
            check_outputs(*(Path(folder, name) for name in names))
            write(folder)
            print(f"written to {Path(folder)}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
