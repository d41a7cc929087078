"""Requests to models through the door: what gets a key, and goes where, and what comes back."""

import asyncio
import io
import json
import logging
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from models_kit import KEY, PATIENCE, PLACEHOLDER, Gateway, Provider, serving

from headstart_runner.gateway import models as gateway
from headstart_runner.gateway.door import Door
from headstart_runner.gateway.models import Models
from headstart_runner.gateway.routes import Route

pytestmark = pytest.mark.anyio


@pytest.fixture
async def through() -> AsyncIterator[Gateway]:
    provider, door, models = Provider(), Door(), Models()
    await door.open()
    address = door.serve("model", models.answer)
    async with (
        serving(provider.handle) as provider.port,
        aiohttp.ClientSession(auto_decompress=False) as client,
    ):
        made = Gateway(models, address, client, provider)
        made.route()
        try:
            yield made
        finally:
            await models.close()
            await door.close()


async def test_the_key_is_put_in_the_placeholders_place_in_headers_and_nowhere_else(
    through: Gateway,
) -> None:
    body = json.dumps({"messages": [f"my key is {PLACEHOLDER}"]}).encode()
    headers = {"x-api-key": PLACEHOLDER, "anthropic-version": "2023-06-01"}
    path = f"/stub/models/a%2Fb:stream?alt=sse&key={PLACEHOLDER}"
    async with through.ask(path, data=body, headers=headers) as answer:
        assert await answer.json() == {"ok": True}

    [(method, asked, heard, told)] = through.provider.asked
    assert (method, asked) == ("POST", f"/v1/models/a%2Fb:stream?alt=sse&key={PLACEHOLDER}")
    assert heard["Authorization"] == f"Bearer {KEY}"
    assert heard["x-api-key"] == KEY
    assert heard["anthropic-version"] == "2023-06-01"
    assert heard["Host"] == f"127.0.0.1:{through.provider.port}"
    assert heard["Content-Length"] == str(len(body))
    assert told == body


@pytest.mark.parametrize("path", ["/stub", "/stub/", "/stub?beta=true", "/s%74ub/chat"])
async def test_what_follows_the_providers_name_follows_its_address(
    through: Gateway, path: str
) -> None:
    async with through.ask(path, method="GET") as answer:
        assert answer.status == 200

    assert through.provider.asked[0][1] == "/v1" + path.removeprefix("/stub").removeprefix(
        "/s%74ub"
    )


async def test_no_key_is_put_where_a_server_would_show_it_again(through: Gateway) -> None:
    odd = {
        "anthropic-beta": PLACEHOLDER,
        "Origin": f"https://{PLACEHOLDER}",
        "x-request-id": PLACEHOLDER,
        "x-api-key": f"look at {PLACEHOLDER}",
    }
    async with through.ask("/stub/chat", headers=odd) as answer:
        assert answer.status == 200
    heard = {name.lower(): value for name, value in through.provider.asked[0][2].items()}
    assert {name: heard[name.lower()] for name in odd} == odd
    assert heard["authorization"] == f"Bearer {KEY}"
    await through.refused(403, key="", headers=odd)
    await through.refused(403, key=f"{PLACEHOLDER} and more")


async def test_settings_may_send_a_key_in_a_header_of_their_own(through: Gateway) -> None:
    route = Route(through.provider.base, {PLACEHOLDER: KEY}, True, frozenset({"x-team"}))
    through.models.lead({"stub": route})
    async with through.ask("/stub/chat", key="", headers={"X-Team": f"k={PLACEHOLDER}"}) as answer:
        assert answer.status == 200
    assert through.provider.asked[0][2]["X-Team"] == f"k={KEY}"


async def test_who_does_not_know_the_placeholder_gets_no_key(through: Gateway) -> None:
    assert "placeholder" in await through.refused(403, key="sk-guessed")
    through.models.lead(
        {
            "stub": Route(through.provider.base, {PLACEHOLDER: KEY}, named=True),
            "other": Route(through.provider.base, {"headstart-other": "sk-other"}, named=True),
        }
    )
    await through.refused(403, path="/other/chat")
    await through.refused(403, key="", path=f"/stub/chat?key={PLACEHOLDER}")
    word = through.address.rsplit("/", 2)[1]
    for guessed in ("", "guessed", word[:-1], word.swapcase()):
        url = through.address.replace(word, guessed) + "/stub/chat"
        async with through.client.get(url, headers={"x-api-key": PLACEHOLDER}) as answer:
            assert (answer.status, await answer.read()) == (404, b"")
    assert through.provider.asked == []


