"""Two users, as in the image: what opens the repository is nowhere that the agent's can look."""

import base64
import json
import os
import shlex
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from image_kit import Container
from runner_kit import BRANCH, SAMPLE, Repositories, behaving, clone_args, setup_args
from work_kit import done

from headstart.domain.channel import CredentialAnswer, CredentialRequest

pytestmark = pytest.mark.anyio

TOKEN = "ghs_UNIQUE0001privateToken0123456789"
BASIC = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()

_HUNT = """
import json, os, re, sys

needles = [word[::-1].encode() for word in sys.argv[1].split()]
ours, looked, found = os.getpid(), {"files": 0, "processes": 0, "memory": 0}, []

def look(name, data):
    if any(needle in data for needle in needles):
        found.append(name)

for top in sys.argv[2:]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            try:
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        look(path, file.read())
                    looked["files"] += 1
            except OSError:
                pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) == ours:
        continue
    looked["processes"] += 1
    for what in ("cmdline", "environ"):
        try:
            with open("/proc/%s/%s" % (pid, what), "rb") as file:
                look("%s of %s" % (what, pid), file.read())
        except OSError:
            pass
    try:
        if os.stat("/proc/" + pid).st_uid != os.getuid():
            continue
        with open("/proc/%s/maps" % pid) as maps, open("/proc/%s/mem" % pid, "rb") as memory:
            for begin, end in re.findall("^([0-9a-f]+)-([0-9a-f]+) r", maps.read(), re.MULTILINE):
                try:
                    memory.seek(int(begin, 16))
                    look("memory of " + pid, memory.read(int(end, 16) - int(begin, 16)))
                    looked["memory"] += 1
                except (OSError, OverflowError):  # what the kernel keeps to itself
                    pass
    except OSError:
        pass
print(json.dumps({"looked": looked, "found": found}))
"""
"""Looks for words, which it is given backwards, in all files of folders and all processes."""


def hunting(python: Path, *folders: str | Path) -> str:
    backwards = " ".join(word[::-1] for word in (TOKEN, BASIC))
    return shlex.join([str(python), "-I", "-c", _HUNT, backwards, *map(str, folders)])


@pytest.fixture
def private(repositories: Repositories, cloud: FakeCloud) -> str:
    """Return the URL of a repository that a token of the cloud's opens."""
    url = repositories.make("private", SAMPLE)
    name = url.rpartition("/")[2]
    repositories.server.credentials[name] = {"x-access-token": TOKEN}

    def answer(asked: CredentialRequest) -> CredentialAnswer:
        return CredentialAnswer(
            request_id=asked.request_id, username="x-access-token", password=TOKEN
        )

    cloud.on_credential = answer
    return url


async def test_nothing_of_the_agents_user_can_find_what_opens_the_repository(
    cloud: FakeCloud, container: Container, repositories: Repositories, private: str
) -> None:
    # Whoever runs git may have it tell everything, and look at it while it waits.
    trace = "GIT_TRACE=1 GIT_TRACE_CURL=1 GIT_CURL_VERBOSE=1 GIT_TRACE_PACKET=1"
    hunted = f"{hunting(container.python, container.root)} > ~/hunt.json"
    container.start()
    await done(cloud, "clone", clone_args(private, branch=BRANCH))
    await done(cloud, "branch", {"branch": BRANCH})
    commands = (
        f"{trace} git fetch origin > ~/told 2>&1",
        "git -c user.name=A -c user.email=a@b commit -q --allow-empty -m Work",
        f"{trace} git push origin HEAD >> ~/told 2>&1",
        f"{trace} git push origin HEAD:main >> ~/told 2>&1 || true",
        f"{trace} git ls-remote {private}x >> ~/told 2>&1 || true",
        "echo '[core]' > $GIT_CONFIG_SYSTEM && exit 9 || true",
        "rm $GIT_CONFIG_SYSTEM || mv $(dirname $GIT_CONFIG_SYSTEM) /tmp/mine || true",
        "cat $GIT_CONFIG_SYSTEM >> ~/told",
    )
    await done(cloud, "setup", setup_args(*commands))
    with behaving(repositories.server, delay_seconds=3):
        waiting = f"(git fetch > ~/waited 2>&1 &) ; sleep 1; {hunted}"
        await done(cloud, "setup", setup_args(waiting), name="2.setup")

    home = container.workspace / "home"
    hunt = json.loads((home / "hunt.json").read_text())
    assert hunt["found"] == []
    assert hunt["looked"]["files"] > 20
    assert hunt["looked"]["memory"] > 20
    said = (home / "told").read_text(errors="replace")
    assert "GET /" in said, "git did not tell its requests"
    assert "may push to session/" in said
    assert "path = /etc/gitconfig" in said
    assert TOKEN not in cloud.everything()
    bare = repositories.server.folder / private.rpartition("/")[2]
    assert (bare / "refs" / "heads" / BRANCH).exists()
    # The agent's user could have found it, had it been there.
    (home / "planted").write_text(TOKEN)
    os.chmod(home / "planted", 0o644)  # noqa: PTH101
    await done(cloud, "setup", setup_args(hunted), name="3.setup")
    assert json.loads((home / "hunt.json").read_text())["found"] == [str(home / "planted")]


async def test_git_finds_the_door_again_after_the_runner_was_killed(
    cloud: FakeCloud, container: Container, private: str
) -> None:
    container.start()
    await done(cloud, "clone", clone_args(private, branch=BRANCH))
    await done(cloud, "branch", {"branch": BRANCH})
    await done(cloud, "setup", setup_args("git fetch; echo $GIT_CONFIG_SYSTEM > ~/first"))
    before = await cloud.connected()
    container.kill()
    container.start()
    await cloud.connected_anew(before)
    push = "git push origin HEAD && echo $GIT_CONFIG_SYSTEM > ~/second"
    await done(cloud, "setup", setup_args("git fetch", push), name="2.setup")

    home = container.workspace / "home"
    first, second = ((home / name).read_text().strip() for name in ("first", "second"))
    assert first != second
    settings = (container.repository / ".git" / "config").read_text()
    assert private in settings
