"""What the page makes of links and addresses: none leads it elsewhere unasked."""

import base64
import json
from typing import Any

import pytest
from tests.api.gateway import Api
from web_page import needs_node

from headstart.adapters.memory import MemoryPorts

pytestmark = needs_node

EVIL = "#api=https%3A%2F%2Fevil"
MINE = {"api": "https://mine", "token": "my token"}


def token(subject: str, end: int = 2**40) -> str:
    claims = json.dumps({"sub": subject, "exp": end}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.sig"


@pytest.fixture
def follow(page) -> Any:
    """Follow links in the order given, and return what became of the pair and what was asked."""

    def do(*hashes: str, **more: Any) -> tuple[list[Any], list[str]]:
        [answer] = page(links=[{"hashes": hashes, **more}])["links"]
        return answer["taken"], answer["asked"]

    return do


def test_another_address_drops_the_token_and_the_same_one_changes_nothing(follow):
    taken, asked = follow(EVIL)
    assert taken == [[True, {"api": "https://evil", "token": ""}, None]]
    assert len(asked) == 1
    assert follow("#api=https%3A%2F%2Fmine") == ([[True, MINE, "o/n"]], [])


def test_a_token_alone_is_not_for_the_address_that_is_stored(follow):
    taken, asked = follow("#token=theirs", "#ses_1", "")
    assert [pair for _, pair, _ in taken] == [MINE] * 3
    assert [gone for gone, _, _ in taken] == [True, False, False]
    assert asked == []


def test_a_link_with_both_clears_what_was_stored(follow):
    both = {"api": "https://evil", "token": "theirs"}
    taken, _ = follow(f"{EVIL}&token=theirs", "#api=https%3A%2F%2Fother&token=x&repo=a%2Fb")
    assert taken == [
        [True, both, None],
        [True, {"api": "https://other", "token": "x"}, "a/b"],
    ]


@pytest.mark.parametrize("link", [EVIL, f"{EVIL}&token=theirs&repo=e%2Fvil"])
def test_a_link_to_another_api_is_asked_about_by_both_hosts_and_declined_does_nothing(follow, link):
    taken, [question] = follow(link, declined=True)
    assert taken == [[True, MINE, "o/n"]]
    assert " evil," in question
    assert " mine." in question


def test_two_apis_of_one_host_are_told_apart(follow):
    _, [question] = follow("#api=https%3A%2F%2Fmine%2Fother", declined=True)
    assert "https://mine/other" in question


def test_a_link_with_another_token_of_the_same_user_is_taken_without_a_question(follow):
    mine, renewed = token("ada"), token("ada", 2**40 + 1)
    taken, asked = follow(
        f"#api=https%3A%2F%2Fmine%2F&token={renewed}", mine=["https://mine", mine], declined=True
    )
    assert (taken[0][1], asked) == ({"api": "https://mine", "token": renewed}, [])


def test_a_link_that_makes_its_reader_somebody_else_is_asked_about(follow):
    kept = ["https://mine", token("ada")]
    taken, [question] = follow(
        f"#api=https%3A%2F%2Fmine&token={token('eve')}", mine=kept, declined=True
    )
    assert taken[0][1]["token"] == kept[1]
    assert "eve" in question
    assert "ada" in question


HERE = "#api=https%3A%2F%2Fmine&token="


@pytest.mark.parametrize(
    ("mine", "other"), [(token("ada"), "rubbish"), ("rubbish", token("eve")), ("one", "another")]
)
def test_a_token_that_names_nobody_makes_nobody_of_its_reader_unasked(follow, mine, other):
    taken, [question] = follow(HERE + other, mine=["https://mine", mine], declined=True)
    assert taken[0][1]["token"] == mine
    assert "somebody whom it doesn't name" in question


@pytest.mark.parametrize("mine", ["rubbish", ""])
def test_nothing_is_asked_of_the_same_token_nor_of_who_is_not_connected(follow, mine):
    taken, asked = follow(f"{HERE}rubbish", mine=["https://mine", mine], declined=True)
    assert (taken[0][1]["token"], asked) == ("rubbish", [])


def test_whose_a_token_was_is_known_after_its_end(follow):
    ended = ["https://mine", token("ada", 1)]
    taken, [question] = follow("", HERE + token("eve"), mine=ended, declined=True)
    assert taken[1][1]["token"] == ""
    assert "eve instead of ada" in question
    taken, asked = follow("", HERE + token("ada"), mine=ended, declined=True)
    assert (taken[1][1]["token"], asked) == (token("ada"), [])


@pytest.mark.parametrize(
    "api", ["ok.%0A%0AThe service moved. Press OK", "mine", "javascript:x", "https://a%0A%0Ab c"]
)
def test_what_is_no_address_is_not_asked_about_nor_taken(follow, api):
    assert follow(f"#api={api}&token=x") == ([[True, MINE, "o/n"]], [])


def test_who_sends_a_link_writes_no_more_than_some_words_of_the_question(follow):
    long = "eve.\n\n\n\nThe service moved.\n" + "x" * 1000
    _, [question] = follow(HERE + token(long), mine=["https://mine", token("ada")], declined=True)
    assert "\n" not in question
    assert len(question) < 300
    _, [question] = follow(f"#api=https%3A%2F%2F{'a' * 1000}", declined=True)
    assert len(question) < 350


@pytest.mark.parametrize("end", ["", "/", "/sessions", "/sessions/ses_1/messages?x=1", "/health#a"])
@pytest.mark.parametrize("api", ["https://a.example", "http://127.0.0.1:4599/_aws/execute-api/x"])
def test_the_address_of_a_call_is_that_of_its_api(page, api, end):
    assert page(apis=[f" {api}{end} "])["apis"] == [api]


def test_what_is_no_address_stays_as_it_is(page):
    odd = ["", "a", "https://", "javascript:alert(1)"]
    assert page(apis=odd)["apis"] == odd


def test_one_is_one(page):
    cases = [[0, "file"], [1, "file"], [2, "file"], [1234, "token"]]
    assert page(counts=cases)["counts"] == ["0 files", "1 file", "2 files", "1,234 tokens"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/org/name.git", "org/name"),
        ("https://github.com/org/name/", "org/name"),
        ("https://git.example.com/deep/er/name.git", "er/name (git.example.com)"),
        ("http://127.0.0.1:4600/sample.git", "sample (127.0.0.1:4600)"),
        ("https://git.example.com", "git.example.com"),
    ],
)
def test_a_repository_is_called_by_its_name_first(page, url, name):
    assert page(names=[url])["names"] == [name]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("repo", {"githubRepo": "a b"}),
        ("repo", {"githubRepo": None, "gitUrl": "file:///x"}),
        ("branch", {"upstreamBranch": "a..b"}),
        ("agent", {"agent": "nope"}),
        ("mode", {"mode": "a b"}),
        ("model", {"model": "a b"}),
        ("depth", {"clone": {"depth": 0}}),
        ("setup", {"setupCommands": ["x"] * 21}),
        ("setup", {"setupCommands": ["x" * 10_001]}),
        ("inputs", {"setupInputs": ["/x"]}),
        ("env", {"envVars": {"A B": "1"}}),
        ("env", {"envVars": {"HEADSTART_X": "1"}}),
        ("mcp", {"mcpServers": {"a b": {}}}),
        ("system", {"appendSystemPrompt": "x" * 10_001}),
        ("prompt", {"prompt": "é" * 60_000}),
        ("prompt", {"prompt": " "}),
    ],
)
def test_what_the_api_refuses_is_said_at_its_field_in_the_words_of_the_form(page, field, wrong):
    body = {"prompt": "p", "githubRepo": "o/n"} | wrong
    given = {name: value for name, value in body.items() if value is not None}
    refusal = Api(MemoryPorts()).call("POST", "/sessions", given).json
    [said] = page(refusals=[refusal])["refusals"]
    assert list(said) == [field]
    assert said[field].endswith(".")
    for term in ("gitUrl", "githubRepo", "UTF-8", "entries", "must match", "^"):
        assert term not in said[field]
