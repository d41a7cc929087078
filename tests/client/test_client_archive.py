"""`headstart archive`: the saved work comes whole, or not, and nothing of it leaves its folder."""

import base64
import hashlib
import io
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_headstart import NOW, SESSION_ID, FakeHeadstart, FakeSession

from headstart_client import archives, cli
from headstart_client.advice import on_preparation
from headstart_client.models import Failure

needs_tar = pytest.mark.skipif(not archives.can_put_back(), reason="zstd or tar is not installed")
pytestmark = [pytest.mark.usefixtures("environment"), needs_tar]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "work"


def packed(source: Path, *names: str) -> bytes:
    command = ["tar", "--create", "--no-recursion", "--zstd", "-C", str(source), "--", *names]
    return subprocess.run(command, check=True, capture_output=True).stdout


def tree(at: Path, **files: str) -> Path:
    """Write files, by names with two underscores for a slash."""
    for name, text in files.items():
        file = at / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return at


def difference(work: bytes, *gone: str, session: str = "") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("gone", "".join(f"{name}\0" for name in gone))
        out.writestr("difference.tar.zst", work)
        if session:
            out.writestr("session.json", session)
    return made.getvalue()


def saved(cloud: FakeHeadstart, base: bytes, more: bytes | None = None, **said: Any) -> None:
    def told(name: str, content: bytes) -> dict[str, Any]:
        cloud.files[name] = content
        sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode()
        return {"url": f"{cloud.url}/files/{name}", "bytes": len(content), "sha256": sha256}

    archive = {
        "savedAt": NOW,
        "base": told("base", base),
        "difference": more and told("difference", more),
        "leftOut": [],
        "missing": None,
        **said,
    }
    cloud.add(FakeSession(archive=archive))


def evolved(cloud: FakeHeadstart, at: Path) -> None:
    """Save a work in which something changed, came and went, in a folder closed to writers too."""
    base = tree(at / "base", a="1", b="2", shut__x="old", shut__y="kept", d__e__f="gone")
    (base / "link").symlink_to("a")
    (base / "shut").chmod(0o555)
    names = ["a", "b", "link", "shut", "shut/x", "shut/y", "d", "d/e", "d/e/f"]
    now = tree(at / "now", a="one", shut__z="new", new__g="7", link__h="8")
    (now / "shut").chmod(0o555)
    changed = packed(now, "a", "link", "link/h", "new", "new/g", "shut", "shut/z")
    saved(
        cloud,
        packed(base, *names),
        difference(changed, "b", "d/e", "link", "shut/x", session="{}"),
        leftOut=["big.bin (ignored by git)", "3 more"],
        missing="the agent's session",
    )


def content(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


EVOLVED = {"a": "one", "link/h": "8", "new/g": "7", "shut/y": "kept", "shut/z": "new"}


def test_the_work_is_put_back_as_it_was_saved_last(cloud, folder, tmp_path, capsys):
    evolved(cloud, tmp_path / "source")
    assert cli.main(["archive", SESSION_ID, "work"]) == 0
    assert content(folder) == EVOLVED
    assert (folder / "d").is_dir()
    assert not (folder / "d/e").exists()
    assert (folder / "shut").stat().st_mode & 0o777 == 0o555
    assert {path.name for path in tmp_path.iterdir()} == {"source", "work", "work.session.json"}
    assert (tmp_path / "work.session.json").read_text() == "{}"
    assert [s.headers.get("authorization") for s in cloud.seen] == ["Bearer token", None, None]
    said = capsys.readouterr().out
    assert "Not in it: big.bin (ignored by git)\nNot in it: 3 more\n" in said
    assert "It is without the agent's session" in said
    assert f"The work is in {folder}" in said


def test_what_was_saved_is_nobody_elses_to_read(cloud, folder, tmp_path):
    base = tree(tmp_path / "base", a="1")
    base.chmod(0o755)
    saved(cloud, packed(base, ".", "a"), difference(packed(base, "a"), session="{}"))
    assert cli.main(["archive", SESSION_ID, "work"]) == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "work.session.json").stat().st_mode & 0o777 == 0o600


def test_without_a_folder_it_is_named_after_the_session(cloud, folder, tmp_path):
    saved(cloud, packed(tree(tmp_path / "base", a="1"), "a"))
    assert cli.main(["archive", SESSION_ID]) == 0
    assert content(tmp_path / SESSION_ID) == {"a": "1"}


@pytest.mark.parametrize("name", ["work/file", "work.base.tar.zst", "work.session.json"])
def test_nothing_is_overwritten(cloud, folder, tmp_path, capsys, name):
    taken = tmp_path / name
    taken.parent.mkdir(exist_ok=True)
    taken.write_text("mine")
    assert cli.main(["archive", SESSION_ID, "work"]) == 2
    assert "is there already: name another FOLDER" in capsys.readouterr().err
    assert (taken.read_text(), cloud.seen) == ("mine", [])


