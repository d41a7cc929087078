"""An App's key in KMS, imported as docs/deploy.md has it: with openssl, and never in clear."""

import base64
import re
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"

# Says what KMS said, and hands out what it is given with the modes of all that lies around.
_AWS = """
aws() {
  case "$2" in
    get-parameters-for-import) cat "$HERE/parameters" ;;
    import-key-material) cp token.bin material.bin "$HERE"; stat -c "%a %n" . * > "$HERE/modes" ;;
  esac
}
HERE=$PWD KEY=key
umask 022
"""


def _commands() -> str:
    """Return what the page has people type to import a key."""
    found = re.search(
        r"```sh\n(   \(\n.*?get-parameters-for-import.*?\n   \)\n)", _PAGE.read_text(), re.S
    )
    assert found
    return dedent(found[1])


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
    coded = [base64.b64encode(given[name]).decode() for name in ("PublicKey", "ImportToken")]
    (folder / "parameters").write_text("\t".join(coded) + "\n")
    after = '\n[ "$(umask) $PWD" = "0022 $HERE" ]'
    subprocess.run(["bash", "-ec", _AWS + _commands() + after], cwd=folder, check=True, timeout=60)
    kms.import_key_material(
        KeyId=arn,
        ImportToken=(folder / "token.bin").read_bytes(),
        EncryptedKeyMaterial=(folder / "material.bin").read_bytes(),
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    return str(arn)
