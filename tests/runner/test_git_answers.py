"""What a git server says in its headers may be anything."""

import pytest

from headstart_runner.gateway.answers import moved_to, seconds_to_wait

REFS = "info/refs?service=git-upload-pack"


@pytest.mark.parametrize(
    "said", ["9" * 5000, "01 Jan 2020 00:00:00 +99999999999999999999", "soon", "", "-1"]
)
def test_a_time_to_wait_that_makes_no_sense_is_none(said: str) -> None:
    assert seconds_to_wait({"Retry-After": said}) is None


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:99999/x/info/refs",
        "http://[/info/refs",
        "/login",
        "ftp://h/x/info/refs",
        None,
    ],
)
def test_an_address_that_makes_no_sense_is_none(location: str | None) -> None:
    assert moved_to("http://127.0.0.1/x", REFS, location) is None


def test_a_repository_has_moved_to_where_its_refs_have() -> None:
    moved = moved_to("http://h/a.git", REFS, "/b.git/info/refs?service=git-upload-pack")
    assert moved == "http://h/b.git"
