"""The `headstart` command line; there is nothing to load before an interrupt is borne."""

import os
import sys
from typing import TYPE_CHECKING

from headstart_client.hangup import hung_up, let_go

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command; the exit code is 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by who started it: nobody is to be told anything.
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - to the very end
    try:
        from headstart_client.command_line import run  # noqa: PLC0415 - takes a moment

        try:
            return run(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    except BrokenPipeError:
        return hung_up()
    except OSError as error:
        # Such as a disk that is full, where the output goes.
        let_go(sys.stdout)
        sys.stderr.write(f"headstart: {error.strerror or error}.\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
