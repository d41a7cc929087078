"""What is kept of what a process prints: never more than so much, however much that is."""

from headstart_runner.processes.launcher import Sink


def bounded(into: bytearray, most: int) -> Sink:
    """Return what puts a process's output into a buffer, until it holds so many bytes."""
    return lambda data: into.extend(data[: max(0, most - len(into))])


class Ends:
    """The beginning and the end of what a process prints, as whole lines where it prints lines.

    Each is of so many bytes; the end may be of twice as many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._first = bytearray()
        self._last = bytearray()
        self._is_whole = True

    def take(self, data: bytes) -> None:
        """Take a piece."""
        room = self._most - len(self._first)
        self._first += data[:room]
        self._last += data[room:]
        if len(self._last) > 2 * self._most:
            self._is_whole = False
            del self._last[: -self._most]

    def text(self) -> str:
        """Return both, decoded leniently."""
        first, last = bytes(self._first), bytes(self._last)
        if not self._is_whole:
            first = first[: first.rfind(b"\n") + 1] or first + b"\n"
            last = last[last.find(b"\n") + 1 :]
        return (first + last).decode(errors="replace")
