"""Keys that a deployment signs with, imported into the emulator's KMS before it is made."""

import os
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_private_key,
)


class BadKeyError(ValueError):
    """A file holds no RSA private key of 2048 bits in PEM."""


def read_key(pem: bytes) -> bytes:
    """Return a private key as KMS takes it, from its PEM; raises BadKeyError."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise BadKeyError("is no private key in PEM") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != 2048:
        raise BadKeyError("is no RSA key of 2048 bits, as GitHub makes them for Apps")
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def import_key(kms: Any, key: bytes) -> str:
    """Return the ARN of a new key of KMS that signs with this one.

    Wrapped for the way as "Importing key material" has it (AWS KMS Developer Guide).
    """
    arn = kms.create_key(Origin="EXTERNAL", KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")[
        "KeyMetadata"
    ]["Arn"]
    given = kms.get_parameters_for_import(
        KeyId=arn, WrappingAlgorithm="RSA_AES_KEY_WRAP_SHA_256", WrappingKeySpec="RSA_4096"
    )
    wrapping = load_der_public_key(given["PublicKey"])
    if not isinstance(wrapping, rsa.RSAPublicKey):
        raise TypeError("KMS wraps with RSA")
    once, sha = os.urandom(32), hashes.SHA256()
    oaep = padding.OAEP(mgf=padding.MGF1(sha), algorithm=sha, label=None)
    kms.import_key_material(
        KeyId=arn,
        ImportToken=given["ImportToken"],
        EncryptedKeyMaterial=wrapping.encrypt(once, oaep) + aes_key_wrap_with_padding(once, key),
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    return str(arn)
