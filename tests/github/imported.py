"""An App's key in KMS, imported as docs/deploy.md has it: with openssl, and never in clear."""

import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_COMMANDS = """
openssl pkcs8 -topk8 -nocrypt -outform DER -in app.pem -out app.der
openssl rand -out aes.bin 32
openssl enc -id-aes256-wrap-pad -K "$(od -An -tx1 -v aes.bin | tr -d ' \\n')" -iv A65959A6 \
  -in app.der -out app.wrapped
openssl pkeyutl -encrypt -pubin -keyform DER -inkey wrapping.der -in aes.bin -out aes.wrapped \
  -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256
cat aes.wrapped app.wrapped > material.bin
"""


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
    subprocess.run(["bash", "-ec", _COMMANDS], cwd=folder, check=True, timeout=60)
    kms.import_key_material(
        KeyId=arn,
        ImportToken=given["ImportToken"],
        EncryptedKeyMaterial=(folder / "material.bin").read_bytes(),
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    return str(arn)
