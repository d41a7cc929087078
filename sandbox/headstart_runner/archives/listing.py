"""What find(1) lists of a workspace, and how two such lists differ.

A list is bytes: one record a path, with all that changes when a file does. It is the only memory of
what a base holds, so it is compared by unlike, never by older: clocks step back, and files come
with the times of their forerunners.
"""

import stat
from collections.abc import Collection, Iterable

FORMAT = rb"%y %m %s %T@ %C@ %i %p\0"
"""Kind, mode, size, times of content and of state in nanoseconds, inode (find(1), -printf)."""

_FIELDS = 6
_CHANGED = 4
"""Which field is the time of the last change of state (inode(7), st_ctime)."""

_FOLDER, _SOCKET = b"d", b"s"
_UNSETTLED = b" - - - - -"
_TICK_SECONDS = 0.05
"""How long two changes may bear the same time: the kernel's clock ticks at 100 Hz at least."""

Listing = dict[bytes, bytes]


def parse(listed: bytes) -> Listing:
    """Return what is told of each path, without sockets: nothing could be put back of those."""
    found: Listing = {}
    for record in listed.split(b"\0"):
        if record and not record.startswith(_SOCKET):
            *told, path = record.split(b" ", _FIELDS)
            if told[0] == _FOLDER:
                # A folder's size is its file system's own business.
                told[2] = b""
            found[path] = b" ".join(told)
    return found


def dump(listing: Listing) -> bytes:
    """Return a list as it is kept."""
    return b"".join(b"%s %s\0" % (told, path) for path, told in listing.items())


def settled(listing: Listing, at: float) -> Listing:
    """Return a list in which nothing is told of what might change and still look the same.

    Its path and kind stay: it may be gone later. `at` is when the list was begun, in seconds of
    this machine's clock.
    """
    latest = at - _TICK_SECONDS
    return {
        path: told if float(told.split(b" ")[_CHANGED]) < latest else told[:1] + _UNSETTLED
        for path, told in listing.items()
    }


def changed(base: Listing, now: Listing) -> list[bytes]:
    """Return the paths that a difference has to hold, parents first.

    The folder of a path that came, went or changed is one of them: putting the others back changes
    its times. So is each folder that is closed to its owner: all of them are opened for that.
    """
    found = {path for path, told in now.items() if base.get(path) != told or _is_closed(told)}
    for path in [*found, *(base.keys() - now.keys())]:
        parent = path.rpartition(b"/")[0]
        if parent in now:
            found.add(parent)
    return sorted(found)


def _is_closed(told: bytes) -> bool:
    if not told.startswith(_FOLDER):
        return False
    return int(told.split(b" ", 2)[1], 8) & stat.S_IRWXU != stat.S_IRWXU


def gone(base: Listing, now: Listing) -> list[bytes]:
    """Return the topmost paths that must be removed before a difference is put back."""
    paths = {p for p, told in base.items() if p not in now or now[p][:1] != told[:1]}
    return sorted(path for path in paths if paths.isdisjoint(_above(path)))


def _above(path: bytes) -> Iterable[bytes]:
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def without(now: Listing, left_out: Collection[bytes]) -> Listing:
    """Return a list without some paths and all below them."""
    tops = frozenset(left_out)
    return {p: told for p, told in now.items() if tops.isdisjoint((p, *_above(p)))}


def moved(then: Listing, now: Listing) -> list[bytes]:
    """Return the paths of which two looks, one before and one after, tell different things."""
    return sorted(p for p in then.keys() | now.keys() if then.get(p) != now.get(p))


def reshaped(then: Listing, now: Listing) -> list[bytes]:
    """Return the paths of another kind of file, or of another folder, in the second of two looks.

    What was packed of these may fit together with nothing that was packed of what is below them.
    What only came or went is harmless: it is there or not.
    """
    both = (path for path in moved(then, now) if path in then and path in now)
    return [path for path in both if _shape(then[path]) != _shape(now[path])]


def _shape(told: bytes) -> tuple[bytes, bytes]:
    kind, inode = told[:1], told.rpartition(b" ")[2]
    return kind, inode if kind == _FOLDER else b""
