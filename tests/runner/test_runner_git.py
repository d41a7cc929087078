"""Cloning and branches, against real repositories over real HTTP."""

import os
import random
import re

import pytest
from fake_cloud import FakeCloud
from hypothesis import given
from hypothesis import strategies as st
from runner_kit import (
    AGENT_UID,
    BRANCH,
    SAMPLE,
    Repositories,
    Sandbox,
    behaving,
    clone_args,
    eventually,
    git,
    processes,
    setup_args,
)

from headstart.domain.addresses import is_public
from headstart_local.git_server import GitServer
from headstart_runner.repository.git import clone_error, complaint
from headstart_runner.repository.progress import GitProgress

pytestmark = pytest.mark.anyio


async def test_the_default_branch_need_not_be_main(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("trunk", SAMPLE, branch="trunk/é")
    cloned = await cloud.do("clone", clone_args(url))
    branched = await cloud.do("branch", {"branch": BRANCH})

    assert cloned["output"]["defaultBranch"] == "trunk/é"
    assert branched["output"]["commit"] == cloned["output"]["commit"]
    assert git("symbolic-ref", "HEAD", cwd=sandbox.repository) == f"refs/heads/{BRANCH}"
    assert (sandbox.repository / "src/grüße und mehr.txt").read_text() == "hello\n"
    again = await cloud.do("branch", {"branch": BRANCH}, name="1.branch.2")
    assert again["output"] == branched["output"]


async def test_a_branch_of_the_repository_makes_room_for_the_sessions(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    cloned = await cloud.do(
        "clone", clone_args(repositories.make("taken", SAMPLE, branch="session"))
    )
    branched = await cloud.do("branch", {"branch": BRANCH})

    assert branched["status"] == "completed", branched
    assert branched["output"]["commit"] == cloned["output"]["commit"]
    assert git("branch", "--show-current", cwd=sandbox.repository).strip() == BRANCH
    assert git("rev-parse", "origin/session", cwd=sandbox.repository).strip()


async def test_a_branch_in_the_way_that_has_work_of_its_own_is_kept_and_named(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    await cloud.do("clone", clone_args(repositories.make("taken", SAMPLE, branch="session")))
    git("commit", "--quiet", "--allow-empty", "--message=Ours", cwd=sandbox.repository)
    failed = await cloud.do("branch", {"branch": BRANCH})

    assert failed["error"]["code"] == "BranchImpossible"
    assert failed["error"]["retryable"] is False
    assert "'refs/heads/session' exists" in failed["error"]["reason"]


async def test_a_branch_of_the_name_that_git_has_for_its_own_is_named(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("odd", SAMPLE)
    bare = repositories.server.folder / url.rpartition("/")[2]
    git("update-ref", "refs/heads/HEAD", "main", cwd=bare)
    git("symbolic-ref", "HEAD", "refs/heads/HEAD", cwd=bare)
    await cloud.do("clone", clone_args(url))
    failed = await cloud.do("branch", {"branch": BRANCH})

    assert failed["error"]["code"] == "BranchImpossible"
    assert failed["error"]["retryable"] is False
    assert "git can't tell it from the HEAD of its own" in failed["error"]["reason"]


@pytest.mark.skipif(os.geteuid() != 0 and AGENT_UID is None, reason="needs root, or the image")
async def test_what_the_work_locked_goes_with_its_clone(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, sample: str
) -> None:
    await cloud.do("clone", clone_args(sample))
    folders = "mkdir -p locked/in sticky && touch locked/in/x sticky/x"
    modes = "chmod 1777 sticky && chmod 0 locked/in/x locked/in locked"
    locked = await cloud.do("setup", setup_args(folders, modes))
    assert locked["status"] == "completed", locked

    other = repositories.make("other", {"a": "1"})
    cloned = await cloud.do("clone", clone_args(other), name="1.clone.2")

    assert cloned["status"] == "completed", cloned
    assert not (sandbox.repository / "locked").exists()


async def test_a_complete_clone_of_the_same_source_is_kept(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, sample: str
) -> None:
    first = await cloud.do("clone", clone_args(sample))
    (sandbox.repository / "mine").touch()
    second = await cloud.do("clone", clone_args(sample), name="1.clone.2")
    other = await cloud.do(
        "clone", clone_args(repositories.make("other", {"b": "2"})), name="1.clone.3"
    )

    assert second["output"] == {**first["output"], "cached": True}
    assert other["output"]["commit"] != first["output"]["commit"]
    assert {path.name for path in sandbox.repository.iterdir()} == {".git", "b"}


async def test_an_upstream_branch_is_cloned_and_a_wrong_one_is_named(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    right = await cloud.do("clone", clone_args(sample, upstreamBranch="main"))
    wrong = await cloud.do("clone", clone_args(sample, upstreamBranch="mian"), name="1.clone.2")

    assert right["output"]["defaultBranch"] == "main"
    assert wrong["error"]["code"] == "BranchNotFound"
    assert "mian" in wrong["error"]["reason"]
    assert sample in wrong["error"]["reason"]


async def test_an_empty_repository_has_no_branch_to_miss(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    args = clone_args(repositories.make("empty", branch="trunk"), upstreamBranch="main")
    cloned = await cloud.do("clone", args)
    branched = await cloud.do("branch", {"branch": BRANCH})

    assert cloned["output"]["empty"] is True
    assert branched["output"] == {"branch": BRANCH, "commit": None, "notes": []}
    assert git("symbolic-ref", "HEAD", cwd=sandbox.repository) == f"refs/heads/{BRANCH}"


async def test_a_missing_repository_is_not_found(
    cloud: FakeCloud, sandbox: Sandbox, git_server: GitServer
) -> None:
    failed = await cloud.do("clone", clone_args(git_server.url("nothing.git")))

    assert failed["error"] == {
        "code": "RepositoryNotFound",
        "reason": f"There is no repository at {git_server.url('nothing.git')}: check the address",
        "retryable": True,
    }


async def test_a_private_repository_is_denied_at_once_without_a_prompt(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("private", {"a": "1"})
    repositories.server.credentials[url.rpartition("/")[2]] = {"ada": "secret"}
    failed = await cloud.do("clone", clone_args(url))
    credentials = url.replace("//", "//ada:wrong-password@")
    refused = await cloud.do("clone", clone_args(credentials), name="1.clone.2")

    for result in (failed, refused):
        assert result["error"]["code"] == "RepositoryAccessDenied"
        assert "127.0.0.1" in result["error"]["reason"]
        assert result["error"]["reason"].endswith("does not exist, or is not public")
    assert "wrong-password" not in cloud.everything()


async def test_a_connection_that_breaks_off_is_a_network_error_and_leaves_nothing(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, git_server: GitServer
) -> None:
    with behaving(git_server, close_after_bytes=100):
        failed = await cloud.do("clone", clone_args(sample))

    assert failed["error"]["code"] == "GitNetworkError"
    assert failed["error"]["retryable"] is True
    assert not sandbox.repository.exists()
    assert list(sandbox.config.workspace.glob(".clone*")) == []


async def test_a_server_that_is_not_there_is_a_network_error(
    cloud: FakeCloud, sandbox: Sandbox
) -> None:
    failed = await cloud.do("clone", clone_args("http://127.0.0.1:9/a.git"))

    assert failed["error"]["code"] == "GitNetworkError"
    assert "127.0.0.1" in failed["error"]["reason"]


@pytest.mark.parametrize("end", ["timeout", "cancel", "replaced"])
async def test_a_clone_that_hangs_is_killed_with_all_its_processes(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, git_server: GitServer, end: str
) -> None:
    with behaving(git_server, delay_seconds=60):
        limit = 1 if end == "timeout" else 60
        await cloud.start("clone", clone_args(sample), limit=limit)
        await eventually(lambda: processes(sample))
        if end == "timeout":
            failed = await cloud.result("1.clone.1")
            assert failed["error"]["code"] == "StepTimedOut"
        elif end == "cancel":
            await cloud.cancel("1.clone.1")
        else:
            await cloud.do("disk", {"minFreeBytes": 1})
        await eventually(lambda: not processes(sample))
    if end != "timeout":
        assert "1.clone.1" not in cloud.results
    await eventually(lambda: not list(sandbox.config.workspace.glob(".clone*")))


async def test_addresses_inside_the_network_are_refused(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    for number, url in enumerate(
        [sample, "https://localhost/a.git", "https://169.254.169.254/latest", "https://[::1]/a"]
    ):
        args = {"gitUrl": url, "depth": 1}
        failed = await cloud.do("clone", args, name=f"1.clone.{number}")
        assert failed["error"]["code"] == "RepositoryRefused", url
        assert failed["error"]["retryable"] is False


@pytest.mark.parametrize("url", ["file:///etc", "ext::sh -c id", "ssh://127.0.0.1/a"])
async def test_other_transports_are_refused(cloud: FakeCloud, sandbox: Sandbox, url: str) -> None:
    failed = await cloud.do("clone", clone_args(url))

    assert failed["error"]["code"] == "RepositoryRefused"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::a00:1", False),
        ("fec0::1", False),
        ("5f00::1", False),
        ("::", False),
    ],
)
def test_only_public_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("fatal: write error: No space left on device", "DiskFull"),
        ("fatal: Remote branch x not found in upstream origin", "BranchNotFound"),
        ("remote: Not Found\nfatal: repository 'https://h/a/' not found", "RepositoryNotFound"),
        (
            "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
            "RepositoryAccessDenied",
        ),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 403",
         "RepositoryAccessDenied"),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 503",
         "GitNetworkError"),
        ("fatal: unable to access 'https://h/': Could not resolve host: h", "GitNetworkError"),
        ("fatal: unable to access 'https://h/': Operation too slow.", "GitNetworkError"),
        ("error: RPC failed; curl 56\nfatal: early EOF", "GitNetworkError"),
        ("fatal: protocol error: bad line length character: <htm\n"
         "fatal: the remote end hung up unexpectedly", "CloneFailed"),
        ("fatal: Server does not support shallow clients", "CloneFailed"),
        ("fatal: transport 'file' not allowed", "RepositoryRefused"),
        ("fatal: what is this", "CloneFailed"),
        ("", "CloneFailed"),
    ],
)  # fmt: skip
def test_what_git_says_becomes_an_error_with_a_reason(said: str, code: str) -> None:
    error = clone_error(said, "https://user:pw@h/a", "x")

    assert error.code == code
    assert "pw" not in error.reason


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("error: a\nfatal: b\nwarning: c\nand retry with 'git restore'\n\n", "a; b"),
        (
            "remote: Counting: 1%\rremote: Counting: 9%\rfatal: \x1b[31mbad\x1b[m object",
            "bad object",
        ),
        ("".join(f"error: {n}\n" for n in range(9)), "0; 1; 2"),
        ("fatal: unable to access 'https://ada:pw@h/a/'", "unable to access 'https://h/a/'"),
        ("hint: nothing else\n \x1b[K\n", "hint: nothing else"),
        ("", "git said nothing"),
    ],
)
def test_what_git_complains_of_is_told_and_not_its_advice(said: str, told: str) -> None:
    assert complaint(said) == told


