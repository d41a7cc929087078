"""The rules of callbacks: whom to call, what is sent along, how it is signed, and when again."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from headstart.domain.callbacks import (
    RETRIES,
    TRIES,
    check_callback_url,
    check_headers,
    next_try,
    payload,
    read_secret,
    signed_headers,
)
from headstart.domain.events import Event


@pytest.mark.parametrize(
    "url",
    [
        "http://a.com/",
        "ftp://a.com/",
        "https://u:p@a.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://localhost/",
        "https://a.internal/",
        "https://a.com:22/",
        "https://a.com:80/",
        "https://a.com:0/",
        "https://a.com:99999/",
        "https:///x",
        "https://a.com/a b",
        "https://a.com/ü",
        "https://exämple.com/",
    ],
)
def test_no_receiver_is_within_reach_that_is_not_public(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|is not"):
        check_callback_url(url, [])


@pytest.mark.parametrize("url", ["https://a.com", "https://a.com:8443/x?y=z", "https://8.8.8.8/"])
def test_a_public_receiver_is_taken_as_it_is(url: str) -> None:
    assert check_callback_url(url, []) == url


def test_a_deployment_may_name_others() -> None:
    allowed = ["http://127.0.0.1:*"]
    assert check_callback_url("http://127.0.0.1:81/x", allowed)
    for url in ("http://127.0.0.2:81/", "https://127.0.0.1:81/", "http://u@127.0.0.1:81/"):
        with pytest.raises(ValueError, match="must"):
            check_callback_url(url, allowed)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "a"},
        {"webhook-id": "a"},
        {"Webhook-Signature": "a"},
        {"Content-Length": "0"},
        {"transfer-encoding": "chunked"},
        {"a b": "c"},
        {"": "c"},
        {"a": "b\r\nc: d"},
        {"a": "ü"},
        {"a": " b"},
        {"a": "b" * 1025},
        {"a" * 65: "b"},
        {"a": "b", "A": "c"},
        {f"n{i}": "" for i in range(21)},
    ],
)
def test_headers_that_could_be_taken_for_something_else_are_refused(
    headers: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match="must"):
        check_headers(headers)


def test_headers_up_to_the_limits_are_taken() -> None:
    headers = {f"x-{i}": "v" * 1024 for i in range(19)} | {"Authorization": "Bearer a=/+"}
    assert check_headers(headers) == headers


@given(st.text(), st.text())
def test_what_is_taken_for_a_header_is_one_line_of_it(name: str, value: str) -> None:
    try:
        check_headers({name: value})
    except ValueError as error:
        # Values never, names only where they are known ones.
        assert not value or len(value) < 8 or value not in str(error)
    else:
        assert name.isascii()
        assert not set(name + value) & set("\r\n\0")
        assert value == value.strip()


@given(st.text(alphabet=st.characters(codec="utf-8")), st.integers(1, 10**6))
def test_bodies_are_json_and_bounded_whatever_an_event_has(text: str, times: int) -> None:
    event = Event(
        event_id=7, session_id="ses_1", type="input.requested",
        timestamp=datetime.now(UTC), turn_id="t", data={"body": {"a": text * min(times, 3000)}},
    )  # fmt: skip
    body = payload(event)
    assert len(body) < 20_000
    data = json.loads(body)["data"]
    assert (data["sessionId"], data["eventId"], data["turnId"]) == ("ses_1", 7, "t")
    assert ("truncated" in data) == (data.get("body") != event.data["body"])


@given(st.binary(max_size=300), st.binary(min_size=24, max_size=64))
def test_what_is_signed_is_verified_by_the_standards_library(body: bytes, secret: bytes) -> None:
    text = body.decode("latin-1").encode()
    now = datetime.now(UTC)
    headers = signed_headers("ses_1_2", now, text, [secret])
    whsec = "whsec_" + base64.b64encode(secret).decode()
    assert read_secret(whsec) == read_secret(whsec.removeprefix("whsec_")) == secret
    assert headers["webhook-signature"] == Webhook(whsec).sign("ses_1_2", now, text.decode())


@pytest.mark.parametrize("text", ["", "whsec_", "short", "no base64!", "QUJD" * 30])
def test_a_secret_that_is_none_is_told_without_its_words(text: str) -> None:
    with pytest.raises(ValueError, match="the secret") as refused:
        read_secret(text)
    assert not text or text not in str(refused.value)


def test_tries_go_on_for_a_day_with_jitter() -> None:
    assert timedelta(hours=23) < sum(RETRIES, timedelta()) < timedelta(hours=24)
    for tries, delay in enumerate(RETRIES, start=1):
        assert next_try(tries, 0.0) < delay < next_try(tries, 1.0)
        # SQS hides a message for 12 hours at most.
        assert next_try(tries, 1.0) < timedelta(hours=12)
    assert next_try(TRIES, 0.5) < timedelta(seconds=5)
