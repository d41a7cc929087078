"""Archives: bases once, differences small, what is left out named, and nothing half done."""

import asyncio
import base64
import contextlib
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from archive_kit import Box, box
from hypothesis import given, settings
from hypothesis import strategies as st
from object_store import ObjectStore
from runner_kit import AGENT_UID, SESSION_ID, eventually, processes
from work_kit import Manifest, differences, manifest_of

from headstart.domain.command_args import ArchiveRef, FileRef
from headstart_runner.archives import listing, workspace
from headstart_runner.archives.workspace import Unusable, Workspace
from headstart_runner.processes.nanny import descendants

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


@settings(max_examples=12)
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


@pytest.fixture
async def work(tmp_path: Path, store: ObjectStore) -> AsyncIterator[Box]:
    """Return a workspace with a repository and what git ignores in it."""
    async with box(tmp_path / "work", store) as made:
        made.do("git init -q repo; cd repo; echo ignored/ > .gitignore; mkdir ignored src")
        made.do("head -c 300000 /dev/urandom > ignored/large; echo 1 > src/one; echo 2 > two")
        # What is newer than a tick of the clock is saved twice.
        await asyncio.sleep(2 * listing._TICK_SECONDS)
        yield made


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
_APART = "came or went while it was saved"


@pytest.mark.parametrize(
    ("often", "script", "left_out"),
    [
        (1, "echo $1 >> log; echo $1 > late$1", []),
        (9, "echo $1 >> log", [f"repo/log ({_MOVED})"]),
        (4, "echo $1 > late$1", [f"repo/late3 ({_APART})", f"repo/late4 ({_APART})"]),
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
    real, rounds = Workspace.pack, 0

    async def pack(self: Workspace, names: Path, out: object) -> list[bytes]:
        nonlocal rounds
        rounds += 1
        work.do(f"touch late{rounds}")
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


async def test_what_cannot_be_read_is_named(work: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    work.do("touch key")
    said = (
        "tar: ./repo/key: Warning: Cannot open: Permission denied\n"
        "tar: ./repo/gr\\303\\266\\303\\237e\\nx: Warning: Cannot open: Permission denied\n"
        "tar: ./repo/gone: Cannot stat: No such file or directory\n"
        "tar: ./repo/log: file changed as we read it\n"
    )
    monkeypatch.setattr(
        "headstart_runner.archives.workspace._TAR", ("sh", "-c", 'printf %s "$0" >&2; exit 1', said)
    )
    saving = work.saving()
    base = await saving.base(1_000_000)
    assert saving.left_out == ["repo/key (can't be read)", "repo/größe\nx (can't be read)"]
    # It is tried, and named, each time.
    assert b" ./repo/two\0" in base.listed
    assert b" ./repo/key\0" not in base.listed


@pytest.mark.parametrize("status", [3, 127, "TERM"])
async def test_a_save_that_does_not_end_well_leaves_the_last_good_one(
    work: Box, monkeypatch: pytest.MonkeyPatch, status: int | str
) -> None:
    await work.save()
    kept = {file.name for file in work.files.folder.iterdir()}
    how = f"exit {status}" if isinstance(status, int) else f"kill -{status} $$"
    monkeypatch.setattr("headstart_runner.archives.workspace._TAR", ("sh", "-c", how))
    with pytest.raises(Unusable, match="exit status"):
        await work.save()
    assert {file.name for file in work.files.folder.iterdir()} == kept


async def test_a_save_that_is_killed_anywhere_leaves_the_last_good_one(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    work.do("for n in $(seq 300); do echo $n > src/$n; done")
    await work.save()
    kept = {file.name for file in work.files.folder.iterdir()}
    for tenth in range(1, 9):
        work.do(f"echo {tenth} > two")
        attempt = asyncio.create_task(work.save())
        await asyncio.sleep(tenth * 0.02)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        if attempt.cancelled():
            assert {file.name for file in work.files.folder.iterdir()} == kept
        kept = {file.name for file in work.files.folder.iterdir()}
        assert not {*processes("tar --format=posix")} & {*descendants()}
    before = manifest_of(work.config.workspace)
    archive, _ = await work.save()
    async with box(tmp_path / "b", store) as other:
        await other.put_back(archive)
        assert differences(before, manifest_of(other.config.workspace)) == {}


async def test_what_is_no_good_gives_up_nothing_of_what_is_there(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    archive, _ = await work.save()
    assert archive.difference
    async with box(tmp_path / "b", store) as other:
        other.do("mkdir repo; echo kept > repo/kept")
        key = archive.difference.url.rpartition("/")[2].partition("?")[0]
        whole = store.objects[key]
        for damage in (
            whole[:50] + bytes([whole[50] ^ 1]) + whole[51:],
            whole[:-1],
            whole + b"x",
            None,
        ):
            if damage is None:
                del store.objects[key]
            else:
                store.objects[key] = damage
            with pytest.raises(Unusable):
                await other.put_back(archive)
            assert (other.repository / "kept").exists()
        store.objects[key] = whole
        with pytest.raises(Unusable, match="another session's"):
            await other.putting_back().archive(archive, SESSION_ID[:-1] + "0", other.session)
        another = archive.model_copy(update={"base": archive.difference})
        with pytest.raises(Unusable, match="another base"):
            await other.put_back(another)
        assert (other.repository / "kept").exists()


async def test_a_cancelled_wake_is_done_whole_by_the_next(
    work: Box, store: ObjectStore, tmp_path: Path
) -> None:
    work.do("for n in $(seq 300); do echo $n > src/$n; done")
    archive, _ = await work.save()
    before = manifest_of(work.config.workspace)
    async with box(tmp_path / "b", store) as other:
        for moment in range(6):
            attempt = asyncio.create_task(other.put_back(archive))
            await asyncio.sleep(moment * 0.03)
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)
        await other.put_back(archive)
        assert differences(before, manifest_of(other.config.workspace)) == {}
        assert not list(other.files.folder.glob("partial-*"))


def packed(fill: Callable[[tarfile.TarFile], None]) -> bytes:
    """Return a base that nobody's tar made."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        fill(tar)
    return zstandard.compress(plain.getvalue())


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, target, mode
    return made


def served(store: ObjectStore, data: bytes) -> ArchiveRef:
    """Return a base alone, that the store has."""
    store.objects["hostile"] = data
    sha256 = base64.b64encode(hashlib.sha256(data).digest()).decode()
    url = store.url("hostile")
    return ArchiveRef(base=FileRef(url=url, bytes=len(data), sha256=sha256))


async def test_nothing_is_put_back_beside_the_workspace(store: ObjectStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    content = b"hostile"

    def fill(tar: tarfile.TarFile) -> None:
        for name in (f"{outside}/absolute", "../outside/above", "a/../../outside/above"):
            file = entry(name)
            file.size = len(content)
            tar.addfile(file, io.BytesIO(content))
        tar.addfile(entry("way", tarfile.SYMTYPE, str(outside)))
        tar.addfile(entry("hard", tarfile.LNKTYPE, f"{outside}/kept"))
        tar.addfile(entry("hard2", tarfile.LNKTYPE, "../outside/kept"))
        for name in ("way/through", "hard", "hard2", "repo/fine"):
            file = entry(name, mode=0o6755)
            file.size = len(content)
            tar.addfile(file, io.BytesIO(content))

    async with box(tmp_path / "b", store) as other:
        with contextlib.suppress(Unusable):
            await other.put_back(served(store, packed(fill)))
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"kept": "kept"}


async def test_what_is_put_back_is_bounded(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(tar: tarfile.TarFile) -> None:
        for number in range(2000):
            tar.addfile(entry(f"f{number}"))

    def large(tar: tarfile.TarFile) -> None:
        file = entry("large")
        file.size = 50_000_000
        tar.addfile(file, io.BytesIO(bytes(file.size)))

    async with box(tmp_path / "b", store) as other:
        monkeypatch.setattr("headstart_runner.archives.workspace._MOST_FILES", 1000)
        with pytest.raises(Unusable, match="more than 1000 files"):
            await other.put_back(served(store, packed(many)))
        room = os.statvfs(tmp_path)
        small = os.statvfs_result((*room[:4], 10_000_000 // room.f_frsize, *room[5:]))
        monkeypatch.setattr("headstart_runner.archives.workspace.os.statvfs", lambda _: small)
        with pytest.raises(Unusable, match="larger than the sandbox's disk"):
            await other.put_back(served(store, packed(large)))
        for nonsense in (b"", b"no archive", zstandard.compress(b"no tar" * 1000)):
            with pytest.raises(Unusable):
                await other.put_back(served(store, nonsense))


async def test_a_tar_that_is_stopped_is_given_up_with_the_step(
    work: Box, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _ = await work.save()
    monkeypatch.setattr(
        "headstart_runner.archives.workspace._TAR", ("sh", "-c", "kill -STOP $$", "tar --stalled")
    )
    async with box(tmp_path / "b", store) as other:
        attempt = asyncio.create_task(other.put_back(archive))
        await eventually(lambda: {*processes("tar --stalled")} & {*descendants()})
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        assert not {*processes("tar --stalled")} & {*descendants()}
