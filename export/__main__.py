"""``python -m export``: from a checkpoint to a ``.mar``."""

import sys

from export.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
