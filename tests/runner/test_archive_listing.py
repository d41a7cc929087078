"""How two lists of a workspace differ."""

from headstart_runner.archives import listing


def record(
    path: str, kind: str = "f", size: int = 1, changed: str = "10.5", inode: int = 7
) -> bytes:
    return f"{kind} 644 {size} 9.0000000000 {changed} {inode} {path}\0".encode()


def parsed(*records: bytes) -> listing.Listing:
    return listing.parse(b"".join(records))


def test_a_list_that_is_kept_tells_the_same() -> None:
    now = parsed(record("./a b"), record("./c", "d"), record("./new\nline"), record("./s", "s"))

    assert list(now) == [b"./a b", b"./c", b"./new\nline"]
    assert listing.parse(listing.dump(now)) == now
    assert listing.dump({}) == b""


def test_a_difference_holds_what_came_and_changed_with_the_folders_it_is_in() -> None:
    base = parsed(
        record("./d", "d"), record("./d/a"), record("./e", "d"), record("./e/b"), record("./top")
    )
    now = parsed(
        record("./d", "d", size=9),
        record("./d/a", changed="10.6"),
        record("./e", "d"),
        record("./top"),
        record("./new", inode=9),
    )

    assert listing.changed(base, now) == [b"./d", b"./d/a", b"./e", b"./new"]
    assert listing.gone(base, now) == [b"./e/b"]
    assert listing.moved(base, now) == [b"./d/a", b"./e/b", b"./new"]


def test_folders_that_are_closed_to_their_owner_are_in_each_difference() -> None:
    base = parsed(record("./open", "d"), record("./file"))
    closed = record("./shut", "d").replace(b" 644 ", b" 555 ")
    base |= parsed(closed, record("./open", "d").replace(b" 644 ", b" 755 "))

    assert listing.changed(base, base) == [b"./shut"]


def test_what_took_anothers_place_and_all_below_what_is_gone_is_removed_once() -> None:
    base = parsed(record("./d", "d"), record("./d/a"), record("./d/e", "d"), record("./d.x"))
    now = parsed(record("./d"), record("./d.x", "l"))

    assert listing.gone(base, now) == [b"./d", b"./d.x"]


def test_what_might_change_within_the_same_tick_is_not_believed_to_be_known() -> None:
    now = parsed(
        record("./old", changed="99.9000000000"), record("./late", changed="99.9600000000")
    )

    kept = listing.parse(listing.dump(listing.settled(now, 100.0)))

    assert listing.changed(kept, now) == [b"./late"]
    assert listing.gone(kept, parsed(record("./old"))) == [b"./late"]
    assert listing.gone(kept, now) == []


def test_only_another_kind_of_file_or_another_folder_has_another_shape() -> None:
    then = parsed(
        record("./d", "d"), record("./e", "d"), record("./f"), record("./g"), record("./h")
    )
    now = parsed(
        record("./d", "d", inode=8), record("./e", "l"), record("./f", size=2, inode=9),
        record("./h"), record("./new", "d"),
    )  # fmt: skip

    assert listing.reshaped(then, now) == [b"./d", b"./e"]


def test_what_is_left_out_takes_along_what_is_below_it() -> None:
    now = parsed(record("./a", "d"), record("./a/b"), record("./ab"), record("./c"))

    assert list(listing.without(now, [b"./a", b"./x"])) == [b"./ab", b"./c"]
