"""HTTP API: routes from SAM's OpenAPI body, the JWT authorizer, CORS, events and errors."""

import base64
import json

import boto3
import httpx
import pytest

from headstart_local import cloud, tokens
from tests.conformance.conftest import ORIGIN, OTHER_ORIGIN, Probe


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.proves("cloudformation.http_api_body")
def test_open_route_and_event(probe: Probe) -> None:
    response = httpx.get(f"{probe.cloud.http_url}/health?a=1&a=2&b=x%20y")
    event = response.json()
    assert event["version"] == "2.0"
    assert event["routeKey"] == "GET /health"
    assert event["rawPath"] == "/health"
    assert event["rawQueryString"] == "a=1&a=2&b=x%20y"
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x y"}
    assert event["requestContext"]["http"]["method"] == "GET"
    assert "authorizer" not in event["requestContext"]


@pytest.mark.proves("cloudformation.predictable_api_ids")
def test_urls_are_known_before_the_deployment(probe: Probe) -> None:
    assert probe.cloud.outputs["WebSocketUrl"] == probe.cloud.websocket_url
    assert httpx.get(f"{probe.cloud.http_url}/health").status_code == 200


@pytest.mark.proves("cognito.username_is_sub")
def test_authorized_route_gets_path_and_claims(probe: Probe, token: str) -> None:
    response = httpx.get(f"{probe.cloud.http_url}/items/a%20b", headers=bearer(token))
    event = response.json()
    assert event["pathParameters"] == {"item": "a b"}
    claims = event["requestContext"]["authorizer"]["jwt"]["claims"]
    assert claims["sub"] == "alice"
    assert claims["client_id"] == probe.cloud.outputs["UserPoolClientId"]
    assert int(claims["exp"]) - int(claims["iat"]) == 24 * 60 * 60


def test_a_list_in_a_claim_arrives_in_brackets(probe: Probe, unique: str) -> None:
    """As AWS has it, though only examples in its documents show it."""

    def claim(sub: str, *groups: str) -> str | None:
        headers = bearer(tokens.issue(probe.cloud.endpoint, sub, groups))
        event = httpx.get(f"{probe.cloud.http_url}/items/1", headers=headers).json()
        found: str | None = event["requestContext"]["authorizer"]["jwt"]["claims"].get(
            "cognito:groups"
        )
        return found

    assert claim(unique) is None
    assert claim(unique, f"{unique}-a") == f"[{unique}-a]"
    both = claim(unique, f"{unique}-b", f"{unique}-a") or ""
    assert both.startswith("[")
    assert both.endswith("]")
    assert set(both[1:-1].split(" ")) == {f"{unique}-a", f"{unique}-b"}


def test_a_token_is_made_though_another_is_at_the_same_moment(
    probe: Probe, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def another(**_: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(tokens, "session", cloud.session)
            made.append(tokens.issue(probe.cloud.endpoint, unique))

    def session() -> boto3.Session:
        aws = cloud.session()
        for call in ("AdminCreateUser", "AdminInitiateAuth"):
            aws.events.register(f"before-call.cognito-idp.{call}", another)
        return aws

    monkeypatch.setattr(tokens, "session", session)
    made.append(tokens.issue(probe.cloud.endpoint, unique))
    assert len(made) == 3
    for one in made:
        answer = httpx.get(f"{probe.cloud.http_url}/items/1", headers=bearer(one))
        assert answer.status_code == 200


@pytest.mark.proves("cloudformation.http_api_body")
def test_no_or_false_tokens_are_401(probe: Probe, token: str) -> None:
    url = f"{probe.cloud.http_url}/items/1"
    header, claims, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**decoded, "sub": "bob"}).encode()).decode()
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers=bearer("nonsense")).status_code == 401
    other = f"{header}.{forged.rstrip('=')}.{signature}"
    assert httpx.get(url, headers=bearer(other)).status_code == 401
    assert httpx.get(url, headers=bearer(token)).status_code == 200


def test_token_of_another_client_is_401(probe: Probe) -> None:
    cognito = probe.cloud.client("cognito-idp")
    pool = probe.cloud.outputs["UserPoolId"]
    flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="other", ExplicitAuthFlows=flows
    )["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool, Username="mallory")
    secret = {"Password": "Aa1!aaaaaaaa", "Permanent": True}
    cognito.admin_set_user_password(UserPoolId=pool, Username="mallory", **secret)
    answer = cognito.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=client,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "mallory", "PASSWORD": secret["Password"]},
    )
    token = answer["AuthenticationResult"]["AccessToken"]
    url = f"{probe.cloud.http_url}/items/1"
    assert httpx.get(url, headers=bearer(token)).status_code == 401


def test_unknown_route_is_404(probe: Probe, token: str) -> None:
    response = httpx.get(f"{probe.cloud.http_url}/nothing", headers=bearer(token))
    assert (response.status_code, response.json()) == (404, {"message": "Not Found"})


@pytest.mark.proves("lambda_.proxy_error_is_internal")
def test_error_of_a_function_is_not_told(probe: Probe, token: str) -> None:
    response = httpx.post(f"{probe.cloud.http_url}/boom", headers=bearer(token))
    assert (response.status_code, response.json()) == (500, {"message": "Internal Server Error"})


@pytest.mark.proves("cloudformation.http_api_body")
def test_preflight_needs_no_token(probe: Probe) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": "GET"}
    response = httpx.options(f"{probe.cloud.http_url}/items/1", headers=asked)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in response.headers["access-control-allow-headers"]


@pytest.mark.proves("cloudformation.http_api_body")
@pytest.mark.parametrize("origin", [ORIGIN, OTHER_ORIGIN])
def test_answers_carry_cors_headers(probe: Probe, origin: str) -> None:
    response = httpx.get(f"{probe.cloud.http_url}/health", headers={"origin": origin})
    assert response.headers["access-control-allow-origin"] == origin


@pytest.mark.proves("cloudformation.cors_configuration")
def test_cors_of_a_plain_api(probe: Probe) -> None:
    url = f"{probe.cloud.endpoint}/_aws/execute-api/{probe.cloud.outputs['PlainHttpApi']}/x"
    response = httpx.options(url, headers={"origin": ORIGIN})
    assert response.status_code == 204
