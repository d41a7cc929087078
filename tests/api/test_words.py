"""What a form shows beside its fields, and what it says where a call makes no sense now."""

from typing import Any

import pytest

from headstart_docs.in_process import Api

VALID = {"prompt": "x", "githubRepo": "org/name"}
GITHUB = "https://github.com/org/name"


@pytest.mark.parametrize(
    ("fields", "loc", "said"),
    [
        ({"prompt": None}, ["prompt"], "must be a text"),
        ({"prompt": " "}, ["prompt"], "must not be empty"),
        ({"setupCommands": [""]}, ["setupCommands", 0], "must not be empty"),
        ({"setupCommands": ["x"] * 21}, ["setupCommands"], "must have at most 20 entries"),
        ({"setupCommands": "npm ci"}, ["setupCommands"], "must be a list"),
        ({"setupCommands": ["x" * 10_001]}, ["setupCommands", 0], "must be at most 10000 char"),
        ({"autoInitiate": "yes"}, ["autoInitiate"], "must be true or false"),
        ({"clone": {"depth": 0}}, ["clone", "depth"], "must be at least 1"),
        ({"clone": {"depth": "1"}}, ["clone", "depth"], "must be a whole number"),
        ({"clone": 1}, ["clone"], "must be an object"),
        ({"envVars": []}, ["envVars"], "must be an object"),
        ({"preparedTree": "no"}, ["preparedTree"], "must be 'use', 'refresh' or 'off'"),
        ({"mode": "a b"}, ["mode"], "has a character that may not be there: it must match ^"),
        ({"agent": "demo", "mode": "plan"}, ["mode"], "must be a mode that demo has: code"),
        ({"agent": "nobody"}, ["agent"], "must be an agent that this deployment has: demo, kilo"),
        ({"colour": "red"}, ["colour"], "is not known here"),
        ({"githubRepo": GITHUB}, ["githubRepo"], "must look like org/name; a whole address goes"),
        ({"githubRepo": None, "gitUrl": "https:///x"}, ["gitUrl"], "must be a whole address"),
        ({"githubRepo": None, "gitUrl": "github.com/org/name"}, ["gitUrl"], "must be an https URL"),
        (
            {"githubRepo": None, "gitUrl": f"{GITHUB}/tree/main/src"},
            ["gitUrl"],
            f"is a page about a repository: give {GITHUB}, and main as upstreamBranch",
        ),
        (
            {"githubRepo": None, "gitUrl": f"{GITHUB}/pull/3"},
            ["gitUrl"],
            f"is a page about a repository: give {GITHUB}; a branch of it goes into",
        ),
    ],
)
def test_a_field_is_refused_in_words(
    api: Api, fields: dict[str, Any], loc: list[object], said: str
) -> None:
    body = VALID | fields
    if body["githubRepo"] is None:
        del body["githubRepo"]
    answer = api.call("POST", "/sessions", body)
    assert answer.status == 422
    [error] = answer.json["errors"]
    assert error["loc"] == loc
    assert error["msg"].startswith(said)


def test_a_mode_that_may_have_been_added_is_for_the_sandbox_to_refuse(api: Api) -> None:
    body = VALID | {"agent": "kilo", "mode": "of-this-repository"}
    assert api.call("POST", "/sessions", body).status == 202


def test_a_change_to_a_mode_that_the_agent_lacks_is_refused(api: Api) -> None:
    held = VALID | {"agent": "demo", "autoInitiate": False}
    path = f"/sessions/{api.call('POST', '/sessions', held).json['sessionId']}"
    refused = api.call("PATCH", path, {"mode": "plan", "prompt": "y"})
    assert refused.json["errors"] == [
        {"loc": ["mode"], "msg": "must be a mode that demo has: code"}
    ]
    assert api.call("GET", path).json["mode"] == "code"
    assert api.call("PATCH", path, {"mode": "code"}).status == 200


def test_what_is_missing_is_named(api: Api) -> None:
    [error] = api.call("POST", "/sessions", {"githubRepo": "org/name"}).json["errors"]
    assert error == {"loc": ["prompt"], "msg": "is required"}


def test_what_was_sent_is_not_told_again(api: Api) -> None:
    body = VALID | {"mode": "hunter2 hunter2", "clone": "hunter2", "model": "hunter2 " * 99}
    assert "hunter2" not in api.call("POST", "/sessions", body).text


def created(api: Api) -> str:
    return str(api.call("POST", "/sessions", VALID).json["sessionId"])


def test_a_call_in_the_wrong_status_says_what_to_do(api: Api) -> None:
    one = f"/sessions/{created(api)}"
    retried = api.call("POST", f"{one}/retry", {"attemptNumber": 1})
    assert (retried.status, retried.json["code"]) == (409, "WrongStatus")
    assert "only one that failed is prepared again" in retried.json["detail"]
    api.call("POST", f"{one}/interrupt")
    for call in ("publish", "initiate"):
        refused = api.call("POST", f"{one}/{call}")
        assert refused.json["detail"].endswith("the session is failed: prepare it again first")


def test_a_message_to_a_failed_session_says_that_it_waits(api: Api) -> None:
    one = f"/sessions/{created(api)}"
    message = {"prompt": "And then?"}
    assert api.call("POST", f"{one}/messages", message).json["warnings"] == []
    api.call("POST", f"{one}/interrupt")
    sent = api.call("POST", f"{one}/messages", message)
    [warning] = sent.json["warnings"]
    assert (sent.status, warning["loc"]) == (202, ["prompt"])
    assert "retry" in warning["msg"]
    assert api.call("GET", one).json["status"] == "failed"


def test_a_cancelled_step_is_stopped_and_nothing_else(api: Api) -> None:
    one = f"/sessions/{created(api)}"
    api.call("POST", f"{one}/interrupt")
    session = api.call("GET", one).json
    first, *others = session["attempt"]["steps"]
    assert (first["status"], first.get("message")) == ("cancelled", None)
    assert {step["status"] for step in others} == {"pending"}
    assert session["failure"]["code"] == "Cancelled"


def test_a_long_message_says_how_long_it_is(api: Api) -> None:
    session_id = created(api)
    for prompt in ("short", "ä" * 5000):
        api.call("POST", f"/sessions/{session_id}/messages", {"prompt": prompt})
    items = api.call("GET", f"/sessions/{session_id}/events").json["items"]
    queued = [item["data"] for item in items if item["type"] == "message.queued"]
    assert ["textBytes" in data for data in queued] == [False, False, True]
    assert (queued[2]["textBytes"], len(queued[2]["text"])) == (10_000, 4096)


def test_defaults_are_kept_by_who_asked_for_them(api: Api) -> None:
    found = api.call("GET", "/defaults")
    assert (found.status, found.headers["cache-control"]) == (200, "private, max-age=300")


def test_a_list_is_searched_through_the_api(api: Api) -> None:
    session_id = created(api)
    for query, count in (("search=ORG%20name", 1), ("search=lamp", 0), ("repository=x", 0)):
        page = api.call("GET", f"/sessions?{query}").json
        assert [item["sessionId"] for item in page["items"]] == [session_id] * count
    assert api.call("GET", f"/sessions?search={'x' * 201}").status == 422
