"""The key pair for secrets in KMS: found by its alias, replaced behind it, refused in words."""

import base64
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from headstart.adapters.aws import make_client
from headstart.adapters.kms import KmsSealing
from headstart.domain.errors import EncryptionKeyNotFound, SecretsUnavailable, ServiceUnavailable

ALIAS = "alias/headstart/secrets"


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kms(aws: None) -> Any:
    client = make_client("kms")
    client.asked = []
    client.meta.events.register(
        "before-call.kms",
        lambda model, params, **_: client.asked.append((model.name, params["body"])),
    )
    return client


def new_key(kms: Any) -> str:
    # Of 2048 bits, because the emulator takes a second for others.
    key = kms.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    return str(key["KeyMetadata"]["KeyId"])


def test_the_key_is_the_one_that_the_alias_names_and_is_kept_for_five_minutes(kms: Any) -> None:
    first, second = new_key(kms), new_key(kms)
    kms.create_alias(AliasName=ALIAS, TargetKeyId=first)
    clock = Clock()
    sealing = KmsSealing(lambda: kms, ALIAS, clock)
    kms.asked.clear()

    key = sealing.public_key()
    assert key.key_id == first
    assert key.spki == kms.get_public_key(KeyId=first)["PublicKey"]
    kms.update_alias(AliasName=ALIAS, TargetKeyId=second)
    clock.now += 299
    assert sealing.public_key().key_id == first
    clock.now += 2
    assert sealing.public_key().key_id == second
    asked = [name for name, body in kms.asked if name == "GetPublicKey" and ALIAS.encode() in body]
    assert len(asked) == 2


def test_without_an_alias_nobody_is_asked() -> None:
    def none() -> Any:
        raise AssertionError("nobody is to be asked")

    with pytest.raises(EncryptionKeyNotFound):
        KmsSealing(none, "").public_key()


def test_a_key_is_decrypted_by_the_pair_that_the_caller_named(kms: Any) -> None:
    def answer(model: Any, params: dict[str, Any], **_: Any) -> Any:
        kms.asked.append((model.name, params["body"]))
        return type("Http", (), {"status_code": 200}), {"Plaintext": b"k" * 32}

    kms.meta.events.register_first("before-call.kms.Decrypt", answer)
    assert KmsSealing(lambda: kms, ALIAS).unwrap("0a-1", b"wrapped") == b"k" * 32
    [(name, body)] = kms.asked
    assert name == "Decrypt"
    assert b'"KeyId": "0a-1"' in body
    assert b'"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"' in body
    assert base64.b64encode(b"wrapped") in body


REFUSALS = [
    "AccessDeniedException", "DisabledException", "InvalidCiphertextException",
    "InvalidKeyUsageException", "KMSInvalidStateException", "NotFoundException",
    "ValidationException",
]  # fmt: skip
TROUBLES = [
    ClientError({"Error": {"Code": "ThrottlingException"}}, "Decrypt"),
    ClientError({"Error": {"Code": "KMSInternalException"}}, "Decrypt"),
    ClientError({"Error": {"Code": "DependencyTimeoutException"}}, "Decrypt"),
    ClientError({"Error": {"Code": "KeyUnavailableException"}}, "Decrypt"),
    EndpointConnectionError(endpoint_url="https://kms"),
]


def failing(kms: Any, error: Exception) -> KmsSealing:
    def fail(**_: Any) -> None:
        raise error

    kms.meta.events.register_first("before-call.kms.Decrypt", fail)
    return KmsSealing(lambda: kms, ALIAS)


@pytest.mark.parametrize("code", REFUSALS)
def test_what_no_repetition_changes_is_the_secrets_fault(kms: Any, code: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "quotes something"}}, "Decrypt")
    with pytest.raises(SecretsUnavailable, match="secrets can't be opened: ") as refused:
        failing(kms, error).unwrap("0a-1", b"wrapped")
    assert "quotes" not in refused.value.reason


@pytest.mark.parametrize("error", TROUBLES, ids=str)
def test_what_may_pass_is_the_services(kms: Any, error: Exception) -> None:
    with pytest.raises(ServiceUnavailable):
        failing(kms, error).unwrap("0a-1", b"wrapped")


def refused(kms: Any, *codes: str | None, alias: str = ALIAS) -> tuple[int, list[bytes]]:
    """Return how often a key of the deployment's failed, and what KMS was asked."""
    failures: list[int] = []
    asked: list[bytes] = []

    def answer(params: dict[str, Any], **_: Any) -> Any:
        asked.append(params["body"])
        if code := codes[len(asked) - 1]:
            raise ClientError({"Error": {"Code": code}}, "Decrypt")
        return type("Http", (), {"status_code": 200}), {"Plaintext": b"k" * 32}

    kms.meta.events.register_first("before-call.kms.Decrypt", answer)
    sealing = KmsSealing(lambda: kms, alias, on_key_failure=lambda: failures.append(1))
    with pytest.raises(SecretsUnavailable):
        sealing.unwrap("0a-1", b"wrapped")
    return len(failures), asked


@pytest.mark.parametrize("code", ["DisabledException", "KMSInvalidStateException"])
def test_only_a_key_of_ours_has_a_state_and_it_rings(kms: Any, code: str) -> None:
    assert refused(kms, code)[0] == 1


@pytest.mark.parametrize("code", ["AccessDeniedException", "NotFoundException"])
@pytest.mark.parametrize(
    ("of_our_own", "rings"),
    [
        ("AccessDeniedException", 1),
        ("NotFoundException", 1),
        ("DisabledException", 1),
        ("KMSInvalidStateException", 1),
        ("InvalidCiphertextException", 0),
        ("ThrottlingException", 0),
        (None, 0),
    ],
)
def test_of_any_other_our_own_key_is_asked_whether_it_can_be_used(
    kms: Any, code: str, of_our_own: str | None, rings: int
) -> None:
    count, asked = refused(kms, code, of_our_own)
    assert count == rings
    assert b'"KeyId": "0a-1"' in asked[0]
    assert ALIAS.encode() in asked[1]


@pytest.mark.parametrize(
    "code", ["InvalidCiphertextException", "InvalidKeyUsageException", "ValidationException"]
)
def test_a_wrong_envelope_rings_nothing(kms: Any, code: str) -> None:
    count, asked = refused(kms, code)
    assert (count, len(asked)) == (0, 1)


def test_without_an_alias_no_key_is_ours(kms: Any) -> None:
    assert refused(kms, "AccessDeniedException", alias="")[0] == 0
