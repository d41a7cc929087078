"""Prepared trees: what one session set up is the beginning of the next one alike."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.flow.conftest import PATIENCE, Cloud, Repositories, git
from tests.flow.test_main_job import STEPS, statuses
from tests.flow.test_sleep import fall_asleep, first_turn, repository_of, seen, send

FILES = {"README.md": "# Demo\n", "package-lock.json": "{}\n", "src/app.py": "print('hello')\n"}


def trees(cloud: Cloud) -> list[str]:
    """Return the keys of the prepared trees that have a row."""
    dynamodb = cloud.aws("dynamodb")
    [table] = [t for t in dynamodb.list_tables()["TableNames"] if "eadstart" in t or "Table" in t]
    items = dynamodb.scan(TableName=table)["Items"]
    return [item["pk"]["S"] for item in items if item["pk"]["S"].startswith("TREE#")]


def bucket(cloud: Cloud) -> tuple[Any, str]:
    s3 = cloud.aws("s3")
    [name] = [b["Name"] for b in s3.list_buckets()["Buckets"] if "archives" in b["Name"].lower()]
    return s3, name


def prepared(cloud: Cloud, **body: Any) -> str:
    """Return a session that has made a tree, though its setup is short."""
    known = set(trees(cloud))
    session_id = first_turn(cloud, **body, preparedTree="refresh")
    end = time.monotonic() + PATIENCE
    while not set(trees(cloud)) - known:
        assert time.monotonic() < end, "no tree was kept"
        time.sleep(0.1)
    return session_id


def step(session: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [step for step in session["attempt"]["steps"] if step["step"] == name]
    return found


def test_the_second_session_alike_is_not_set_up_and_wakes_with_everything(
    cloud: Cloud, repositories: Repositories, tmp_path: Path
) -> None:
    url = repositories.make("alike", FILES)
    ran = tmp_path / "ran"
    setup = [f"echo ran >> {ran}; date +%s%N > new.txt; date +%s%N >> README.md; echo 1 > ~/made"]
    alike = {"gitUrl": url, "setupCommands": setup, "setupInputs": ["package-lock.json"]}
    first = prepared(cloud, **alike)
    work = repositories.root / "alike-work"
    (work / "since.txt").write_text("since then\n")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=Since then")
    git(work, "push", "--quiet", "origin", "HEAD:main")

    second = first_turn(cloud, **alike)
    session = cloud.wait(second, "running")
    assert statuses(session) == dict.fromkeys(STEPS, "completed") | {"setup": "skipped"}
    assert step(session, "setup")["message"] == "Skipped: same package-lock.json"
    said = step(session, "clone")["message"]
    assert said.startswith("From a prepared tree of "), said
    assert ", 1 commit fetched; " in said
    assert ran.read_text() == "ran\n"
    [ready] = [e["data"] for e in cloud.events(second) if e["type"] == "session.ready"]
    receipt = ready["receipt"]["preparedTree"]
    assert set(receipt) == {"age", "bytes", "saved"}
    assert receipt["bytes"] > 0

    repository, origin = repository_of(second), repository_of(first)
    before = seen(repository)
    assert before["branch"] == f"refs/heads/session/{second}\n"
    assert (repository / "since.txt").read_text() == "since then\n"
    assert before["new"] == (origin / "new.txt").read_text()
    assert before["changed"] == (origin / "README.md").read_text()
    (repository / "mine.txt").write_text("mine")
    before = seen(repository)

    fall_asleep(cloud, second)
    [asleep] = [e["data"] for e in cloud.events(second) if e["type"] == "session.asleep"]
    assert asleep["saved"] is True, asleep
    s3, name = bucket(cloud)
    own = s3.list_objects_v2(Bucket=name, Prefix=f"archives/{second}/")["Contents"]
    assert receipt["bytes"] in [item["Size"] for item in own], "its base is the tree's"
    # What others delete is nothing to who was saved once.
    for item in s3.list_objects_v2(Bucket=name, Prefix="trees/")["Contents"]:
        s3.delete_object(Bucket=name, Key=item["Key"])
    send(cloud, second, "Are you there?")
    cloud.wait(second, "asleep")
    cloud.wait(second, "preparing")
    session = cloud.wait(second, "running")
    assert session["status"] == "ready", session["failure"]
    assert ran.read_text() == "ran\n"
    assert seen(repository_of(second)) == before
    assert (repository_of(second) / "mine.txt").read_text() == "mine"


@pytest.mark.long
def test_a_tree_that_is_gone_is_a_clone_that_says_so(
    cloud: Cloud, repositories: Repositories, tmp_path: Path
) -> None:
    url = repositories.make("gone", FILES)
    ran = tmp_path / "ran"
    alike = {"gitUrl": url, "setupCommands": [f"echo ran >> {ran}"]}
    prepared(cloud, **alike)
    s3, name = bucket(cloud)
    for item in s3.list_objects_v2(Bucket=name, Prefix="trees/")["Contents"]:
        s3.delete_object(Bucket=name, Key=item["Key"])
    session = cloud.wait(first_turn(cloud, **alike), "running")
    assert session["status"] == "ready", session["failure"]
    assert "The prepared tree could not be used: " in step(session, "clone")["message"]
    assert ran.read_text() == "ran\nran\n"
