"""An App's key in KMS, imported as docs/deploy.md has it: with openssl, and never in clear."""

import re
import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"


def _commands() -> str:
    """Return what the page has people type between the two calls of KMS."""
    found = re.search(r"openssl pkcs8 .*?> material\.bin", _PAGE.read_text(), re.DOTALL)
    assert found
    return found[0]


def import_key(kms: Any, key: rsa.RSAPrivateKey, folder: Path) -> str:
    """Return the ARN of a key of KMS that signs with this one."""
    arn = kms.create_key(Origin="EXTERNAL", KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")[
        "KeyMetadata"
    ]["Arn"]
    given = kms.get_parameters_for_import(
        KeyId=arn, WrappingAlgorithm="RSA_AES_KEY_WRAP_SHA_256", WrappingKeySpec="RSA_4096"
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "app.pem").write_bytes(pem)
    (folder / "wrapping.der").write_bytes(given["PublicKey"])
    subprocess.run(["bash", "-ec", _commands()], cwd=folder, check=True, timeout=60)
    kms.import_key_material(
        KeyId=arn,
        ImportToken=given["ImportToken"],
        EncryptedKeyMaterial=(folder / "material.bin").read_bytes(),
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    return str(arn)
