"""The `headstart` command line; there is nothing to load before an interrupt is borne."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command; the exit code is 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        from headstart_client.command_line import run  # noqa: PLC0415 - takes a moment

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
