"""Who may talk to the embedded cloud: programs, and of a browser's pages only those it knows."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import botocore.exceptions
import httpx
import pytest
import websockets.exceptions
from websockets.sync.client import connect
from websockets.typing import Origin

from headstart_local.git_server import GitServer
from headstart_local.page_server import PageServer
from tests.conformance.conftest import ORIGIN, OTHER_ORIGIN, Probe

FOREIGN = ["http://evil.example", "null", "http://127.0.0.1:3001", f"{ORIGIN}/", f"{ORIGIN}.evil"]
SECONDS = 5


def refused(response: httpx.Response) -> bool:
    """Say whether an answer is the refusal, in words and with nothing for a browser."""
    readable = [name for name in response.headers if name.startswith("access-control-")]
    return (
        response.status_code == 403
        and response.text.startswith("The embedded cloud answers")
        and not readable
    )


def status_for_hosts(port: int, path: str, hosts: list[str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.putrequest("GET", path, skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def queue_exists(probe: Probe, name: str) -> bool:
    try:
        probe.cloud.client("sqs").get_queue_url(QueueName=name)
    except botocore.exceptions.ClientError:
        return False
    return True


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_loopback_names_are_answered(probe: Probe, name: str) -> None:
    host = {"host": f"{name}:{probe.cloud.port}"}
    assert httpx.get(f"{probe.cloud.http_url}/health", headers=host).status_code == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example", "evil.localhost", "[::]"]
)
def test_other_names_are_refused(probe: Probe, name: str) -> None:
    host = f"{name}:{probe.cloud.port}"
    url = f"{probe.cloud.http_url}/health"
    assert refused(httpx.get(url, headers={"host": host}))
    # A name that was made to resolve to this machine is of its page's own origin.
    same = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert refused(httpx.get(url, headers=same))


def test_a_host_without_our_port_or_more_than_one_is_refused(probe: Probe) -> None:
    path = f"{probe.cloud.http_url}/health".partition(str(probe.cloud.port))[2]
    ours = f"127.0.0.1:{probe.cloud.port}"
    assert status_for_hosts(probe.cloud.port, path, [ours]) == 200
    for hosts in (["127.0.0.1"], ["127.0.0.1:1"], [ours, "evil.example"], ["evil.example", ours]):
        assert status_for_hosts(probe.cloud.port, path, hosts) in {400, 403}


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_gets_nothing_not_even_a_preflight(probe: Probe, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "GET"}
    for url in (f"{probe.cloud.http_url}/health", f"{probe.cloud.endpoint}/"):
        assert refused(httpx.get(url, headers={"origin": origin}))
        assert refused(httpx.options(url, headers=asked))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_foreign_page_changes_nothing_without_a_preflight(
    probe: Probe, unique: str, kind: str
) -> None:
    body = f"Action=CreateQueue&Version=2012-11-05&QueueName={unique}"
    headers = {"content-type": kind, "origin": "http://evil.example"}
    assert refused(httpx.post(probe.cloud.endpoint, content=body, headers=headers))
    assert not queue_exists(probe, unique)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_link_or_an_image_changes_nothing(probe: Probe, unique: str, site: str) -> None:
    """Neither has an Origin, and an address that was typed may redirect to any other."""
    url = f"{probe.cloud.endpoint}/?Action=CreateQueue&Version=2012-11-05&QueueName={unique}"
    assert refused(httpx.get(url, headers={"sec-fetch-site": site}))
    assert not queue_exists(probe, unique)
    assert httpx.get(url).status_code == 200
    assert queue_exists(probe, unique)


@pytest.mark.parametrize("origin", [ORIGIN, OTHER_ORIGIN])
def test_a_page_that_is_known_may_call_what_is_deployed_and_nothing_of_aws(
    probe: Probe, origin: str
) -> None:
    headers = {"origin": origin, "sec-fetch-site": "same-site"}
    assert httpx.get(f"{probe.cloud.http_url}/health", headers=headers).status_code == 200
    management = probe.cloud.websocket_url.replace("ws://", "http://")
    for url in (
        probe.cloud.endpoint,
        f"{management}/@connections/x",
        f"{probe.cloud.endpoint}/b/k",
    ):
        assert refused(httpx.get(url, headers=headers))
        assert refused(httpx.options(url, headers=headers))


def test_what_the_api_signed_may_be_fetched_by_its_page_and_followed_as_a_link(
    probe: Probe,
) -> None:
    s3 = probe.cloud.client("s3")
    s3.create_bucket(Bucket="signed-for-pages")
    s3.put_object(Bucket="signed-for-pages", Key="k", Body=b"kept")
    # The emulator takes any signature.
    url = f"{probe.cloud.endpoint}/signed-for-pages/k?X-Amz-Signature=any"
    fetched = httpx.get(url, headers={"origin": ORIGIN, "sec-fetch-site": "same-site"})
    assert (fetched.content, "access-control-allow-origin" in fetched.headers) == (b"kept", True)
    followed = {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"}
    assert httpx.get(url, headers=followed).content == b"kept"
    for headers in (
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ):
        assert refused(httpx.get(url, headers=headers))
    for call in (httpx.put, httpx.delete, httpx.options):
        assert refused(call(url, headers={"origin": ORIGIN}))
    assert refused(httpx.get(url.partition("?")[0], headers=followed))


def test_answers_to_programs_are_for_no_page(probe: Probe) -> None:
    listing = f"{probe.cloud.endpoint}/?Action=ListQueues&Version=2012-11-05"
    for url in (f"{probe.cloud.http_url}/health", listing):
        answer = httpx.get(url)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_opens_no_websocket(probe: Probe, unique: str, origin: str) -> None:
    url = f"{probe.cloud.websocket_url}?id={unique}"
    with (
        pytest.raises(websockets.exceptions.InvalidStatus) as raised,
        connect(url, origin=Origin(origin)),
    ):
        pass
    assert raised.value.response.status_code == 403
    assert b"The embedded cloud answers" in raised.value.response.body
    assert unique not in str(probe.items("connected"))


def test_a_page_that_is_known_opens_one(probe: Probe, unique: str) -> None:
    url = f"{probe.cloud.websocket_url}?id={unique}"
    with connect(url, origin=Origin(ORIGIN)):
        assert probe.item("connected", unique)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[PageServer]:
    (tmp_path / "index.html").write_text("the page")
    with PageServer(tmp_path) as server, server.serving(["http://127.0.0.1:1/api/"]):
        yield server


def test_the_page_is_for_loopback_names_and_connects_to_its_own_api(page: PageServer) -> None:
    answer = httpx.get(page.origin)
    assert answer.text == "the page"
    assert (
        "connect-src 'self' http://127.0.0.1:1/api/;" in answer.headers["content-security-policy"]
    )
    # People come to it by links on other pages, such as a terminal in the browser.
    assert httpx.get(page.origin, headers={"sec-fetch-site": "cross-site"}).status_code == 200
    rebound = {"host": f"evil.example:{page.server_address[1]}"}
    assert refused(httpx.get(page.origin, headers=rebound))


def test_what_is_not_ours_is_served_beside_the_page_and_nothing_else_is(tmp_path: Path) -> None:
    web, vendor = tmp_path / "web", tmp_path / "vendor"
    for folder in (web, vendor):
        folder.mkdir()
        (folder / "marked.js").write_text(folder.name)
    (tmp_path / "secret").write_text("no")
    with PageServer(web, vendor) as server, server.serving([]):
        assert httpx.get(f"{server.origin}/marked.js").text == "web"
        answer = httpx.get(f"{server.origin}/vendor/marked.js")
        assert answer.text == "vendor"
        assert answer.headers["content-type"] == "text/javascript"
        for path in ("vendor/none.js", "vendor/../secret", "vendor/%2e%2e/secret", "../secret"):
            assert httpx.get(f"{server.origin}/{path}").status_code == 404
    with PageServer(web, tmp_path / "not there") as server, server.serving([]):
        assert httpx.get(f"{server.origin}/vendor/marked.js").status_code == 404


def test_the_git_server_is_for_programs(tmp_path: Path) -> None:
    with GitServer(tmp_path) as git:
        url = f"{git.base_url}/none.git/info/refs?service=git-upload-pack"
        assert httpx.get(url).status_code == 404
        port = git.base_url.rpartition(":")[2]
        for headers in (
            {"host": f"evil.example:{port}"},
            {"origin": "http://evil.example"},
            {"origin": git.base_url},
            {"sec-fetch-site": "cross-site"},
        ):
            assert refused(httpx.get(url, headers=headers))
            assert refused(httpx.post(url, headers=headers, content=b"x"))
