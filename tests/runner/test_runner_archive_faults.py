"""Archives: what fails in the middle leaves the last good one, and what is no good does no harm."""

import asyncio
import base64
import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from archive_kit import Box, box
from object_store import ObjectStore
from runner_kit import SESSION_ID, eventually, processes
from work_kit import differences, manifest_of

from headstart.domain.command_args import ArchiveRef, FileRef
from headstart_runner.archives.workspace import Unusable
from headstart_runner.processes.nanny import descendants

pytestmark = pytest.mark.anyio


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


async def test_a_list_that_broke_off_is_none(work: Box, tmp_path: Path) -> None:
    script = tmp_path / "find"
    script.write_text("#!/bin/sh\necho \"find: './x': Permission denied\" >&2; kill -KILL $$\n")
    script.chmod(0o755)
    work.launcher._path = f"{tmp_path}:{work.launcher._path}"
    with pytest.raises(Unusable, match="find ended with exit status -9"):
        await work.base()


async def test_a_tar_that_gave_up_in_the_middle_saved_nothing(
    work: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "tar: memory exhausted\ntar: Error is not recoverable: exiting now"
    how = ("sh", "-c", 'echo "$0" >&2; exit 2', said)
    monkeypatch.setattr("headstart_runner.archives.workspace._TAR", how)
    with pytest.raises(Unusable, match="tar ended with exit status 2"):
        await work.base()


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