PIECE = b"x" * archives._PIECE


@pytest.mark.parametrize(
    "sent",
    [
        (b"123456789", b"12345678"),
        (b"123456789", b"123456789a"),
        (b"123456789", b"12345678x"),
        # All that was promised has come before what is too much.
        (PIECE, PIECE + b"x"),
    ],
    ids=["less", "more", "other", "more later"],
)
def test_what_is_not_as_it_was_promised_is_not_kept(cloud, folder, tmp_path, capsys, sent):
    promised, came = sent
    saved(cloud, promised)
    cloud.files["base"] = came
    assert cli.main(["archive", SESSION_ID, "work"]) == 1
    assert "work.base.tar.zst is not what was saved" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_come_is_told_and_not_kept(cloud, folder, tmp_path, capsys):
    saved(cloud, b"x")
    cloud.sessions[SESSION_ID].archive["base"]["url"] = "http://127.0.0.1:9/base"
    assert cli.main(["archive", SESSION_ID, "work"]) == 1
    assert "work.base.tar.zst did not come: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_stops_coming_is_told_and_not_kept(
    cloud, folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(archives, "SECONDS", 0.05)
    saved(cloud, b"x" * 10)
    cloud.files["base"] = b"x"
    told = cloud.answer
    longer = {"content-length": "10"}
    cloud.answer = lambda seen: replace(
        told(seen), headers=longer if "/files/" in seen.path else {}
    )
    assert cli.main(["archive", SESSION_ID, "work"]) == 1
    said = capsys.readouterr().err
    assert said == "headstart: work.base.tar.zst did not come: nothing more came for 0 s.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../kept", "{outside}/kept", "link/kept", "x/../../kept", ".."])
def test_a_path_that_leads_out_of_the_folder_is_refused(cloud, folder, tmp_path, capsys, name):
    outside = tree(tmp_path / "outside", kept="mine")
    (tmp_path / "kept").write_text("mine")
    base = tree(tmp_path / "base", a="1")
    (base / "link").symlink_to(outside)
    gone = name.format(outside=outside)
    saved(cloud, packed(base, "a", "link"), difference(packed(base, "a"), gone))
    assert cli.main(["archive", SESSION_ID, "work"]) == 1
    said = capsys.readouterr().err
    assert "leads out of the folder" in said
    assert "work.base.tar.zst and " in said
    assert content(outside) == {"kept": "mine"}
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_link_of_the_base_leads_no_change_out_of_the_folder(cloud, folder, tmp_path):
    outside = tree(tmp_path / "outside", kept="mine")
    base = tree(tmp_path / "base", a="1")
    (base / "link").symlink_to(outside)
    work = packed(tree(tmp_path / "now", link__kept="theirs"), "link/kept")
    saved(cloud, packed(base, "a", "link"), difference(work))
    assert cli.main(["archive", SESSION_ID, "work"]) == 0
    assert content(outside) == {"kept": "mine"}
    assert content(folder) == {"a": "1", "link/kept": "theirs"}


@pytest.mark.parametrize("more", [b"no zip", difference(b"no tar"), difference(b"")[:-40]])
def test_a_file_that_is_none_is_one_sentence(cloud, folder, tmp_path, capsys, more):
    saved(cloud, packed(tree(tmp_path / "base", a="1"), "a"), more)
    assert cli.main(["archive", SESSION_ID, "work"]) == 1
    assert "headstart: The work can't be put back: " in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_without_the_programs_it_says_the_commands_which_do_the_same(
    cloud, folder, tmp_path, capsys, monkeypatch
):
    evolved(cloud, tmp_path / "source")
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "zstd" else which(name))
    assert cli.main(["archive", SESSION_ID, "work"]) == 0
    assert not folder.exists()
    *_, first, second = capsys.readouterr().out.splitlines()
    subprocess.run(["bash", "-ec", first], check=True)
    subprocess.run(["bash", "-eo", "pipefail", "-c", second], check=True)
    assert content(folder) == EVOLVED


def test_where_nothing_is_saved_yet_it_says_so(cloud, folder, capsys):
    cloud.add(FakeSession())
    assert cli.main(["archive", SESSION_ID, "work"]) == 1
    assert capsys.readouterr().err == "headstart: Nothing of the session is saved yet.\n"


def test_a_wake_that_failed_names_both_ways_out():
    failure = Failure(step="clone", code="RestoreFailed", reason="no", retryable=True)
    said = on_preparation(failure, SESSION_ID)
    assert f"`headstart retry {SESSION_ID} --without-archive`" in said
    assert f"`headstart archive {SESSION_ID}`" in said
