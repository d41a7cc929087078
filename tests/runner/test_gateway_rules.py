"""The gateway's rules by themselves: pushes, calls, batches of large files, credentials."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_kit import BRANCH

from headstart_runner.gateway import lfs
from headstart_runner.gateway.calls import Kind, call_of
from headstart_runner.gateway.gateway import _names
from headstart_runner.gateway.pkt_lines import NotAPush, PushReader, RefUpdate, refusal, refused

OLD, NEW, NONE = b"1" * 40, b"2" * 40, b"0" * 40


def line(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)


def read(body: bytes, cuts: list[int]) -> PushReader:
    """Feed a body in pieces that end at these places."""
    push, begin = PushReader(), 0
    for cut in [*sorted(cuts), len(body)]:
        push.feed(body[begin:cut])
        begin = max(begin, cut)
    return push


refs = st.binary(min_size=1, max_size=30).filter(lambda ref: not re.search(rb"[\0\n]", ref))
oids = st.sampled_from([OLD, NEW, NONE, b"a" * 64])
updates = st.lists(st.builds(RefUpdate, oids, oids, refs), min_size=1, max_size=5)


@given(
    updates=updates,
    capabilities=st.frozensets(
        st.sampled_from([b"report-status", b"side-band-64k", b"atomic", b"agent=git/2"])
    ),
    shallow=st.booleans(),
    pack=st.binary(max_size=50),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_a_push_is_read_the_same_however_it_is_cut(
    updates: list[RefUpdate],
    capabilities: frozenset[bytes],
    shallow: bool,
    pack: bytes,
    cuts: list[int],
) -> None:
    said = [b"%s %s %s" % (update.old, update.new, update.ref) for update in updates]
    said[0] += b"\0 " + b" ".join(sorted(capabilities))
    lines = ([b"shallow " + OLD] if shallow else []) + said
    body = b"".join(map(line, lines)) + b"0000" + pack
    push = read(body, cuts)

    assert push.done
    assert push.updates == updates
    assert push.capabilities == capabilities
    assert bytes(push.taken) == body


@given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_are_a_push_or_none_and_nothing_else(body: bytes, cuts: list[int]) -> None:
    with suppress(NotAPush):
        push = read(body, cuts)
        assert push.updates == [] or push.done or body.endswith(push.taken)


def test_an_empty_push_is_gits_question_whether_it_would_be_heard() -> None:
    push = read(b"0000", [2])
    assert push.done
    assert refused(push.updates, BRANCH) is None


def test_what_never_ends_is_not_read_for_ever() -> None:
    command = line(b"%s %s refs/heads/x" % (OLD, NEW))
    push = PushReader()
    with pytest.raises(NotAPush, match="names more refs"):
        for _ in range(10_000):
            push.feed(command)
    assert len(push.taken) < 65 * 1024


@pytest.mark.parametrize(
    "body", [b"0001", b"0004", b"00zz", line(b"push-cert\0x"), line(b"hello"), line(OLD + b" x")]
)
def test_what_is_no_push_is_said_so(body: bytes) -> None:
    with pytest.raises(NotAPush):
        read(body + b"0000", [])


@given(ref=refs, branch=st.sampled_from([BRANCH, "main", None]), new=oids)
def test_one_branch_only_is_written_and_never_taken_away(
    ref: bytes, branch: str | None, new: bytes
) -> None:
    for name in (ref, b"refs/heads/" + (branch or "main").encode()):
        allowed = name == f"refs/heads/{branch}".encode() and branch is not None and new != NONE
        assert (refused([RefUpdate(OLD, new, name)], branch) is None) == allowed


@pytest.mark.parametrize("bands", [b"", b" side-band-64k"])
def test_a_refusal_is_a_report_that_git_understands(bands: bytes) -> None:
    push = read(line(b"%s %s refs/heads/main\0report-status%s" % (OLD, NEW, bands)) + b"0000", [])
    said = refusal(push, "not there")

    assert b"unpack ok\n" in said
    assert b"ng refs/heads/main not there\n" in said
    assert said.endswith(b"0000")
    assert (b"\x02not there\n" in said) == bool(bands)


@pytest.mark.parametrize(
    ("method", "address", "kind"),
    [
        ("GET", "/h/o/n.git/info/refs?service=git-upload-pack", Kind.REFS),
        ("GET", "/h/o/n.git/info/refs?service=git-receive-pack", Kind.REFS),
        ("GET", "/h/n/info/refs", Kind.REFS),
        ("GET", f"/h/o/n.git/objects/pack/pack-{'a' * 40}.idx", Kind.FILE),
        ("POST", "/h/o/n.git/git-upload-pack", Kind.FETCH),
        ("POST", "/h:8080/o/n.git/git-receive-pack", Kind.PUSH),
        ("POST", "/h/o/n.git/info/lfs/objects/batch", Kind.BATCH),
        ("POST", "/h/o/n.git/info/lfs/locks/verify", Kind.LOCKS),
        ("PUT", "/h/o/n.git/info/lfs/actions/abc-_9", Kind.ACTION),
        ("POST", "/h/o/n.git/info/refs?service=git-upload-pack", None),
        ("GET", "/h/o/n.git/git-receive-pack", None),
        ("GET", "/h/o/n.git/info/refs?service=git-upload-pack&x=1", None),
        ("GET", "/h/o/../n.git/info/refs", None),
        ("GET", "/h/o/%2e%2e/n.git/info/refs", None),
        ("GET", "/h/o/%252e%252e/n.git/info/refs", None),
        ("GET", "/h/info/refs", None),
        ("POST", "/h/o/n.git/info/lfs/locks", None),
        ("DELETE", "/h/api/v4/projects/1", None),
    ],
)
def test_the_few_requests_of_git_are_told_apart(
    method: str, address: str, kind: Kind | None
) -> None:
    call = call_of(method, address)

    assert (call.kind if call else None) is kind
    if call is not None:
        assert call.repository in {"o/n", "n"}
        assert call.write == ("receive" in address)


@given(st.text(max_size=80))
def test_any_address_is_a_call_or_none(text: str) -> None:
    call = call_of("GET", f"/h/{text}")
    assert call is None or call.host == "h"


def test_a_usual_host_is_found_however_it_is_named() -> None:
    names = _names("https://github.com/org/name.git")
    assert names == [
        "https://github.com/",
        "https://github.com:443/",
        "git@github.com:",
        "ssh://git@github.com/",
    ]
    assert _names("http://git.lan:8080/a") == ["http://git.lan:8080/"]


# Large files.

BASE = "https://h/o/n.git"
OURS = ("token-0123456789", "b3Vycw==0123456789")


def batch(**actions: dict[str, Any]) -> bytes:
    return json.dumps({"objects": [{"oid": "1", "size": 1, "actions": actions}]}).encode()


def kept(actions: lfs.Actions, answer: bytes, *, uploads: bool = False) -> dict[str, Any]:
    door = lambda name: f"http://door/{name}"  # noqa: E731  (one line, used once)
    said = actions.keep(answer, "o/n", BASE, OURS, door, uploads=uploads)
    found: dict[str, Any] = json.loads(said)["objects"][0]["actions"]
    return found


def test_what_opens_the_hosts_own_storage_is_kept_and_what_opens_anothers_passes() -> None:
    actions = lfs.Actions()
    own = {"href": "https://h/storage/1", "header": {"Authorization": "Basic secret"}}
    other = {"href": "https://s3.example/1?X-Amz-Signature=abc", "header": {"x-amz": "1"}}
    leaking = {"href": "https://s3.example/2", "header": {"Authorization": f"Basic {OURS[1]}"}}
    found = kept(actions, batch(download=own))
    found |= kept(actions, batch(upload=other, verify=leaking), uploads=True)

    assert found["upload"] == other
    assert found["verify"]["header"] == {}
    assert "header" not in found["download"]
    name = found["download"]["href"].removeprefix("http://door/")
    action = actions.get(name)
    assert action is not None
    assert (action.href, action.method, action.uploads) == (own["href"], "GET", False)
    assert action.headers == own["header"]
    assert "secret" not in repr(action)
    assert actions.get("guess") is None


def test_actions_are_forgotten_when_there_are_too_many() -> None:
    actions = lfs.Actions()
    names = [
        kept(actions, batch(download={"href": f"https://h/{n}"}))["download"]["href"][12:]
        for n in range(4010)
    ]
    assert actions.get(names[0]) is None
    assert actions.get(names[-1]) is not None


@pytest.mark.parametrize(
    "said",
    [
        b"[]",
        b"{",
        batch(download={"href": 5}),
        batch(download={"href": "http://[x"}),
        batch(download={"href": "https://h/1", "header": {"x": "y" * 9000}}),
        batch(download={"href": "https://h/1", "header": {"x": "y\r\nHost: evil"}}),
        batch(download={"href": "https://h/1", "header": {"x\n": "y"}}),
        batch(download={"href": "https://h/1\r\n", "header": {}}),
        batch(download={"href": "https://s3.example/1", "header": {"x": "y\0z"}}),
    ],
)
def test_a_batch_that_makes_no_sense_is_none(said: bytes) -> None:
    with pytest.raises(lfs.NotABatch):
        kept(lfs.Actions(), said)
    with pytest.raises(lfs.NotABatch):
        lfs.batch(b'{"operation": "delete", "objects": []}')
