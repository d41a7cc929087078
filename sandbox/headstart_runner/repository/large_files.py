"""Git LFS: what is checked out of a large file is a pointer, until its content is fetched."""

from pathlib import Path

from headstart.domain.errors import DiskFull
from headstart_runner.repository.git import NO_SPACE, complaint
from headstart_runner.repository.remote import Remote
from headstart_runner.repository.words import some

_POINTER = "version https://git-lfs.github.com/spec/"


async def fetch(remote: Remote, repository: Path) -> list[str]:
    """Fetch the contents of large files, if git-lfs is here; return notes about pointers left.

    DiskFull where there is no room for them. They come from where the server's answer leads, as
    they would for the agent.
    """
    git = remote.git
    found = await git.run(
        *("grep", "--null", "--files-with-matches", "--cached", "--fixed-strings"),
        *("-e", _POINTER, "--", ":(attr:filter=lfs)"),
        cwd=repository,
    )
    names = [name for name in found.stdout.split("\0") if name]
    if not names:
        return []
    if (await git.run("lfs", "version", cwd=repository)).code != 0:
        why = "git-lfs is not in this sandbox's image"
    else:
        remote.watch.show(f"Fetching large files: {some(names, 'and')}", None)
        # Whoever runs git here is to know the contents for what the pointers stand for.
        await git.run("lfs", "install", "--local", "--skip-repo", cwd=repository)
        fetched = await git.run("lfs", "pull", cwd=repository)
        if fetched.code == 0:
            return []
        if NO_SPACE.search(fetched.stderr):
            raise DiskFull(f"The sandbox's disk is too small for the large files of {remote.url}")
        why = f"their contents could not be fetched: {complaint(fetched.stderr)}"
    are = (
        "1 file is a Git LFS pointer"
        if len(names) == 1
        else f"{len(names)} files are Git LFS pointers"
    )
    return [f"{are}: {some(names, 'and')} ({why})"]
