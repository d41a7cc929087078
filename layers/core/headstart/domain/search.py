"""Which of a caller's sessions are wanted in a list."""

from dataclasses import dataclass

from headstart.domain.errors import ValidationFailed
from headstart.domain.session import Session

SEARCH_CHARACTERS = 200
REPOSITORY_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the wanted sessions have: each word in title or address; exactly this address."""

    words: tuple[str, ...] = ()
    repository: str | None = None

    @classmethod
    def of(cls, search: str | None, repository: str | None) -> "Wanted":
        """Return what a query asks for; raises ValidationFailed for one that is too long."""
        _check("search", search, SEARCH_CHARACTERS)
        _check("repository", repository, REPOSITORY_CHARACTERS)
        return cls(tuple((search or "").casefold().split()), repository or None)

    def is_met_by(self, session: Session) -> bool:
        """Say whether a session is among them."""
        if self.repository not in {None, session.git_url}:
            return False
        texts = session.title.casefold(), session.git_url.casefold()
        return all(any(word in text for text in texts) for word in self.words)


EVERY = Wanted()


def _check(name: str, text: str | None, limit: int) -> None:
    if text is not None and len(text) > limit:
        message = f"must be at most {limit} characters"
        raise ValidationFailed([{"loc": ["query", name], "msg": message}])
