"""Archives: bases once, differences small, and whatever moves is saved or named."""

import asyncio
import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from archive_kit import Box, box
from hypothesis import given, settings
from hypothesis import strategies as st
from object_store import ObjectStore
from runner_kit import AGENT_UID
from work_kit import Manifest, differences, manifest_of

from headstart.domain.command_args import ArchiveRef
from headstart_runner.archives import listing, workspace
from headstart_runner.archives.workspace import Unusable, Workspace

pytestmark = pytest.mark.anyio

_NAMES = [b"a", b"b", b"c d", b"\xff", b"new\nline", b"-x", b".git", b"n" * 200, b"*?[", b"\\t"]
_PLACES = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map(b"/".join)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["file", "folder", "link", "hard link", "move", "remove", "mode", "time"]),
        _PLACES,
        _PLACES,
        st.integers(0, 5000),
    ),
    max_size=25,
)


def take(root: bytes, steps: list[tuple[str, bytes, bytes, int]]) -> None:
    """Do what can be done of some steps; folders that no longer can be written to stay so."""
    for what, one, other, number in steps:
        place, second = root + b"/" + one, root + b"/" + other
        try:
            match what:
                case "file":
                    with open(place, "wb") as stream:  # noqa: PTH123  (names that are no text)
                        stream.truncate(number * 100)
                        stream.write(os.urandom(number))
                case "folder":
                    os.makedirs(place)  # noqa: PTH103
                case "link":
                    os.symlink(other, place)  # noqa: PTH211
                case "hard link":
                    os.link(second, place)
                case "move":
                    os.rename(second, place)  # noqa: PTH104
                case "remove" if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
                    shutil.rmtree(place)
                case "remove":
                    os.unlink(place)  # noqa: PTH108
                case "mode":
                    os.chmod(place, 0o500 | number & 0o277)  # noqa: PTH101
                case "time":
                    os.utime(place, ns=(0, number * 10**14 + 7))
        except OSError:
            pass


