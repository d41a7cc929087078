"""Who is connected in node, and what is left to the next one."""

import base64

import pytest
from fake_headstart import SESSION_ID
from web_page import CREATED, needs_node

pytestmark = needs_node


REFUSED = ["answer", "GET /sessions", 401, {"message": "Unauthorized"}]


def test_a_refused_token_goes_and_its_address_stays(app):
    page = app(REFUSED, ["more"])
    assert "connect" in page["shown"]
    assert page["connect"] == ["http://api", ""]
    assert page["stored"]["connection"] == '{"api":"http://api","token":"","user":null}'


PAIR = ["fill", "connect", {"api": "http://api/", "token": "new"}]


HEALTHY = ["answer", "GET /health", 200, {"status": "ok"}]


def token_of(subject: str, mark: str = "") -> str:
    claims = base64.urlsafe_b64encode(f'{{"sub": "{subject}"}}'.encode()).decode().rstrip("=")
    return f"a.{claims}.c{mark}"


DRAFT = ["store", f"draft {SESSION_ID}", "mine alone"]


UNSENT = ["store", f"unanswered http://api/sessions/{SESSION_ID}/messages", '{"text": "mine"}']


SENT = ["store", f"sent {SESSION_ID}", '{"prompt": "mine", "after": 0}']


WRITTEN = [
    *[DRAFT, UNSENT, SENT],
    ["fill", "create", {"repo": "o/secret", "prompt": "p", "setup": "make", "branch": "dev"}],
]


EMPTY = ["", "", "", ""]


def test_who_disconnects_leaves_an_address_and_nothing_else(app):
    page = app(*CREATED, *WRITTEN, ["press", "disconnect"])
    assert page["stored"] == {"connection": '{"api":"http://api","token":""}'}
    assert page["create"] == EMPTY


def test_what_was_begun_by_who_has_disconnected_since_leaves_nothing_either(app):
    page = app(*CREATED[:2], ["disconnect while submitting", "create"])
    assert set(page["stored"]) == {"connection"}
    assert page["create"] == EMPTY
    assert page["notice"] == ""


ADA = ["connect elsewhere", {"api": "http://api", "token": token_of("ada")}]


@pytest.mark.parametrize(
    "other",
    [
        {"api": "http://api", "token": token_of("eve")},
        {"api": "http://other", "token": token_of("ada")},
        {"api": "http://api", "token": ""},
    ],
)
def test_what_was_written_is_not_left_to_who_another_tab_connects(app, other):
    page = app(ADA, *WRITTEN, ["connect elsewhere", other])
    assert page["create"] == EMPTY
    assert DRAFT[1] not in page["stored"]


@pytest.mark.parametrize("renewed", [token_of("ada", "2"), ""])
def test_what_was_written_waits_for_the_next_token_of_its_writer(app, renewed):
    ended = {"api": "http://api", "token": renewed, "user": "ada"}
    page = app(ADA, *WRITTEN, ["connect elsewhere", ended])
    assert page["create"][0] == "o/secret"
    assert page["stored"][DRAFT[1]] == DRAFT[2]


@pytest.mark.parametrize(("subject", "left"), [("ada", "o/secret"), ("eve", "")])
def test_what_was_written_before_a_token_was_refused_is_for_the_same_user(app, subject, left):
    listed = ["answer", "GET /sessions", 200, {"items": [], "nextCursor": None}]
    again = ["fill", "connect", {"api": "http://api", "token": token_of(subject, "2")}]
    refused = [ADA, *WRITTEN, REFUSED, ["more"]]
    page = app(*refused, listed, HEALTHY, again, ["submit", "connect"])
    assert "create" in page["shown"]
    assert page["create"][0] == left
    assert (DRAFT[1] in page["stored"]) is bool(left)


def test_a_link_that_is_followed_to_another_user_leaves_nothing_to_them(app):
    link = f"api=http://api&repo=o/theirs&token={token_of('eve')}"
    page = app(ADA, *WRITTEN, ["go", link])
    assert len(page["confirmed"]) == 1
    assert page["create"] == ["o/theirs", "", "", ""]
    assert DRAFT[1] not in page["stored"]
    kept = app(ADA, *WRITTEN, ["refuse"], ["go", link])
    assert kept["create"][0] == "o/secret"
    assert kept["stored"][DRAFT[1]] == DRAFT[2]


def test_connect_tries_address_and_token_before_it_keeps_them(app):
    start = ["press", "disconnect"]
    page = app(start, PAIR, ["submit", "connect"])
    assert "can't be reached" in page["wrong"]["api"]
    other = ["answer", "GET /health", 200, {"hello": 1}]
    assert "is no Headstart" in app(start, other, PAIR, ["submit", "connect"])["wrong"]["api"]
    refused = ["answer", "GET /sessions", 401, {"message": "Unauthorized"}]
    page = app(start, HEALTHY, refused, PAIR, ["submit", "connect"])
    assert "refuses this token" in page["wrong"]["token"]
    assert page["connect"] == ["http://api", "new"]
    assert '"token":""' in page["stored"]["connection"]
    page = app(start, HEALTHY, PAIR, ["submit", "connect"])
    assert page["wrong"] == {}
    assert page["stored"]["connection"] == '{"api":"http://api","token":"new"}'
    assert "create" in page["shown"]


def test_a_token_that_ended_is_said_to_have(app):
    claims = base64.urlsafe_b64encode(b'{"exp": 1600000000}').decode().rstrip("=")
    ended = ["fill", "connect", {"api": "http://api", "token": f"a.{claims}.c"}]
    page = app(["press", "disconnect"], HEALTHY, ended, ["submit", "connect"])
    assert page["wrong"]["token"].startswith("The token expired on ")
