"""KMS: a key that was imported once and signs ever after, which is what a GitHub App's is."""

from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from headstart_local.signing_keys import BadKeyError, read_key
from tests.conformance.conftest import Probe
from tests.github import app_key
from tests.github.imported import import_key

ALGORITHM = "RSASSA_PKCS1_V1_5_SHA_256"


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def test_an_imported_key_signs_as_itself(probe: Probe, tmp_path: Path) -> None:
    kms, key = probe.cloud.client("kms"), app_key()
    arn = import_key(kms, key, tmp_path)
    # What is in clear on the way was nobody else's to read, and is gone.
    modes = dict(reversed(line.split()) for line in (tmp_path / "modes").read_text().splitlines())
    assert {"app.der", "aes.bin", "."} <= set(modes)
    assert set(modes.values()) == {"600", "700"}
    assert {file.name for file in tmp_path.iterdir()} == {
        "material.bin", "modes", "parameters", "token.bin",
    }  # fmt: skip
    told = kms.describe_key(KeyId=arn)["KeyMetadata"]
    assert (told["Origin"], told["KeyUsage"], told["KeySpec"], told["KeyState"]) == (
        "EXTERNAL", "SIGN_VERIFY", "RSA_2048", "Enabled",
    )  # fmt: skip
    message = b"x" * 4096
    signed = kms.sign(KeyId=arn, Message=message, MessageType="RAW", SigningAlgorithm=ALGORITHM)
    assert (signed["KeyId"], signed["SigningAlgorithm"]) == (arn, ALGORITHM)
    # Raises unless it is PKCS #1 v1.5 of the message's own hash (API reference: Sign).
    key.public_key().verify(signed["Signature"], message, padding.PKCS1v15(), hashes.SHA256())


def test_what_does_not_sign_says_so(probe: Probe) -> None:
    kms = probe.cloud.client("kms")
    empty = kms.create_key(Origin="EXTERNAL", KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    arn = empty["KeyMetadata"]["Arn"]
    asked = {"Message": b"x", "MessageType": "RAW", "SigningAlgorithm": ALGORITHM}
    for key_id, code in ((arn, "KMSInvalidStateException"), (f"{arn}0", "NotFoundException")):
        with pytest.raises(ClientError) as refused:
            kms.sign(KeyId=key_id, **asked)
        assert refused.value.response["Error"]["Code"] == code
    made = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    kms.disable_key(KeyId=made)
    with pytest.raises(ClientError) as refused:
        kms.sign(KeyId=made, **asked)
    assert refused.value.response["Error"]["Code"] == "DisabledException"


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (b"", "no private key"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "2048"),
        (pem_of(rsa.generate_private_key(65537, 4096)), "2048"),
        (pem_of(app_key()).replace(b"PRIVATE", b"PUBLIC"), "no private key"),
    ],
)
def test_what_is_no_apps_key_is_refused_before_anything_starts(pem: bytes, words: str) -> None:
    with pytest.raises(BadKeyError, match=words):
        read_key(pem)
