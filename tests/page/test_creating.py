"""How forms send: once, sealed, as a pasted address means it; and what they say of a refusal."""

import base64
import json
import re

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fake_headstart import Reply, Seen, problem
from playwright.sync_api import Page, expect
from session_scripts import good_session

from tests.page.scripted import Place
from tests.page.tokens import token

VALUE = "npm_0123456789"


@pytest.fixture
def key(place: Place) -> rsa.RSAPrivateKey:
    """Give the deployment a key for secrets, and return its private half."""
    private = rsa.generate_private_key(65537, 2048)
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    place.cloud.key = {
        "keyId": "key-1",
        "algorithm": "RSA-OAEP-256",
        "publicKey": base64.b64encode(der).decode(),
    }
    return private


def connect(tab: Page, place: Place) -> None:
    """Connect with a token that says whose it is, as secrets are sealed for one user alone."""
    tab.goto(f"{place.origin}/#api={place.cloud.url}&token={token(3600)}")
    expect(tab.locator("#create [name=prompt]")).to_be_visible()


def fill(tab: Page, repo: str = "org/name") -> None:
    tab.locator("#create [name=repo]").fill(repo)
    tab.locator("#create [name=prompt]").fill("hello")


def add_secret(tab: Page) -> None:
    tab.locator("#create summary").first.click()
    tab.get_by_role("button", name="Add a secret").click()
    tab.get_by_label("Name of the secret").fill("NPM_TOKEN")
    tab.get_by_label("Value of the secret").fill(VALUE)


def start(tab: Page) -> None:
    tab.locator("#create button.primary").click()


def creations(place: Place) -> list[Seen]:
    return place.cloud.requests("POST", "/sessions")


