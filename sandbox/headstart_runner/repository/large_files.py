"""Git LFS: what is checked out of a large file is a pointer, until its content is fetched."""

from pathlib import Path

from headstart_runner.repository.git import Git, complaint
from headstart_runner.repository.words import some

_POINTER = "version https://git-lfs.github.com/spec/"


async def fetch(git: Git, repository: Path) -> list[str]:
    """Fetch the contents of large files, if git-lfs is here; return notes about pointers left.

    They come from where the server's answer leads, as they would for the agent.
    """
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
        # Whoever runs git here is to know the contents for what the pointers stand for.
        await git.run("lfs", "install", "--local", "--skip-repo", cwd=repository)
        fetched = await git.run("lfs", "pull", cwd=repository)
        if fetched.code == 0:
            return []
        why = f"their contents could not be fetched: {complaint(fetched.stderr)}"
    are = (
        "1 file is a Git LFS pointer"
        if len(names) == 1
        else f"{len(names)} files are Git LFS pointers"
    )
    return [f"{are}: {some(names, 'and')} ({why})"]