@settings(max_examples=4)
@given(first=_STEPS, second=_STEPS, third=_STEPS)
def test_any_workspace_is_put_back_as_it_was(
    first: list[tuple[str, bytes, bytes, int]],
    second: list[tuple[str, bytes, bytes, int]],
    third: list[tuple[str, bytes, bytes, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def sleep_and_wake() -> None:
        folder = tmp_path_factory.mktemp("any")
        with ObjectStore().running() as store:
            archive: ArchiveRef | None = None
            before: Manifest = {}
            for number, steps in enumerate((first, second, third, [])):
                async with box(folder / str(number), store) as here:
                    if archive is not None:
                        await here.put_back(archive)
                        assert differences(before, manifest_of(here.config.workspace)) == {}
                    take(os.fsencode(here.config.workspace), steps)
                    before = manifest_of(here.config.workspace)
                    archive, saving = await here.save()
                    assert saving.left_out == []

    if AGENT_UID is not None:
        pytest.skip("these files would be another user's than the agent's")
    asyncio.run(sleep_and_wake())


async def test_a_base_is_made_once_and_a_difference_holds_what_changed(
    work: Box, store: ObjectStore
) -> None:
    first, _ = await work.save()
    work.do("echo 3 > three")
    second, _ = await work.save()

    assert first.base == second.base
    assert first.difference and second.difference
    assert first.base.bytes > 300_000
    assert second.difference.bytes < 20_000
    assert [file.suffix for file in work.files.folder.iterdir()].count(".difference") == 1


async def test_closed_folders_stay_closed_and_lose_and_get_what_they_should(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    work.do("mkdir -p shut/in kept; touch shut/in/old kept/x; chmod 555 shut/in shut kept")
    await asyncio.sleep(2 * listing._TICK_SECONDS)
    await work.base()
    work.do("chmod 755 shut/in shut; mv shut/in/old shut/new; rmdir shut/in; chmod 555 shut")
    before = manifest_of(work.config.workspace)
    archive, _ = await work.save()
    async with box(tmp_path / "b", store) as other:
        await other.put_back(archive)
        assert differences(before, manifest_of(other.config.workspace)) == {}
        await other.put_back(archive)
        assert differences(before, manifest_of(other.config.workspace)) == {}


async def test_another_sandbox_builds_on_the_same_base(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    first, _ = await work.save()
    async with box(tmp_path / "b", store) as other:
        await other.put_back(first)
        other.do("echo 3 > three")
        second, _ = await other.save()
    assert second.base.sha256 == first.base.sha256
    assert second.difference and second.difference.bytes < 20_000


async def test_what_git_ignores_is_left_out_where_it_is_too_much_and_named(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    archive, saving = await work.save(limit=200_000)
    assert saving.left_out == ["repo/ignored (ignored by git)"]
    async with box(tmp_path / "b", store) as other:
        await other.put_back(archive)
        there = {path.name for path in other.repository.iterdir()}
        assert there == {".git", ".gitignore", "src", "two"}

    work.do("head -c 300000 /dev/urandom > kept")
    with pytest.raises(Unusable, match=r"more than 0\.0002 GB, even without what git ignores"):
        await work.saving().base(200_000)


_MOVED = "changed while it was saved, and is of no single moment"
_APART = "became something else while it was saved"


@pytest.mark.parametrize(
    ("often", "script", "left_out"),
    [
        (1, "echo $1 >> log; echo $1 > late$1", []),
        (9, "echo $1 >> log", [f"repo/log ({_MOVED})"]),
        (9, "echo $1 > late$1", [f"repo ({_MOVED})", f"repo/late3 ({_MOVED})"]),
        (3, "echo >> log; [ $1 != 3 ] || { rm -r src; touch src; }", [f"repo/src ({_APART})"]),
    ],
)
async def test_what_changes_while_it_is_saved_is_saved_again_or_named(
    work: Box,
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    often: int,
    script: str,
    left_out: list[str],
) -> None:
    work.do("touch log")
    await work.base()
    real, rounds = Workspace.pack, 0

    async def pack(self: Workspace, names: Path, out: object) -> list[bytes]:
        nonlocal rounds
        rounds += 1
        unread = await real(self, names, out)  # type: ignore[arg-type]
        if rounds <= often:
            work.do(script, str(rounds))
        return unread

    monkeypatch.setattr(Workspace, "pack", pack)
    archive, saving = await work.save()
    assert saving.left_out == left_out
    async with box(tmp_path / "b", store) as other:
        await other.put_back(archive)
        assert (other.repository / "log").exists()


async def test_a_workspace_that_never_rests_is_not_said_to_be_saved(
    work: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.do("mkdir s1 s2 s3 s4 s5 s6 s7 s8")
    real, rounds = Workspace.pack, 0

    async def pack(self: Workspace, names: Path, out: object) -> list[bytes]:
        nonlocal rounds
        rounds += 1
        work.do(f"rm -r s{rounds}; touch s{rounds}")
        return await real(self, names, out)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "pack", pack)
    with pytest.raises(Unusable, match="faster than it can be saved"):
        await work.save()


async def test_folders_that_become_links_while_a_base_is_made_can_be_put_back(
    work: Box, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.do("mkdir z e; touch z/x; echo e > e/x")
    real, rounds = Workspace.pack, 0

    async def pack(self: Workspace, names: Path, out: object) -> list[bytes]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            work.do('rm -r z; ln -s "$PWD/e" z')
        return await real(self, names, out)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "pack", pack)
    archive, saving = await work.save()
    assert saving.left_out == []
    async with box(tmp_path / "b", store) as other:
        await other.put_back(archive)
        assert (other.repository / "z").is_symlink()


async def test_home_is_put_back_as_it_was_whatever_it_is(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    for script in ("rm ~/.gitconfig ~/.profile", "cd ..; mv home h2; ln -s h2 home"):
        work.do(script)
        before = manifest_of(work.config.workspace)
        archive, _ = await work.save()
        async with box(tmp_path / script[:2], store) as other:
            await other.put_back(archive)
            assert differences(before, manifest_of(other.config.workspace)) == {}


async def test_a_change_that_looks_the_same_is_saved(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    two = work.repository / "two"
    before = two.stat()
    await work.base()
    two.write_text("3\n")
    os.utime(two, ns=(before.st_atime_ns, before.st_mtime_ns))
    archive, _ = await work.save()
    async with box(tmp_path / "b", store) as other:
        await other.put_back(archive)
        assert (other.repository / "two").read_text() == "3\n"


async def test_what_was_new_when_the_base_was_made_is_gone_when_it_is(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    work.do("echo a > doomed; mkdir becomes; echo y > becomes/y")
    await work.base()
    work.do("rm -r doomed becomes; echo file > becomes")
    before = manifest_of(work.config.workspace)
    archive, _ = await work.save()
    async with box(tmp_path / "b", store) as other:
        await other.put_back(archive)
        assert differences(before, manifest_of(other.config.workspace)) == {}


def test_what_is_fed_to_tar_arrives_whole_though_writes_take_a_part() -> None:
    taken = bytearray()

    class Slow(io.RawIOBase):
        def write(self, data: Any) -> int:
            part = bytes(data)[:1000]
            taken.extend(part)
            return len(part)

    piece = bytes(range(256)) * 100
    workspace._write_all(Slow(), piece)
    assert taken == piece
