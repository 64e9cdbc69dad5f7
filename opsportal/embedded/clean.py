"""`make clean`: throw away everything that `make run` keeps, unless it runs.

python -m opsportal.embedded.clean
"""

from __future__ import annotations

import shutil
import sys

from opsportal.embedded.dotenv import run_folder
from opsportal.embedded.errors import EmbeddedServerError
from opsportal.embedded.lock import only_one
from opsportal.embedded.places import remove_root_area
from opsportal.embedded.run import ROOT, end_left_over


def main() -> int:
    """Remove the run folder and, as root, its stand-in outside; returns the exit status."""
    folder = run_folder(ROOT)
    if not folder.exists():
        remove_root_area(folder)
        return 0
    try:
        with only_one(folder):
            end_left_over(folder)
            remove_root_area(folder)
            shutil.rmtree(folder)
    except EmbeddedServerError as error:
        print(f"make clean: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
