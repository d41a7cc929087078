"""Secrets in the sandbox: opened if they are what they say they are, and for whom they are."""

import base64
import json
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st

from headstart.domain.command_args import Sealed
from headstart.domain.errors import SecretsUnavailable
from headstart_runner.redaction import REDACTED, Redactor
from headstart_runner.vault import Vault

VALUE = "correct-horse-battery"
NAMES = st.text("AB_", min_size=1, max_size=9)
VALUES = st.text('aü\n😀"\\ z', min_size=8).filter(lambda text: len(text.strip().encode()) >= 8)


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sealed(
    content: Any, *, subject: str = "alice", enc: str = "A256GCM", names: list[str] | None = None
) -> dict[str, Any]:
    """Seal as a client does, by the algorithms' own definitions."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    by = {"A256GCM": gcm, "A256CBC-HS512": cbc}[enc]
    key, iv, ciphertext = by(text, subject.encode())
    return {
        "names": list(content) if names is None else names,
        "enc": enc,
        "key": coded(key),
        "iv": coded(iv),
        "ciphertext": coded(ciphertext),
        "subject": subject,
    }


def gcm(text: bytes, subject: bytes) -> tuple[bytes, bytes, bytes]:
    key, iv = os.urandom(32), os.urandom(12)
    return key, iv, AESGCM(key).encrypt(iv, text, subject)


def cbc(text: bytes, subject: bytes) -> tuple[bytes, bytes, bytes]:
    key, iv = os.urandom(64), os.urandom(16)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(text) + padder.finalize()
    encryptor = Cipher(algorithms.AES256(key[32:]), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    mac = HMAC(key[:32], hashes.SHA512())
    mac.update(subject + iv + ciphertext + (len(subject) * 8).to_bytes(8, "big"))
    return key, iv, ciphertext + mac.finalize()[:32]


def opened(frame: dict[str, Any]) -> Vault:
    vault = Vault()
    vault.open(Sealed.model_validate(frame), Redactor())
    return vault


@pytest.mark.parametrize("enc", ["A256GCM", "A256CBC-HS512"])
@given(values=st.dictionaries(NAMES, VALUES, min_size=1))
def test_what_was_sealed_is_what_is_opened(enc: str, values: dict[str, str]) -> None:
    assert opened(sealed(values, enc=enc)).values == values


def test_the_algorithm_of_rfc_7518_opens_that_standards_own_example() -> None:
    """A256CBC-HS512, appendix B.3: the example's text is no JSON, so its error says so."""
    key = bytes(range(64))
    iv = bytes.fromhex("1af38c2dc2b96ffdd86694092341bc04")
    subject = "The second principle of Auguste Kerckhoffs"
    ciphertext = bytes.fromhex(
        "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e92"
        "79c2e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c7"
        "3f09b3a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d"
        "0703b1f64dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5"
    )
    frame = {"names": ["A"], "enc": "A256CBC-HS512", "key": coded(key), "iv": coded(iv),
             "ciphertext": coded(ciphertext), "subject": subject}  # fmt: skip
    with pytest.raises(SecretsUnavailable, match="no JSON object"):
        opened(frame)


def changed(frame: dict[str, Any], name: str, at: int) -> dict[str, Any]:
    data = bytearray(base64.b64decode(frame[name]))
    data[at] ^= 1
    return {**frame, name: coded(bytes(data))}


@pytest.mark.parametrize("enc", ["A256GCM", "A256CBC-HS512"])
@pytest.mark.parametrize(
    "spoilt",
    [
        lambda frame: {**frame, "subject": "mallory"},
        lambda frame: changed(frame, "ciphertext", 0),
        lambda frame: changed(frame, "ciphertext", -1),
        lambda frame: changed(frame, "iv", 0),
        lambda frame: changed(frame, "key", 0),
        lambda frame: changed(frame, "key", -1),
        lambda frame: {**frame, "key": coded(b"k" * 16)},
        lambda frame: {**frame, "key": coded(b"k" * 32)},
        lambda frame: {**frame, "ciphertext": coded(b"x" * 16)},
        lambda frame: {**frame, "ciphertext": ""},
        lambda frame: {**frame, "iv": ""},
    ],
)
def test_what_was_changed_or_is_another_users_is_not_opened(enc: str, spoilt: Any) -> None:
    with pytest.raises(SecretsUnavailable, match="can't be opened") as refused:
        opened(spoilt(sealed({"A": VALUE}, enc=enc)))
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'["correct-horse-battery"]', "no JSON object"),
        (b'{"A": "correct-horse-battery', "no JSON object"),
        (b"[" * 50_000, "no JSON object"),
        (b"\xff\xfe", "no JSON object"),
        ({"A": 12345678901234}, "names and strings"),
        ({"A": VALUE, "B": VALUE}, "not those in their envelope"),
        ({"B": VALUE}, "not those in their envelope"),
        ({}, "not those in their envelope"),
        ({"A": "1234567"}, "A has fewer than 8 bytes"),
        ({"A": "   1234567    "}, "A has fewer than 8 bytes"),
        ({"A": "correct\0horse"}, "A has a NUL"),
        (b'{"A": "correct-horse\\ud800"}', "not valid Unicode"),
        ({"A": "x" * 65_536}, "more than 65536 bytes"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words_that_quote_nothing(
    content: Any, said: str
) -> None:
    with pytest.raises(SecretsUnavailable, match=said) as refused:
        opened(sealed(content, names=["A"]))
    assert "correct" not in refused.value.reason
    assert "1234567" not in refused.value.reason


def test_sixty_four_kilobytes_together_are_opened() -> None:
    values = {"A": "x" * 32_000, "B": "y" * (65_536 - 32_002)}
    assert opened(sealed(values)).values == values


def test_the_redactor_knows_them_before_anybody_has_them() -> None:
    vault, redactor = Vault(), Redactor()
    vault.open(Sealed.model_validate(sealed({"A": VALUE})), redactor)
    assert redactor.text(f"it is {VALUE}") == f"it is {REDACTED}"


def test_others_take_their_place_and_bad_ones_leave_them() -> None:
    vault, redactor = Vault(), Redactor()
    vault.open(Sealed.model_validate(sealed({"A": VALUE, "C": VALUE})), redactor)
    with pytest.raises(SecretsUnavailable):
        vault.open(Sealed.model_validate(sealed({"A": "short"})), redactor)
    assert vault.get("A") == VALUE
    vault.open(Sealed.model_validate(sealed({"B": VALUE})), redactor)
    assert (vault.get("A"), vault.values) == (None, {"B": VALUE})
    vault.open(None, redactor)
    assert not vault.values


def test_what_opens_the_git_host_is_given_to_nothing_else() -> None:
    vault = opened(sealed({"GIT_TOKEN": VALUE, "GIT_USERNAME": VALUE, "A": VALUE}))
    assert vault.variables == {"A": VALUE}
    assert vault.get("GIT_TOKEN") == VALUE
    with pytest.raises(SecretsUnavailable, match="GIT_TOKEN"):
        vault.filled({"x": "{secret:GIT_TOKEN}"})
