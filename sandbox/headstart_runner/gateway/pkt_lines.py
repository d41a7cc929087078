"""The commands of a push, read before anything of it is passed on, and the report of a refusal.

The format is git's own: gitprotocol-common(5) for the lines, gitprotocol-pack(5) for what a push
sends and gets.
"""

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_LENGTH = 4
_FLUSH = b"0000"
_LEAST_DATA = 4
_HEX = re.compile(rb"[0-9a-fA-F]{4}")
_COMMAND = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) ([^\0\n]+)\n?")
_SHALLOW = re.compile(rb"shallow [0-9a-f]{40,64}\n?")
_CERTIFICATE = b"push-cert"
_OPTIONS = b"push-options"
_FETCH = re.compile(rb"0000\Z|[0-9a-fA-F]{4}(?:command=|want )")
_BEGINS_BYTES = 16
_GZIP = 31
"""What zlib calls the format of gzip, by its `wbits`."""

_MOST_BYTES = 64 * 1024
"""What the commands of a push may take together: one takes 120 bytes and the name of its ref."""

_BAND_BYTES = 990
_SIDE_BANDS = {b"side-band", b"side-band-64k"}
_REPORTS = {b"report-status", b"report-status-v2"}
_REPORT, _MESSAGE = b"\x01", b"\x02"


class NotAPush(ValueError):
    """What was sent is none that can be judged; the words are fit for a person."""


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One ref and what it shall become; `new` is all zeros where it shall be gone."""

    old: bytes
    new: bytes
    ref: bytes

    @property
    def deletes(self) -> bool:
        """Whether the ref shall be gone."""
        return not self.new.strip(b"0")


@dataclass(slots=True)
class PushReader:
    """Takes the beginning of a push as it comes, until `done`.

    `taken` is all that came, to be passed on; without updates it is git's question whether a push
    would be heard. Raises NotAPush for what is none, and for more than 64 KB of commands.
    """

    updates: list[RefUpdate] = field(default_factory=list)
    capabilities: frozenset[bytes] = frozenset()
    taken: bytearray = field(default_factory=bytearray)
    done: bool = False
    _at: int = 0
    _first: bool = True
    _with_options: bool = False

    def feed(self, data: bytes) -> None:
        """Take a piece."""
        self.taken += data
        while not self.done and (line := self._next()) is not None:
            self._take(line)
        if not self.done and len(self.taken) > _MOST_BYTES:
            raise NotAPush("it names more refs than one push may")

    def _next(self) -> bytes | None:
        """Return the next line whole, empty at the end of the commands; None until it has come."""
        head = bytes(self.taken[self._at : self._at + _LENGTH])
        if len(head) < _LENGTH:
            return None
        if head == _FLUSH:
            self._at += _LENGTH
            return b""
        if not _HEX.fullmatch(head) or int(head, 16) <= _LEAST_DATA:
            raise NotAPush("it does not begin as a push does")
        end = self._at + int(head, 16)
        if len(self.taken) < end:
            return None
        line = bytes(self.taken[self._at + _LENGTH : end])
        self._at = end
        return line

    def _take(self, line: bytes) -> None:
        if not line:
            if self._with_options:
                # Hosts merge, or show to everybody, what such an option tells them to.
                raise NotAPush("a push with options (git push -o) is not taken here")
            self.done = True
            return
        if _SHALLOW.fullmatch(line):
            return
        command, with_capabilities, capabilities = line.partition(b"\0")
        if with_capabilities and self._first:
            self.capabilities = frozenset(capabilities.split())
        self._first = False
        # git takes what follows any command for capabilities (receive-pack.c).
        self._with_options = self._with_options or _OPTIONS in capabilities
        if command.rstrip(b"\n") == _CERTIFICATE:
            raise NotAPush("a signed push is not taken here")
        match = _COMMAND.fullmatch(command)
        if match is None:
            raise NotAPush("it does not begin as a push does")
        self.updates.append(RefUpdate(match[1], match[2], match[3]))


def begins_as_fetch(begun: bytes, encoding: str) -> bool:
    """Return whether a body begins as git's question for objects, or for what there is of them."""
    if encoding == "gzip":
        try:
            begun = zlib.decompressobj(_GZIP).decompress(begun, _BEGINS_BYTES)
        except zlib.error:
            return False
    elif encoding != "identity":
        return False
    return bool(_FETCH.match(begun))


def refusal(push: PushReader, reason: str) -> bytes:
    """Return what tells git that nothing of a push was taken, in words that it shows."""
    report = [b"unpack ok\n"]
    report += [b"ng %s %s\n" % (update.ref, reason.encode()) for update in push.updates]
    status = b"".join(map(_line, report)) + _FLUSH if push.capabilities & _REPORTS else b""
    if not push.capabilities & _SIDE_BANDS:
        return status
    bands = [*_banded(_MESSAGE, reason.encode() + b"\n"), *_banded(_REPORT, status)]
    return b"".join(map(_line, bands)) + _FLUSH


def _line(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + _LENGTH, data)


def _banded(band: bytes, data: bytes) -> Iterable[bytes]:
    return [band + data[at : at + _BAND_BYTES] for at in range(0, len(data), _BAND_BYTES)]


def refused(updates: Sequence[RefUpdate], branch: str | None) -> str | None:
    """Return why a push to the session's repository is refused, None for one to its branch."""
    if branch is None:
        return "this session has no branch to push to" if updates else None
    own = f"refs/heads/{branch}"
    for update in updates:
        ref = update.ref.decode(errors="replace")
        if update.ref != own.encode():
            return (
                f"this session may push to {branch} only, not to {ref.removeprefix('refs/heads/')}"
            )
        if update.deletes:
            return f"this session may not delete {branch}"
    return None
