"""How a program of ours is told to stop."""

import signal
import socket
from types import FrameType


class Stop:
    """SIGINT, SIGTERM or SIGHUP, heeded between two steps: amid one it would leave half of it."""

    def __init__(self) -> None:
        # A signal may be delivered to any thread, and then interrupts no wait of this one; but
        # whichever takes it writes here.
        self._noted, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def check(self) -> None:
        """End the program if it was asked to stop."""
        if self._asked:
            raise SystemExit(0)

    def wait(self) -> None:
        """Return when the program is asked to stop."""
        self._noted.recv(1)
