"""A session's work as it is saved: a base, a difference on top of it, and what they are without."""

from pydantic import Field

from headstart.domain.model import RowModel, Timestamp

MOST_BYTES = 4_000_000_000
"""The most of an archive's two files together; S3 takes 5 GB by one PUT ("PutObject")."""

_LISTED = 20
_PATH_CHARACTERS = 300
_NOTED = 5
_NOTED_CHARACTERS = 200
_WORDS_CHARACTERS = 300
_HASH_CHARACTERS = 100


class StoredFile(RowModel):
    """An object of the bucket, and what it must be; `sha256` in base64, as S3 has it."""

    key: str
    bytes: int
    sha256: str


class LeftOut(RowModel):
    """What a limit kept out of an archive: the first paths, and how many more there were."""

    paths: list[str] = Field(default_factory=list)
    more: int = 0

    def named(self, most: int = _LISTED, characters: int = _PATH_CHARACTERS) -> list[str]:
        """Return the first paths, and in words how many more there are."""
        more = self.more + max(0, len(self.paths) - most)
        shown = [path[:characters] for path in self.paths[:most]]
        return [*shown, f"{more} more"] if more else shown


class Archive(RowModel):
    """The last good copy of a workspace; `created_at` is when it was asked for.

    `missing` is what it is without, in words: the agent's session. `changes` and `diff` lie beside
    it: what the work is against the commit that its branch began at.
    """

    base: StoredFile
    difference: StoredFile | None = None
    changes: StoredFile | None = None
    diff: StoredFile | None = None
    left_out: LeftOut = Field(default_factory=LeftOut)
    missing: str | None = None
    created_at: Timestamp

    @property
    def files(self) -> list[StoredFile]:
        """The objects that it needs."""
        return [file for file in (self.base, self.difference, self.changes, self.diff) if file]


class Kept(RowModel):
    """What a session's own row says of its archive: its base, its moment, what it is without."""

    base: str
    as_of: Timestamp
    left_out: list[str] = Field(default_factory=list)

    @classmethod
    def of(cls, archive: Archive) -> "Kept":
        """Return what is said of an archive."""
        left_out = archive.left_out.named(_NOTED, _NOTED_CHARACTERS)
        return cls(base=archive.base.sha256, as_of=archive.created_at, left_out=left_out)


class Tree(RowModel):
    """A prepared tree: a base that later sessions begin with, which was made of `commit`.

    `branch` is that of the session it was made in, `made_ms` how long cloning and setting up took.
    """

    key: str
    file: StoredFile
    commit: str
    branch: str
    made_ms: int
    created_at: Timestamp
    expires_at: Timestamp


class Copy(RowModel):
    """A copy on its way: its files, and the hash of the base it builds on.

    `source` is the key of the prepared tree that its base is copied from instead of sent; `tree`
    what its base becomes for later sessions.
    """

    base: StoredFile | None = None
    difference: StoredFile | None = None
    changes: StoredFile | None = None
    diff: StoredFile | None = None
    base_sha: str
    source: str | None = None
    tree: Tree | None = None
    left_out: LeftOut = Field(default_factory=LeftOut)
    missing: str | None = None
    asked_at: Timestamp

    @property
    def files(self) -> list[StoredFile]:
        """The objects that are its own."""
        return [file for file in (self.base, self.difference, self.changes, self.diff) if file]

    @property
    def sent(self) -> list[StoredFile]:
        """The objects that its sandbox sends."""
        return [file for file in self.files if self.source is None or file is not self.base]

    def upon(self, before: Archive | None) -> Archive | None:
        """Return the archive that it makes, None where the base it builds on is not kept."""
        base = self.base
        if base is None and before and before.base.sha256 == self.base_sha:
            base = before.base
        if base is None:
            return None
        return Archive(
            base=base,
            difference=self.difference,
            changes=self.changes,
            diff=self.diff,
            left_out=self.left_out,
            missing=self.missing,
            created_at=self.asked_at,
        )


# What a sandbox says, which may be anything.


def said_file(said: object, key: str, most: int = MOST_BYTES) -> StoredFile | None:
    """Return a file that a sandbox says to have made, None where that makes no sense."""
    if not isinstance(said, dict):
        return None
    size, sha256 = said.get("bytes"), said.get("sha256")
    if type(size) is not int or not 0 <= size <= most:
        return None
    if not isinstance(sha256, str) or not 0 < len(sha256) <= _HASH_CHARACTERS:
        return None
    return StoredFile(key=key, bytes=size, sha256=sha256)


def said_left_out(said: object) -> LeftOut:
    """Return what a sandbox says to have left out, without what is no path."""
    named = said if isinstance(said, list) else []
    paths = [path for path in named if isinstance(path, str) and path]
    shown = [path[:_PATH_CHARACTERS] for path in paths[:_LISTED]]
    return LeftOut(paths=shown, more=len(paths) - len(shown))


def words(said: object) -> str | None:
    """Return a few words of a sandbox's, None where it says nothing."""
    return said[:_WORDS_CHARACTERS] if isinstance(said, str) and said else None
