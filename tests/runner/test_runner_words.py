"""What a sandbox counts, in words."""

import pytest

from headstart.domain.work import Counted
from headstart_runner.steps.publish import in_words


@pytest.mark.parametrize(
    ("files", "lines", "words"),
    [
        (1, 1, "1 file changed, 1 line added and 2 deleted"),
        (2, 0, "2 files changed, 0 lines added and 2 deleted"),
    ],
)
def test_one_is_not_told_as_many(files: int, lines: int, words: str) -> None:
    assert in_words(Counted(files=files, additions=lines, deletions=2)) == words
