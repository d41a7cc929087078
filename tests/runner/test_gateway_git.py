"""Git by way of the gateway: real git, and a real server that wants credentials."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from gateway_kit import Gate, a_repository, posting
from runner_kit import BRANCH

from headstart.domain.errors import AppNotInstalled
from headstart_local.git_server import Asked, Reply
from headstart_runner.gateway.gateway import Source

pytestmark = pytest.mark.anyio


# Reading.


async def test_a_private_repository_is_cloned_and_knows_its_true_address_only(box: Gate) -> None:
    copy = await box.cloned()

    assert (copy / "README.md").read_text() == "# Private\n"
    host = urlsplit(box.url).netloc
    assert box.mint.asked == [(host, box.repository, False)]
    settings = (copy / ".git" / "config").read_text()
    assert box.url in settings
    assert box.gateway._door.word not in settings
    assert (await box.git("config", "remote.origin.url", cwd=copy)).out.strip() == box.url
    # As git documents it: get-url shows what insteadOf makes of an address.
    shown = await box.git("remote", "get-url", "origin", cwd=copy)
    assert shown.out.strip() == box.url.replace(f"{box.server.base_url}/", box.door)
    assert box.gateway.true(shown.out.strip()) == box.url


async def test_what_is_public_is_read_without_asking_anybody(box: Gate) -> None:
    box.mint.open_to.add(box.repository)
    await box.cloned()

    assert box.mint.asked == []
    assert {asked.user for asked in box.server.asked} == {""}


async def test_another_repository_of_the_host_is_asked_for_by_its_own_name(
    box: Gate, tmp_path: Path
) -> None:
    other = a_repository(box.server, tmp_path / "more", "library")
    cloned = await box.git("clone", "--quiet", other, "library")

    assert cloned.code == 0, cloned.err
    name = other.rpartition("/")[2].removesuffix(".git")
    assert [asked[1:] for asked in box.mint.asked] == [(name, False)]


async def test_nothing_to_give_is_asked_for_once_and_said_without_a_prompt(box: Gate) -> None:
    box.mint.gives = False
    for _ in range(3):
        refused = await box.git("ls-remote", box.url)
        assert refused.code == 128
        assert "remote: 127.0.0.1 asks for credentials: " in refused.err
        assert "could not read Username" not in refused.err

    assert len(box.mint.asked) == 1


async def test_why_the_cloud_gives_nothing_is_what_git_says(box: Gate) -> None:
    box.mint.refuses = AppNotInstalled("Install the App at https://github.com/apps/headstart")
    refused = await box.git("ls-remote", box.url)

    assert "remote: Install the App at https://github.com/apps/headstart" in refused.err
    box.mint.refuses = None
    await box.gateway.open(box.gateway._source)  # type: ignore[arg-type]  # a retry's clone
    assert (await box.git("ls-remote", box.url)).code == 0


async def test_the_sessions_own_token_goes_before_the_clouds(box: Gate) -> None:
    box.vault._values = {"GIT_TOKEN": "glpat-mine-0123456789", "GIT_USERNAME": "ada"}
    box.server.authorize = lambda user, password, repository, write: (
        (user, password) == ("ada", "glpat-mine-0123456789")
    )
    await box.cloned()

    assert box.mint.asked == []
    assert box.redactor.text("glpat-mine-0123456789") == "[redacted]"


async def test_a_token_that_is_refused_is_asked_for_anew_once(box: Gate) -> None:
    copy = await box.cloned()
    box.mint.expire()
    fetched = await box.git("fetch", cwd=copy)
    assert fetched.code == 0, fetched.err
    assert len(box.mint.asked) == 2

    box.mint.expire()
    await box.gateway.open(Source(box.url, "another", allow_private=True))
    anew = await box.git("fetch", cwd=copy)
    assert anew.code == 0, anew.err
    assert len(box.mint.asked) == 3

    box.server.authorize = lambda *_: False
    refused = await box.git("fetch", cwd=copy)
    assert "does not let the session's credential read" in refused.err
    assert len(box.mint.asked) == 4


async def test_tokens_about_to_expire_are_not_used(box: Gate) -> None:
    box.mint.lasts = timedelta(minutes=4)
    await box.cloned()

    assert len(box.mint.asked) > 1
    assert "" in {asked.user for asked in box.server.asked}


# Writing.


async def test_the_sessions_branch_can_be_pushed_and_pushed_again(box: Gate) -> None:
    copy = await box.cloned()
    first = await box.git("push", "origin", BRANCH, cwd=copy)
    assert first.code == 0, first.err
    await box.git("commit", "--quiet", "--amend", "--allow-empty", "--message=Other", cwd=copy)
    again = await box.git("push", "--force", "origin", f"HEAD:refs/heads/{BRANCH}", cwd=copy)

    assert again.code == 0, again.err
    tip = (await box.git("rev-parse", "HEAD", cwd=copy)).out.strip()
    assert box.has(f"refs/heads/{BRANCH}") == tip
    assert [write for _, _, write in box.mint.asked] == [False, True]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (["HEAD:refs/heads/main"], "may push to {own} only, not to main"),
        (["--force", "HEAD:main"], "may push to {own} only, not to main"),
        (["HEAD:refs/tags/v1"], "may push to {own} only, not to refs/tags/v1"),
        ([f"HEAD:refs/heads/{BRANCH}x"], "may push to {own} only"),
        ([f"HEAD:{BRANCH}", "HEAD:refs/heads/other"], "may push to {own} only, not to other"),
        (["--delete", BRANCH], "may not delete {own}"),
        (["--mirror"], "may push to {own} only"),
    ],
)
async def test_any_other_ref_is_refused_in_words_and_never_gets_there(
    box: Gate, what: list[str], said: str
) -> None:
    copy = await box.cloned()
    assert (await box.git("push", "origin", BRANCH, cwd=copy)).code == 0
    await box.git("commit", "--quiet", "--allow-empty", "--message=More", cwd=copy)
    before, main = box.posts("receive"), box.has("refs/heads/main")
    pushed = await box.git("push", *[w for w in what if w[:2] == "--"], "origin",
                           *[w for w in what if w[:2] != "--"], cwd=copy)  # fmt: skip

    assert pushed.code != 0
    assert said.format(own=BRANCH) in pushed.err
    assert "[remote rejected]" in pushed.err
    assert box.posts("receive") == before
    assert box.has("refs/heads/main") == main
    assert box.has("refs/tags/v1") == box.has("refs/heads/other") == ""


async def test_another_repository_is_never_written_to(box: Gate, tmp_path: Path) -> None:
    other = a_repository(box.server, tmp_path / "more", "other")
    copy = await box.cloned()
    pushed = await box.git("push", other, f"HEAD:{BRANCH}", cwd=copy)

    assert f"remote: this session may push to {box.url} only" in pushed.err
    assert not any(asked.write for asked in box.server.asked)


async def test_a_signed_push_is_refused(box: Gate) -> None:
    body = b"0014push-cert\0atomic0000"
    answer = await posted(box, "git-receive-pack", body)

    assert answer.status_code == 403
    assert "a signed push is not taken here" in answer.text
    assert box.posts("receive") == 0


async def posted(box: Gate, call: str, body: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        address = f"{box.door}{box.repository}.git/{call}"
        return await client.post(
            address, content=body, headers={**posting(call.split("-")[1]), **headers}
        )


async def test_a_push_whose_commands_cannot_be_read_is_refused(box: Gate) -> None:
    zipped = {"Content-Encoding": "gzip"}
    for body, headers, said in (
        (b"0000", zipped, "they are compressed"),
        (b"zzzz", {}, "does not begin as a push does"),
        (b"00ff" + b"x" * 100, {}, "ends before its commands do"),
    ):
        answer = await posted(box, "git-receive-pack", body, **headers)
        assert answer.status_code == 403
        assert said in answer.text
    assert box.posts("receive") == 0


async def large_file(copy: Path, box: Gate, size: int) -> None:
    await asyncio.to_thread((copy / "large.bin").write_bytes, os.urandom(size))
    await box.git("add", ".", cwd=copy)
    await box.git("commit", "--quiet", "--message=Large", cwd=copy)


async def test_a_large_push_goes_through_and_a_large_refused_one_is_told_why(box: Gate) -> None:
    copy = await box.cloned()
    await large_file(copy, box, 3_000_000)
    refused = await box.git("push", "origin", "HEAD:main", cwd=copy)
    assert "may push to" in refused.err
    # git asks with an empty push whether a large one would be heard.
    assert [asked.received for asked in box.server.asked if asked.path.endswith("receive-pack")
            and asked.method == "POST"] == [4]  # fmt: skip

    pushed = await box.git("push", "origin", f"HEAD:{BRANCH}", cwd=copy)
    assert pushed.code == 0, pushed.err
    assert max(asked.received for asked in box.server.asked) > 3_000_000


async def test_a_token_that_expires_within_a_push_is_replaced(box: Gate) -> None:
    copy = await box.cloned()
    await large_file(copy, box, 3_000_000)

    def expire(asked: Asked) -> Reply | None:
        # Between git's question for the refs and its first push, which is empty.
        if asked.method == "POST" and asked.write and len(box.mint.asked) < 3:
            box.mint.expire()
        return None

    box.server.reply = expire
    pushed = await box.git("push", "origin", f"HEAD:{BRANCH}", cwd=copy)

    assert pushed.code == 0, pushed.err
    assert [write for _, _, write in box.mint.asked] == [False, True, True]


async def test_a_push_that_its_server_refuses_says_what_the_server_said(box: Gate) -> None:
    copy = await box.cloned()
    words = b"Permission to it denied to the App\n"
    box.server.reply = lambda asked: (
        Reply(403, {"Content-Type": "text/plain"}, words) if asked.write else None
    )
    pushed = await box.git("push", "origin", BRANCH, cwd=copy)

    assert "Permission to it denied to the App" in pushed.err
    assert "credential write to" in pushed.err
