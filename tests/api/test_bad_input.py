"""Whatever is wrong with a request is answered by a problem document that repeats none of it."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import ServiceUnavailable
from headstart_docs.answers import Problem
from headstart_docs.in_process import REQUEST_ID, Answer, Api
from tests.envelopes import secrets

SECRET = "hunter2-do-not-repeat"
VALID = {"prompt": "Add a health check", "githubRepo": "org/name"}
PROBLEM = {"type", "title", "status", "detail", "code", "retryable", "requestId"}


def problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """Check that the answer is a whole problem document, and return it."""
    assert (answer.status, answer.json["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json
    Problem.model_validate(found)
    errors = {"errors"} if code == "ValidationFailed" else set()
    later = {"retryAfter"} if status in {429, 503} else set()
    assert set(found) == PROBLEM | errors | later
    assert found["status"] == status
    assert found["type"] == f"urn:headstart:error:{code}"
    assert found["requestId"] == REQUEST_ID
    assert all(isinstance(found[name], str) and found[name] for name in ("title", "detail"))
    assert SECRET not in answer.text
    return found


def places(answer: Answer) -> list[list[Any]]:
    """Return where a request was wrong."""
    found = problem(answer, 422, "ValidationFailed")
    assert all(error["msg"] for error in found["errors"])
    return [error["loc"] for error in found["errors"]]


@pytest.fixture
def session_id(api: Api) -> str:
    found: str = api.call("POST", "/sessions", VALID).json["sessionId"]
    return found


DEEP = 100_000
MALFORMED = {
    "nothing": b"",
    "no JSON": b'{"prompt": "' + SECRET.encode(),
    "a list": b"[]",
    "a string": json.dumps(SECRET).encode(),
    "a number": b"7",
    "null": b"null",
    "NaN": b'{"prompt": NaN}',
    "Infinity": b'{"prompt": -Infinity}',
    "a field twice": b'{"prompt": "a", "prompt": "' + SECRET.encode() + b'"}',
    "a field twice, deeper": b'{"envVars": {"A": "1", "A": "2"}}',
    "a comma too many": b'{"prompt": "a",}',
    "single quotes": b"{'prompt': 'a'}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "not UTF-8": b'{"prompt": "\xff\xfe"}',
    "half a character": b'{"prompt": "\xc3"}',
    "brackets": b"[" * DEEP,
    "nested lists": b'{"prompt": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "nested objects": b'{"a":' * (DEEP // 4) + b"1" + b"}" * (DEEP // 4),
    "a number of many digits": b'{"prompt": ' + b"9" * 10_000 + b"}",
    "two objects": b"{}{}",
    "a form": b"prompt=a&githubRepo=b",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("method_path", ["POST /sessions", "PATCH {}", "POST {}/messages"])
def test_a_body_that_is_no_json_object(
    api: Api, session_id: str, body: bytes, method_path: str
) -> None:
    method, path = method_path.split()
    answer = api.call(method, path.format(f"/sessions/{session_id}"), body)
    found = problem(answer, 400, "MalformedBody")
    assert not found["retryable"]


def test_base64_is_read_like_text(api: Api) -> None:
    headers = {"content-type": "application/octet-stream"}
    data = json.dumps(VALID).encode()
    assert api.call("POST", "/sessions", data, headers=headers).status == 202
    answer = api.call("POST", "/sessions", b"\xff", headers=headers)
    problem(answer, 400, "MalformedBody")


def test_base64_that_is_none(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base64, "b64encode", lambda data: b"====" + data)
    headers = {"content-type": "application/octet-stream"}
    answer = api.call("POST", "/sessions", json.dumps(VALID).encode(), headers=headers)
    problem(answer, 400, "MalformedBody")


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream"])
def test_a_body_over_256_kb(api: Api, content_type: str) -> None:
    limit, headers = 256 * 1024, {"content-type": content_type}
    frame = '{"unknown":"%s"}'
    whole = (frame % ("x" * (limit - len(frame) + 2))).encode()
    assert len(whole) == limit
    assert places(api.call("POST", "/sessions", whole, headers=headers))
    over = whole.replace(b"x", b"xx", 1)
    assert places(api.call("POST", "/sessions", whole + b" ", headers=headers))
    problem(api.call("POST", "/sessions", over, headers=headers), 413, "BodyTooLarge")


def escaped(text: str) -> str:
    """Return a text with every character escaped, as JSON allows."""
    data = text.encode("utf-16-be")
    return "".join(f"\\u{data[i]:02x}{data[i + 1]:02x}" for i in range(0, len(data), 2))


@pytest.mark.parametrize("text", ["a" * 100_000, "ы" * 50_000, "漢" * 33_333, "😀" * 25_000])
@pytest.mark.parametrize("path", ["/sessions", "/sessions/{}/messages"])
def test_the_longest_prompt_is_taken_however_it_is_escaped(
    api: Api, session_id: str, path: str, text: str
) -> None:
    frame = json.dumps({**VALID, "prompt": "%s"} if path == "/sessions" else {"prompt": "%s"})
    for written in (text, json.dumps(text)[1:-1], escaped(text)):
        body = (frame % written).encode()
        assert json.loads(body)["prompt"] == text
        assert api.call("POST", path.format(session_id), body).status == 202


def test_no_escapes_and_no_spaces_make_a_body_endless(api: Api) -> None:
    limit = 256 * 1024
    problem(api.call("POST", "/sessions", b" " * (6 * limit + 1)), 413, "BodyTooLarge")
    text = "a" * limit
    body = f'{{"unknown": "{escaped(text)}"}}'.encode()
    problem(api.call("POST", "/sessions", body), 413, "BodyTooLarge")
    assert places(
        api.call("POST", "/sessions", b" " * limit + json.dumps(VALID | {"x": 1}).encode())
    )


TEXTS: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "TEXT"},
    "repository": {"githubRepo": "TEXT"},
    "address": {"githubRepo": None, "gitUrl": "https://a.com/TEXT"},
    "branch": {"upstreamBranch": "TEXT"},
    "agent": {"agent": "TEXT"},
    "model": {"model": "TEXT"},
    "command": {"setupCommands": ["TEXT"]},
    "setup's input": {"setupInputs": ["TEXT"]},
    "variable": {"envVars": {"A": "TEXT"}},
    "variable's name": {"envVars": {"TEXT": "a"}},
    "secret's name": {"encryptedSecrets": secrets("TEXT")},
    "envelope": {"encryptedSecrets": secrets(ciphertext="TEXT")},
    "server": {"mcpServers": {"TEXT": {}}},
    "system prompt": {"appendSystemPrompt": "TEXT"},
    "callback": {"callbackTarget": {"url": "https://a.com/TEXT"}},
}


@pytest.mark.parametrize("fields", TEXTS.values(), ids=TEXTS)
def test_half_a_surrogate_and_nul_are_refused_in_words_wherever_a_text_may_be(
    api: Api, fields: dict[str, Any]
) -> None:
    for character, said in [
        ("\\ud800", "must be valid Unicode"),
        ("\\u0000", "must not contain NUL characters"),
    ]:
        whole = {name: value for name, value in (VALID | fields).items() if value is not None}
        body = json.dumps(whole).replace("TEXT", f"a{character}b")
        errors = problem(api.call("POST", "/sessions", body.encode()), 422, "ValidationFailed")
        assert [error["msg"] for error in errors["errors"]] == [said]


LENGTHS = {
    "a command": ({"setupCommands": ["x" * 10_001]}, "10000 characters"),
    "commands": ({"setupCommands": ["x" * 9999] * 11}, "100000 characters together"),
    "a setup's input": ({"setupInputs": ["x" * 201]}, "200 characters"),
    "a variable": ({"envVars": {"A": "x" * 4097}}, "4096 characters"),
    "a variable's name": ({"envVars": {"A" * 129: "x"}}, "128 characters"),
    "variables": ({"envVars": {f"A{n}": "x" * 4000 for n in range(17)}}, "65536 bytes together"),
    "a system prompt": ({"appendSystemPrompt": "x" * 10_001}, "10000 characters"),
    "an envelope": ({"encryptedSecrets": secrets(ciphertext="x" * 131_073)}, "131072 characters"),
    "a callback": ({"callbackTarget": {"url": f"https://a.com/{'x' * 2000}"}}, "2000 characters"),
    "an address": (
        {"githubRepo": None, "gitUrl": f"https://a.com/{'x' * 2000}"}, "2000 characters",
    ),
    "a prompt": ({"prompt": "x" * 100_001}, "100000 bytes of UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "limit"), LENGTHS.values(), ids=LENGTHS)
def test_the_limit_of_a_text_is_told_in_characters_or_bytes(
    api: Api, fields: dict[str, Any], limit: str
) -> None:
    body = {name: value for name, value in (VALID | fields).items() if value is not None}
    errors = problem(api.call("POST", "/sessions", body), 422, "ValidationFailed")["errors"]
    assert [error["msg"].partition(" at ")[2].split(" ", 1)[1] for error in errors] == [limit]


WRONG: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "a null": ({"prompt": None}, ["prompt"]),
    "a number": ({"prompt": 1e300}, ["prompt"]),
    "an unknown field": ({"colour": SECRET}, ["colour"]),
    "the Python name": ({"github_repo": SECRET}, ["github_repo"]),
    "half a surrogate": ({"prompt": f"{SECRET}\ud800"}, ["prompt"]),
    "a surrogate in the URL": (
        {"githubRepo": None, "gitUrl": f"https://{SECRET}\udfff.com/a"}, ["gitUrl"],
    ),
    "a surrogate in the branch": ({"upstreamBranch": f"{SECRET}\ud800"}, ["upstreamBranch"]),
    "credentials in the URL": (
        {"githubRepo": None, "gitUrl": f"https://u:{SECRET}@h.com/a"}, ["gitUrl"],
    ),
    "a URL that can't be read": (
        {"githubRepo": None, "gitUrl": f"https://[{SECRET}/a"}, ["gitUrl"],
    ),
    "a repository of options": ({"githubRepo": f"--{SECRET}"}, ["githubRepo"]),
    "a branch of options": ({"upstreamBranch": f"--{SECRET}"}, ["upstreamBranch"]),
    "a variable": ({"envVars": {"A": 1, "B": SECRET}}, ["envVars", "A"]),
    "a variable's name": ({"envVars": {"A-B": SECRET}}, ["envVars", "A-B", "[key]"]),
    "too long a variable": ({"envVars": {"A": SECRET * 1000}}, ["envVars", "A"]),
    "a command": ({"setupCommands": ["ok", SECRET * 500]}, ["setupCommands", 1]),
    "an envelope of before": (
        {"encryptedSecrets": {"names": ["A"], "envelope": SECRET}},
        ["encryptedSecrets", "envelope"],
    ),
    "a ciphertext": (
        {"encryptedSecrets": secrets(ciphertext=SECRET)},
        ["encryptedSecrets", "envelope", "ciphertext"],
    ),
    "a surrogate in the envelope": (
        {"encryptedSecrets": secrets(iv="\ud800")}, ["encryptedSecrets", "envelope", "iv"],
    ),
    "a secret that is not sent": (
        {"mcpServers": {"a": {"headers": {"X": f"{{secret:{SECRET}}}"}}}},
        ["mcpServers", "a", "headers", "X"],
    ),
    "a secret that is for git": (
        {
            "encryptedSecrets": secrets("GIT_TOKEN"),
            "appendSystemPrompt": f"{SECRET} {{secret:GIT_TOKEN}}",
        },
        ["appendSystemPrompt"],
    ),
    "a callback over http": (
        {"callbackTarget": {"url": f"http://{SECRET}.com"}}, ["callbackTarget", "url"],
    ),
    "a callback with credentials": (
        {"callbackTarget": {"url": f"https://u:{SECRET}@x.com"}}, ["callbackTarget", "url"],
    ),
    # urlsplit's own message for this one quotes the host.
    "a callback's host in disguise": (
        {"callbackTarget": {"url": f"https://u:{SECRET}\u2100x.com"}}, ["callbackTarget", "url"],
    ),
    "a callback's host in brackets": (
        {"callbackTarget": {"url": f"https://[{SECRET}]/"}}, ["callbackTarget", "url"],
    ),
    "a callback's port": (
        {"callbackTarget": {"url": f"https://x.com:{SECRET}/"}}, ["callbackTarget", "url"],
    ),
    "a callback on two lines": (
        {"callbackTarget": {"url": f"https://x.com/\n{SECRET}"}}, ["callbackTarget", "url"],
    ),
    "a callback's header": (
        {"callbackTarget": {"url": "https://x.com", "headers": {"A": f"{SECRET}\r\na: b"}}},
        ["callbackTarget", "headers"],
    ),
    "a server that is too deep": (
        {"mcpServers": {"a": {"b": json.loads("[" * 300 + "]" * 300)}}}, ["mcpServers"],
    ),
    "a server with a number too large": (
        {"mcpServers": {"a": {"b": [{"c": float("1e308")}, SECRET * 4000]}}}, ["mcpServers"],
    ),
    "a server with half a surrogate": (
        {"mcpServers": {"a": {"b": f"{SECRET}\ud800"}}}, ["mcpServers"],
    ),
    "a server with half a surrogate for a name": (
        {"mcpServers": {"a": {"\ud800": SECRET}}}, ["mcpServers"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "place"), WRONG.values(), ids=WRONG)
def test_a_wrong_field_is_named(api: Api, fields: dict[str, Any], place: list[Any]) -> None:
    body = {name: value for name, value in {**VALID, **fields}.items() if value is not None}
    if fields == {"prompt": None}:
        body["prompt"] = None
    assert places(api.call("POST", "/sessions", body)) == [place]


def test_a_number_that_json_has_and_nobody_can_keep(api: Api) -> None:
    body = b'{"prompt": "a", "githubRepo": "a/b", "mcpServers": {"a": {"b": 1e999}}}'
    assert places(api.call("POST", "/sessions", body)) == [["mcpServers"]]


def test_what_no_single_field_breaks_is_the_bodys(api: Api) -> None:
    assert places(api.call("POST", "/sessions", {"prompt": "a"})) == [["body"]]


def test_an_answer_stays_small_however_much_is_wrong(api: Api) -> None:
    many = {f"{n:x}": 0 for n in range(20_000)}
    answer = api.call("POST", "/sessions", many)
    assert len(places(answer)) == 20
    assert len(answer.text) < 4000
    answer = api.call("POST", "/sessions", {**VALID, "x" * 200_000: 0})
    assert places(answer) == [["x" * 100]]
    assert len(answer.text) < 1000


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "a\tb", "k" * 256, "\x7f", "\u2028"])
@pytest.mark.parametrize("path", ["/sessions", "/sessions/{}/messages"])
def test_an_idempotency_key_that_is_none(api: Api, session_id: str, path: str, key: str) -> None:
    body = VALID if path == "/sessions" else {"prompt": "a"}
    headers = {"Idempotency-Key": key}
    answer = api.call("POST", path.format(session_id), body, headers=headers)
    assert places(answer) == [["header", "Idempotency-Key"]]


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


PLACE = "2026-11-22T10:50:00.123Z#ses_dfd1b4dc2fffA1b2C3d4E5f6G7"
QUERIES = {
    "limit": ["0", "-1", "101", "1.0", "1e1", "", "x", "٣", "+1", "%201", "1,2", "0" * 30 + "1"],
    "cursor": ["x", "%F0%9F%98%80", "====", encoded(7), encoded({"a": "b"}), encoded(""),
               encoded("words"), encoded("7"), encoded("2026-11-22T10:50:00.123Z"),
               encoded(PLACE + "x"),
               encoded(PLACE.replace("-11-", "-99-")), encoded(PLACE.replace("Z", "+00:00")),
               encoded(PLACE.replace(".123Z", "")), encoded(PLACE.replace("2026", "0001", 1) + " "),
               encoded("0001-01-01T00:00:00+23:59#" + PLACE.partition("#")[2]),
               encoded(PLACE).rstrip("=") + "?", "!" + encoded(PLACE), encoded(" " + PLACE),
               encoded("\ud800"), encoded("x" * 2000), "W" * 9000,
               base64.urlsafe_b64encode(b"[" * 5000).decode()],
    "after": ["-1", "x", "1000000000000", "9" * 5000, "0" * 5000 + "1", "%00", "NaN"],
    "seconds": ["-1", "26", "x", "", "0.5"],
    "while": ["", "Preparing", "preparing,ready", "x", "%00"],
}  # fmt: skip
TARGETS = {
    "limit": "/sessions",
    "cursor": "/sessions",
    "after": "/sessions/{}/events",
    "seconds": "/sessions/{}/wait",
    "while": "/sessions/{}/wait",
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in QUERIES.items() for value in values]
)
def test_a_query_that_is_wrong(api: Api, session_id: str, name: str, value: str) -> None:
    answer = api.call("GET", f"{TARGETS[name].format(session_id)}?{name}={value}")
    assert places(answer) == [["query", name]]


def test_a_place_in_a_list_is_a_cursor(api: Api, session_id: str) -> None:
    assert api.call("GET", f"/sessions?cursor={encoded(PLACE)}").status == 200


@pytest.mark.parametrize("length", [1, 25, 31, 4000])
def test_an_id_that_can_be_none_is_not_found(api: Api, length: int) -> None:
    for path in ("", "/archive", "/messages", "/events", "/wait"):
        answer = api.call("GET", f"/sessions/{'x' * length}{path}")
        problem(answer, 404, "SessionNotFound")


def test_nobody_elses_session_is_found(ports: MemoryPorts, session_id: str) -> None:
    mallory = Api(ports, owner="mallory")
    problem(mallory.call("GET", f"/sessions/{session_id}"), 404, "SessionNotFound")
    problem(mallory.call("GET", f"/sessions/{session_id}/archive"), 404, "SessionNotFound")
    problem(mallory.call("DELETE", f"/sessions/{session_id}"), 404, "SessionNotFound")


def test_a_session_of_which_nothing_is_saved(api: Api, session_id: str) -> None:
    problem(api.call("GET", f"/sessions/{session_id}/archive"), 404, "ArchiveNotFound")


def test_no_identity(ports: MemoryPorts) -> None:
    problem(Api(ports, owner="").call("GET", "/sessions"), 401, "Unauthorized")


@contextmanager
def broken(ports: MemoryPorts, error: Exception) -> Iterator[None]:
    """Let every read of a session fail."""

    def fail(_: str) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        for read in ("session", "load"):
            patch.setattr(ports.store, read, fail)
        yield


def test_what_we_did_not_expect_is_not_told(
    api: Api, ports: MemoryPorts, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    with broken(ports, KeyError(SECRET)):
        answer = api.call("GET", f"/sessions/{session_id}")
    problem(answer, 500, "HeadstartError")
    assert SECRET in caplog.text


def test_a_service_under_us_is_down(api: Api, ports: MemoryPorts, session_id: str) -> None:
    with broken(ports, ServiceUnavailable()):
        answer = api.call("GET", f"/sessions/{session_id}")
    body = problem(answer, 503, "ServiceUnavailable")
    assert (body["retryable"], body["retryAfter"]) == (True, 1)
    assert answer.headers["retry-after"] == "1"


def test_a_path_that_is_not_there(api: Api) -> None:
    assert api.call("GET", "/nothing").json == {"message": "Not Found"}


@pytest.mark.parametrize("text", [b"", b"{}"])
def test_publishing_needs_no_body_and_all_else_does(api: Api, session_id: str, text: bytes) -> None:
    path = f"/sessions/{session_id}"
    assert api.call("POST", f"{path}/publish", text).status == 202
    assert api.call("PATCH", path, text).status == (200 if text else 400)
    problem(api.call("POST", f"{path}/publish", b"null"), 400, "MalformedBody")
