"""``python -m rtl.regmap docs`` writes the two pages, ``python -m rtl.regmap --software DIR`` the header and the JSON."""

import argparse
from pathlib import Path
import sys

from spec.errors import command_line
from spec.files import check_outputs

from .tools import PAGES, SOFTWARE, write_pages, write_software

__all__ = ["main"]


@command_line
def main(arguments=None):
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rtl.regmap",
                                     description="Write the register and command pages, or the C header and JSON.")
    parser.add_argument("docs", nargs="?", help="folder for registers.md and commands.md")
    parser.add_argument("--software", metavar="DIR", help=f"folder for {' and '.join(SOFTWARE)}")
    chosen = parser.parse_args(arguments)
    if chosen.docs is None and chosen.software is None:
        parser.error("name a folder for the pages, or --software DIR")
    for folder, names, write in ((chosen.docs, PAGES, write_pages),
                                 (chosen.software, SOFTWARE, write_software)):
        if folder is not None:
            check_outputs(*(Path(folder, name) for name in names))
            write(folder)
            print(f"written to {Path(folder)}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