@pytest.mark.parametrize("provider", ["", "none", "..", "stub%2F..", "%2e%2e", "127.0.0.1:1"])
async def test_a_provider_that_the_deployment_does_not_have_is_no_way_out(
    through: Gateway, provider: str
) -> None:
    await through.refused(404, path=f"/{provider}/chat")


@pytest.mark.parametrize(
    "path",
    [
        *("../admin", "a/../../admin", "a/..", "./chat", "..?x=1", "%2e%2e/admin", ".%2E/x"),
        *("a%2f..%2fb", "a\\..\\b", "%5c..%5cx", "%252e%252e/admin"),
        *(
            "..;/..;/admin/keys",
            ".%2e;/admin",
            "..%3bx/admin",
            "x#/../y",
            "x?a#b",
            "%09./x",
        ),
    ],
)
async def test_a_path_does_not_leave_the_providers_address(through: Gateway, path: str) -> None:
    # Clients tidy such paths up before they send them.
    url = urlsplit(through.address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    lines = [f"POST {url.path}/stub/{path} HTTP/1.1", "Host: x", f"x-api-key: {PLACEHOLDER}"]
    writer.write("\r\n".join([*lines, "Content-Length: 0", "Connection: close", "", ""]).encode())
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"leads out of" in answer
    assert through.provider.asked == []


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PROPFIND"])
async def test_nothing_is_asked_that_would_tell_what_was_sent(
    through: Gateway, method: str
) -> None:
    assert method in await through.refused(405, method=method)


async def test_a_redirect_to_nowhere_and_a_key_that_is_none_are_failures_in_words(
    through: Gateway,
) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "http://[::1"})

    through.provider.answer = redirect
    async with through.ask() as answer:
        assert answer.status == 502
        assert "redirects to nowhere" in (await answer.json())["error"]["message"]
    broken = Route(through.provider.base, {PLACEHOLDER: "two\nlines"}, named=True)
    through.models.lead({"stub": broken})
    assert "two" not in await through.refused(502)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(through: Gateway, status: int) -> None:
    went: list[dict[str, str]] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        went.append(dict(request.headers))
        return web.Response()

    async with serving(elsewhere) as port:
        there = f"http://localhost:{port}/v1/chat"

        async def redirect(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": there})

        through.provider.answer = redirect
        async with through.ask() as answer:
            assert answer.status == 502
            assert "redirects to localhost" in (await answer.json())["error"]["message"]

    assert went == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
async def test_a_providers_error_is_passed_back_as_it_is(through: Gateway, status: int) -> None:
    error = b'{"error": {"type": "overloaded_error",   "message": "Overloaded"}}'

    async def fail(request: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": "7", "Content-Type": "application/json", "request-id": "req_1"}
        return web.Response(status=status, body=error, headers=headers)

    through.provider.answer = fail
    async with through.ask() as answer:
        assert (answer.status, await answer.read()) == (status, error)
        assert (answer.headers["Retry-After"], answer.headers["request-id"]) == ("7", "req_1")


async def test_a_compressed_body_is_passed_on_as_it_is_both_ways(through: Gateway) -> None:
    async def squeezed(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\x1f\x8bnot really", headers={"Content-Encoding": "gzip"})

    through.provider.answer = squeezed
    there = b"\x1f\x8bnot really either"
    async with through.ask(data=there, headers={"Content-Encoding": "gzip"}) as answer:
        assert await answer.read() == b"\x1f\x8bnot really"


async def test_each_piece_of_an_answer_comes_as_soon_as_it_was_said(through: Gateway) -> None:
    heard = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number in range(20):
            await answer.write(f"data: {number}\n\n".encode())
            await heard.wait()  # the next one is said only once this one was heard
            heard.clear()
        return answer

    through.provider.answer = stream
    async with through.ask() as answer, asyncio.timeout(PATIENCE):
        assert answer.headers["Content-Type"] == "text/event-stream"
        for number in range(20):
            assert await answer.content.readany() == f"data: {number}\n\n".encode()
            heard.set()
        assert await answer.content.read() == b""


async def test_an_answer_that_breaks_off_is_not_ended_as_if_it_were_whole(
    through: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"data: 1\n\n")
        assert request.transport is not None
        request.transport.close()
        return answer

    through.provider.answer = break_off
    async with through.ask() as answer, asyncio.timeout(PATIENCE):
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert [record.levelname for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_provider_is_asked_no_more_once_the_agent_hangs_up(through: Gateway) -> None:
    began, over = asyncio.Event(), asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        try:
            began.set()
            await asyncio.sleep(PATIENCE)
        finally:
            over.set()
        return web.Response()

    through.provider.answer = silent
    asking = asyncio.create_task(through.ask().__aenter__())
    await asyncio.wait_for(began.wait(), PATIENCE)
    asking.cancel()

    await asyncio.wait_for(over.wait(), PATIENCE / 2)
    assert through.models._under_way == 0


async def test_a_provider_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_SILENT_SECONDS", 0.2)
    release = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    door, models = Door(), Models()
    await door.open()
    address = door.serve("model", models.answer)
    async with serving(hang) as port, aiohttp.ClientSession() as client:
        models.lead({"stub": Route(f"http://127.0.0.1:{port}", {PLACEHOLDER: KEY}, named=True)})
        async with (
            asyncio.timeout(PATIENCE),
            client.get(f"{address}/stub/chat", headers={"x-api-key": PLACEHOLDER}) as answer,
        ):
            said = await answer.json()
        release.set()
    await models.close()
    await door.close()

    assert answer.status == 502
    assert "nothing in time" in said["error"]["message"]


async def test_a_provider_that_is_not_there_is_a_failure_in_words(through: Gateway) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        through.route(f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        assert "can't be reached" in await through.refused(502)
    through.route("http://no-such-host.invalid/v1")
    assert "can't be reached" in await through.refused(502)


async def test_a_private_address_is_gone_to_only_where_the_deployment_wrote_it(
    through: Gateway,
) -> None:
    local = f"http://localhost:{through.provider.port}/v1"
    through.route(local, named=False)
    assert "an address this deployment does not allow" in await through.refused(502)

    through.route(local)
    async with through.ask() as answer:
        assert answer.status == 200


async def test_more_requests_at_once_than_there_is_room_for_are_refused(
    through: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "_MOST_AT_ONCE", 3)
    busy, release = asyncio.Semaphore(0), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        busy.release()
        await release.wait()
        return web.Response()

    through.provider.answer = slow
    asking = [asyncio.create_task(_status(through)) for _ in range(3)]
    async with asyncio.timeout(PATIENCE):
        for _ in asking:
            await busy.acquire()
    assert "3 requests" in await through.refused(429)
    release.set()

    assert await asyncio.gather(*asking, _status(through)) == [200] * 4


async def _status(through: Gateway) -> int:
    async with through.ask() as answer:
        return answer.status


async def test_a_large_body_and_a_large_answer_pass_and_are_counted_and_logged_without_the_key(
    through: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"a" * 20_000_000)

    through.provider.answer = large
    async with through.ask(data=io.BytesIO(b"q" * 10_000_000)) as answer:
        assert len(await answer.read()) == 20_000_000
    caplog.set_level(logging.INFO)
    await through.models.close()

    assert len(through.provider.asked[0][3]) == 10_000_000
    told = through.models.traffic["stub"]
    assert (told.requests, told.sent, told.received) == (1, 10_000_000, 20_000_000)
    assert "stub had 1 requests: 10000000 bytes there, 20000000 back" in caplog.text
    assert KEY not in caplog.text
    assert PLACEHOLDER not in caplog.text


async def test_what_is_led_to_no_more_is_not_there(through: Gateway) -> None:
    through.models.lead({})
    await through.refused(404)