_PHASES = ["Counting", "Compressing", "Receiving", "Resolving", "Updating"]
_NOUNS = {"Resolving": "deltas", "Updating": "files"}
_lines = st.one_of(
    st.builds(
        lambda phase, percent, remote: (
            f"{'remote: ' if remote else ''}{phase} {_NOUNS.get(phase, 'objects')}:"
            f" {percent:3d}% ({percent}/100)"
        ),
        st.sampled_from(_PHASES),
        st.integers(0, 100),
        st.booleans(),
    ),
    st.text(max_size=30).map(lambda text: re.sub(r"[\r\n]", " ", text)),
)


@given(
    lines=st.lists(st.tuples(_lines, st.sampled_from(["\r", "\n", "\r\n"])), max_size=30),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_the_percentage_never_goes_back_however_the_bytes_are_cut(
    lines: list[tuple[str, str]], cuts: list[int]
) -> None:
    data = "".join(line + end for line, end in lines).encode()
    whole = GitProgress()
    whole.feed(data)
    pieces, seen, begin = GitProgress(), [0], 0
    for cut in [*sorted(cuts), len(data)]:
        pieces.feed(data[begin:cut])
        seen.append(pieces.percent)
        begin = max(begin, cut)

    assert seen == sorted(seen)
    assert 0 <= pieces.percent <= 100
    assert (pieces.percent, pieces.message, pieces.lines) == (
        whole.percent,
        whole.message,
        whole.lines,
    )


def test_a_whole_clone_ends_at_a_hundred_percent() -> None:
    progress = GitProgress()
    for phase in _PHASES:
        progress.feed(f"{phase} {_NOUNS.get(phase, 'objects')}: 100% (7/7), done.\r\n".encode())

    assert progress.percent == 100


async def test_progress_of_a_slow_clone_is_shown(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, git_server: GitServer
) -> None:
    noise = random.Random(7)
    text = "".join(chr(noise.randrange(32, 127)) for _ in range(200_000))
    url = repositories.make("large", {"noise": text})
    with behaving(git_server, bytes_per_second=150_000):
        await cloud.do("clone", clone_args(url))

    percents = [event["percent"] for event in cloud.of("progress", commandId="1.clone.1")]
    assert percents == sorted(percents)
    assert any(0 < percent < 100 for percent in percents)
    hooks = sandbox.repository / ".git" / "hooks"
    assert not hooks.exists()
