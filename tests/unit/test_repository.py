"""Which addresses may be cloned, in which spelling, and what is said of the others."""

import pytest

from headstart.domain.repository import (
    check_branch,
    check_git_url,
    github_url,
    is_allowed_source,
    same_server,
)

GITHUB = "https://github.com"
ALLOWED = ["http://127.0.0.1:*", "HTTPS://Git.Corp/team/*", "http://[::1]:*", "http://h/team/../x"]


def check(url: str) -> str:
    return check_git_url(url, ALLOWED, GITHUB)


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://github.com/Org/Name", "https://github.com/Org/Name"),
        ("HTTPS://GitHub.COM/Org/Name.git", "https://github.com/Org/Name.git"),
        ("https://github.com/org/name/", "https://github.com/org/name/"),
        ("https://gitlab.com/group/sub/name.git", "https://gitlab.com/group/sub/name.git"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("https://xn--fa-hia.test/a", "https://xn--fa-hia.test/a"),
        ("https://[2606:4700::1111]/a", "https://[2606:4700::1111]/a"),
        ("HTTP://127.0.0.1:9/a.git", "http://127.0.0.1:9/a.git"),
        ("http://[::1]:9/a.git", "http://[::1]:9/a.git"),
        ("https://GIT.corp/team/a.git", "https://git.corp/team/a.git"),
        ("https://example.com/a..b/.c/d...", "https://example.com/a..b/.c/d..."),
    ],
)
def test_an_address_is_taken_in_one_spelling(url: str, taken: str) -> None:
    assert check(url) == taken


PAGE = "must be the address of a repository, https://github.com/org/name; a branch goes into"
GIVE = "is a page about a repository: give https://github.com/org/name"
DOTS = "must not have . or .. in its path"
HOST = "must name its host in plain ASCII"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://github.com/org/name/tree/main", f"{GIVE}, and main as upstreamBranch"),
        (
            "https://GitHub.com:443/org/name/blob/main/R.md#L3",
            f"{GIVE}, and main as upstreamBranch",
        ),
        ("https://github.com/org/name/pull/7?w=1", f"{GIVE}; a branch of it goes into upstream"),
        ("https://github.com/org/name/tree/a..b", f"{GIVE}; a branch of it goes into upstream"),
        ("https://github.com/org/name/tree", f"{GIVE}; a branch of it goes into upstream"),
        ("https://github.com/org/na%0Ame/tree/main", "must have a plain path"),
        ("https://github.com/org", PAGE),
        ("https://github.com/-/%2e/tree/main", DOTS),
        ("https://example.com/team/../other/a.git", DOTS),
        ("https://git.corp/team/../other/a.git", DOTS),
        ("https://git.corp/team/%2e%2E/other/a.git", DOTS),
        ("https://git.corp/team/x%2f..%2f../other/a.git", DOTS),
        ("https://git.corp/team/%252e%252e/other/a.git", DOTS),
        ("https://git.corp/team/..\\other\\a.git", DOTS),
        ("https://git.corp/team/..;a=b/other/a.git", DOTS),
        ("https://git.corp/team/./a.git", DOTS),
        ("http://h/team/../x/a.git", DOTS),
        ("https://faß.test/a.git", HOST),
        ("https://\uff11\uff12\uff17.0.0.1/a.git", HOST),
        ("https://%31%32%37.0.0.1/a.git", HOST),
        ("https://evil.test\\.github.com/a.git", HOST),
        (
            "git@github.com:org/name.git",
            "must be an https URL, such as https://github.com/org/name",
        ),
        ("ssh://git@github.com/org/name.git", "must be an https URL, such as"),
        ("HTTP://github.com/org/name", "must be an https URL"),
        ("https://LOCALHOST/a.git", "must not point to a private host"),
        ("https://0X7F.1/a.git", "must not be a numeric host"),
        ("https://[::1]/a.git", "must not point to a private address"),
        ("https://example.com:x/a.git", "is not a valid URL"),
        ("https://example.com//", "must name a repository"),
    ],
)
def test_another_address_is_refused_in_words_that_quote_nothing(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|is) ") as refused:
        check(url)

    assert str(refused.value).startswith(said)
    assert refused.value.__cause__ is None


def test_pages_are_known_on_a_github_of_ones_own() -> None:
    own = "https://ghe.corp.example/"
    assert check_git_url("https://ghe.corp.example/a/b", [], own)
    with pytest.raises(ValueError, match=r"give https://ghe\.corp\.example/a/b, and main"):
        check_git_url("https://ghe.corp.example/a/b/tree/main", [], own)


def test_no_dots_lead_out_of_an_allowed_path_whoever_asks() -> None:
    assert is_allowed_source("https://git.corp/team/a.git", ALLOWED)
    assert not is_allowed_source("https://git.corp/team/../other/a.git", ALLOWED)
    assert not is_allowed_source("http://h/team/../x/a.git", ALLOWED)
    assert not is_allowed_source("http://h/x/a.git", ALLOWED)


def test_a_managed_user_has_an_underscore() -> None:
    assert github_url(GITHUB, "octocat_acme/tool") == "https://github.com/octocat_acme/tool.git"
    with pytest.raises(ValueError, match="org/name"):
        github_url(GITHUB, "_octocat/tool")


@pytest.mark.parametrize(
    ("name", "branch"),
    [("refs/heads/main", "main"), ("refs/heads/a/b", "a/b"), ("heads/x", "heads/x")],
)
def test_a_branch_may_be_named_as_git_itself_does(name: str, branch: str) -> None:
    assert check_branch(name) == branch


@pytest.mark.parametrize("name", ["refs/heads/", "refs/heads/-x", "refs/heads/a..b"])
def test_what_follows_refs_heads_must_be_a_branch(name: str) -> None:
    with pytest.raises(ValueError, match="branch"):
        check_branch(name)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("HTTPS://H:443/b", True),
        ("https://h.evil/a", False),
        ("https://h:8443/a", False),
        ("http://h/a", False),
        ("https://h@evil/a", False),
    ],
)
def test_a_server_is_a_scheme_a_host_and_a_port(other: str, same: bool) -> None:
    assert same_server("https://h/a", other) is same