def opened(envelope: dict[str, str], key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Open an envelope as a sandbox does."""
    parts = {name: base64.b64decode(envelope[name]) for name in ("key", "iv", "ciphertext")}
    content = key.decrypt(
        parts["key"],
        padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label=None),
    )
    found: dict[str, str] = json.loads(
        AESGCM(content).decrypt(parts["iv"], parts["ciphertext"], b"ada")
    )
    return found


@pytest.mark.long
def test_a_lost_answer_makes_no_second_session_and_seals_nothing_anew(
    tab: Page, place: Place, key: rsa.RSAPrivateKey
):
    place.cloud.next_session = place.session(script=good_session())
    connect(tab, place)
    fill(tab)
    add_secret(tab)
    place.lose("POST", "/sessions")
    start(tab)
    expect(tab.locator("#status")).to_have_text("ready")
    first, second = creations(place)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body
    sealed = first.body["encryptedSecrets"]
    assert (sealed["names"], sealed["envelope"]["keyId"]) == (["NPM_TOKEN"], "key-1")
    assert opened(sealed["envelope"], key) == {"NPM_TOKEN": VALUE}
    assert all(VALUE not in json.dumps(seen.body) for seen in place.cloud.seen)


@pytest.mark.long
def test_who_presses_start_again_after_all_answers_were_lost_gets_the_same_session(
    tab: Page, place: Place, key: rsa.RSAPrivateKey
):
    place.cloud.next_session = place.session(script=good_session())
    connect(tab, place)
    fill(tab)
    add_secret(tab)
    answer = place.cloud.answer
    lost = Reply(0)
    place.cloud.answer = lambda seen: (
        lost if (seen.method, seen.path[-9:]) == ("POST", "/sessions") else answer(seen)
    )
    start(tab)
    expect(tab.locator("#notice")).to_contain_text("No answer came")
    expect(tab.get_by_label("Value of the secret")).to_have_value(VALUE)
    place.cloud.answer = answer
    start(tab)
    expect(tab.locator("#status")).to_have_text("ready")
    sent = creations(place)
    assert len(sent) > 2
    assert len({seen.headers["idempotency-key"] for seen in sent}) == 1
    assert all(seen.body == sent[0].body for seen in sent)
    assert len(place.cloud.requests("GET", "/encryption-key")) == 1


@pytest.mark.long
def test_what_was_not_answered_goes_with_who_disconnects(tab: Page, place: Place):
    place.cloud.next_session = place.session(script=good_session())
    answer = place.cloud.answer
    place.cloud.answer = lambda seen: (
        Reply(0) if (seen.method, seen.path[-9:]) == ("POST", "/sessions") else answer(seen)
    )
    connect(tab, place)
    fill(tab)
    start(tab)
    expect(tab.locator("#notice")).to_contain_text("No answer came")
    tab.locator("#disconnect").click()
    place.cloud.answer = answer
    # The page is not loaded again.
    tab.locator("#connect [name=token]").fill(token(3600))
    tab.locator("#connect button.primary").click()
    fill(tab)
    start(tab)
    expect(tab.locator("#status")).to_have_text("ready")
    before, *_, after = (seen.headers["idempotency-key"] for seen in creations(place))
    assert before != after


@pytest.mark.long
def test_the_next_session_is_sealed_anew(tab: Page, place: Place, key: rsa.RSAPrivateKey):
    connect(tab, place)
    for name in ("one", "two"):
        place.cloud.next_session = place.session(title=name, script=good_session())
        fill(tab)
        if name == "one":
            add_secret(tab)
        else:
            tab.get_by_label("Value of the secret").fill(VALUE)
        start(tab)
        expect(tab.locator("#title")).to_have_text(name)
        tab.get_by_role("button", name="New session").click()
    envelopes = [seen.body["encryptedSecrets"]["envelope"] for seen in creations(place)]
    assert envelopes[0]["ciphertext"] != envelopes[1]["ciphertext"]
    assert [opened(one, key) for one in envelopes] == [{"NPM_TOKEN": VALUE}] * 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("written", "branch"), [("50%25-off", "50%-off"), ("50%-off", "50%-off"), ("a%23b", "a#b")]
)
def test_a_percent_in_a_branchs_address_is_read_as_meant(
    tab: Page, place: Place, written: str, branch: str
):
    place.cloud.next_session = place.session(script=good_session())
    connect(tab, place)
    fill(tab, f"https://github.com/org/name/tree/{written}")
    start(tab)
    expect(tab.locator("#status")).to_have_text("ready")
    body = creations(place)[-1].body
    assert (body["githubRepo"], body["upstreamBranch"]) == ("org/name", branch)


def refuse(place: Place, method: str, field: str, words: str) -> None:
    """Have the API refuse a field of such calls."""
    answer = place.cloud.answer
    wrong = [{"loc": [field], "msg": words}]
    refusal = problem(422, "ValidationFailed", f"{field}: {words}", errors=wrong)
    place.cloud.answer = lambda seen: (
        refusal if seen.method == method and field in (seen.body or {}) else answer(seen)
    )


@pytest.mark.long
def test_what_is_wrong_with_another_try_is_said_at_its_field(tab: Page, place: Place):
    failure = {"step": "clone", "code": "BranchNotFound", "reason": "No x", "retryable": True}
    session = place.session(status="failed", failure=failure)
    place.open(tab, session)
    refuse(place, "PATCH", "upstreamBranch", "is not a valid branch name")
    field = tab.locator("#retry [name=branch]")
    field.fill("a..b")
    tab.get_by_role("button", name="Try again").click()
    expect(field).to_have_accessible_description("It is not a valid branch name.")
    expect(field).to_be_focused()
    expect(field).to_have_value("a..b")
    expect(tab.locator("#notice")).to_be_hidden()
    assert place.cloud.requests("POST", "/retry") == []
    place.go(tab, place.session(status="failed", failure=failure))
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_a_wrong_address_is_corrected_where_it_failed(tab: Page, place: Place):
    reason = "The repository was not found"
    failure = {"step": "clone", "code": "RepositoryNotFound", "reason": reason, "retryable": True}
    session = place.session(status="failed", failure=failure)
    place.open(tab, session)
    refuse(place, "PATCH", "githubRepo", "must look like org/name")
    field = tab.get_by_label("Another repository to clone")
    field.fill("org/x.git")
    tab.get_by_role("button", name="Try again").click()
    expect(field).to_have_accessible_description(
        "It should be org/name, or an address from https:// on."
    )
    assert place.cloud.requests("POST", "/retry") == []
    field.fill("no address")
    tab.get_by_role("button", name="Try again").click()
    expect(field).to_have_accessible_description(re.compile("^Name it as org/name"))
    # As the form of a new session takes it.
    field.fill("https://example.com/org/other/-/tree/dev")
    tab.get_by_role("button", name="Try again").click()
    expect(tab.locator("#failure")).to_be_hidden()
    [_, changed] = [seen.body for seen in place.cloud.seen if seen.method == "PATCH"]
    assert changed == {"gitUrl": "https://example.com/org/other", "upstreamBranch": "dev"}
    assert len(place.cloud.requests("POST", "/retry")) == 1


@pytest.mark.long
def test_a_refused_message_is_told_in_words_and_stays(tab: Page, place: Place):
    place.open(tab, place.session(script=good_session()))
    expect(tab.locator("#status")).to_have_text("ready")
    refuse(place, "POST", "prompt", "must not be empty")
    tab.locator("#text").fill("something")
    tab.locator("#text").press("Enter")
    expect(tab.locator("#notice")).to_have_text("It must not be empty.")
    expect(tab.locator("#text")).to_have_value("something")
