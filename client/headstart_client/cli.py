"""The `headstart` command line; there is nothing to load before an interrupt is borne."""

import sys
from typing import TYPE_CHECKING

from headstart_client.hangup import hung_up

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command; the exit code is 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        from headstart_client.command_line import run  # noqa: PLC0415 - takes a moment

        try:
            return run(sys.argv[1:] if argv is None else argv)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    except BrokenPipeError:
        return hung_up()


if __name__ == "__main__":
    sys.exit(main())
