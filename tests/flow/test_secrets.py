"""Secrets, from the caller's machine to the commands and the agent, and nowhere else."""

import base64
import json
import re
import shlex
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from headstart_client.client import Headstart
from headstart_client.models import EncryptionKey
from headstart_client.sealing import seal
from tests.flow.conftest import PATIENCE, Cloud
from tests.flow.test_callbacks import typed
from tests.flow.traces import executions, logs, objects, rows

TOKEN = "9f8e7d6c5b4a+39/281706"
PEM = "-----BEGIN THING-----\nHarbourLineOne0815\nHarbourLineTwo4711\n-----END THING-----\n"
FOR_GIT = "git-only-Secret-0815"
SECRETS = {"NPM_TOKEN": TOKEN, "DEPLOY_KEY": PEM, "GIT_TOKEN": FOR_GIT}


def client(cloud: Cloud, sub: str = "demo") -> Headstart:
    token = cloud.client(sub).headers["authorization"].removeprefix("Bearer ")
    return Headstart(cloud.info["httpUrl"], token)


def create(cloud: Cloud, secrets: dict[str, str], **options: Any) -> str:
    options = {"git_url": cloud.info["gitUrl"], "auto_initiate": False, **options}
    with client(cloud) as headstart:
        made = headstart.create_session("What is in here?", secrets=secrets, **options)
    cloud.created.append(("demo", made.session_id))
    return made.session_id


def environment_in(file: Path) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in file.read_text().split("\0"))
    return {name: value for name, _, value in pairs}


def agent_environments(name: str) -> list[dict[str, str]]:
    """Return the environments of the agents that have a variable."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if b"headstart_demo_agent" in (folder / "cmdline").read_bytes():
                pairs = environment_in(folder / "environ")
                found += [pairs] if name in pairs else []
    return found


def failed(cloud: Cloud, session_id: str) -> dict[str, Any]:
    """Return a session that failed because its secrets can't be opened."""
    session = cloud.wait(session_id)
    failure: dict[str, Any] = session["failure"]
    assert (failure["step"], failure["code"]) == ("clone", "SecretsUnavailable")
    assert failure["retryable"] is True
    return failure


def test_a_secret_reaches_commands_and_agent(cloud: Cloud, tmp_path: Path) -> None:
    out, mark = tmp_path / "seen", f"MARK_{tmp_path.name.upper()}"
    session_id = create(
        cloud,
        {**SECRETS, mark: TOKEN},
        env_vars={"NPM_TOKEN": "the secret counts"},
        setup_commands=[f"env -0 > {shlex.quote(str(out))}"],
    )
    session = cloud.wait(session_id)
    assert session["status"] == "prepared", session["failure"]
    assert session["counts"]["encryptedSecrets"] == 4
    [agent] = agent_environments(mark)
    for seen in (environment_in(out), agent):
        assert (seen["NPM_TOKEN"], seen["DEPLOY_KEY"]) == (TOKEN, PEM)
        assert FOR_GIT not in seen.values()


def test_what_was_sealed_for_somebody_else_or_changed_is_not_opened(cloud: Cloud) -> None:
    key = EncryptionKey.model_validate(cloud.client().get("/encryption-key").json())
    mine, theirs = (
        cloud.client(sub).headers["authorization"].removeprefix("Bearer ")
        for sub in ("demo", "eve")
    )
    of_eve = seal(SECRETS, key, theirs)
    created = cloud.create(encryptedSecrets=of_eve)
    assert "another user" in failed(cloud, created["sessionId"])["reason"]

    wrong = seal(SECRETS, key, mine)
    wrong["envelope"]["key"] = base64.b64encode(b"\1" * 512).decode()
    created = cloud.create(encryptedSecrets=wrong)
    reason = failed(cloud, created["sessionId"])["reason"]
    assert "not encrypted with the key that they name" in reason

    lost = seal(
        SECRETS, key.model_copy(update={"key_id": "00000000-0000-0000-0000-000000000000"}), mine
    )
    created = cloud.create(encryptedSecrets=lost)
    assert "not there" in failed(cloud, created["sessionId"])["reason"]


def test_a_retry_with_others_goes_on(cloud: Cloud, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    key = EncryptionKey.model_validate(cloud.client().get("/encryption-key").json())
    spoilt = seal(
        {"NPM_TOKEN": TOKEN}, key.model_copy(update={"key_id": "0-0"}), cloud.info["token"]
    )
    session_id = cloud.create(
        encryptedSecrets=spoilt,
        setupCommands=[f"env -0 > {shlex.quote(str(out))}"],
        autoInitiate=False,
    )["sessionId"]
    failed(cloud, session_id)
    with client(cloud) as headstart:
        headstart.retry(session_id, 1, secrets={"NPM_TOKEN": "the second one of them"})
    session = cloud.wait(session_id)
    assert session["status"] == "prepared", session["failure"]
    assert environment_in(out)["NPM_TOKEN"] == "the second one of them"


def test_sixty_four_kilobytes_of_secrets_arrive_whole(cloud: Cloud, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    many = {f"SECRET_{n:02}": f"{n:04}" + 'ü"\\x' * 180 for n in range(50)}
    many["REST"] = "r" * (65_536 - 4 - sum(len(f"{k}{v}".encode()) for k, v in many.items()))
    del many["SECRET_49"]
    session_id = create(cloud, many, setup_commands=[f"env -0 > {shlex.quote(str(out))}"])
    session = cloud.wait(session_id)
    assert session["status"] == "prepared", session["failure"]
    seen = environment_in(out)
    assert {name: seen[name] for name in many} == many


@pytest.mark.long
def test_another_key_takes_its_place_and_the_one_before_is_good_while_it_is_there(
    cloud: Cloud,
) -> None:
    """The steps of docs/deploy.md; the emulator checks no rights."""
    kms = cloud.aws("kms")
    [alias] = [
        one for one in kms.list_aliases()["Aliases"] if one["AliasName"].endswith("/secrets")
    ]
    before = EncryptionKey.model_validate(cloud.client().get("/encryption-key").json())
    assert before.key_id == alias["TargetKeyId"]
    made = kms.create_key(KeySpec="RSA_4096", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"{alias['AliasName']}-2026", TargetKeyId=before.key_id)
    kms.update_alias(AliasName=alias["AliasName"], TargetKeyId=made)
    try:
        public = base64.b64encode(kms.get_public_key(KeyId=made)["PublicKey"]).decode()
        key = EncryptionKey(key_id=made, algorithm=before.algorithm, public_key=public)
        for used in (before, key):
            sealed = seal({"NPM_TOKEN": TOKEN}, used, cloud.info["token"])
            created = cloud.create(encryptedSecrets=sealed, autoInitiate=False)
            session = cloud.wait(created["sessionId"])
            assert session["status"] == "prepared", session["failure"]
        kms.disable_key(KeyId=before.key_id)
        sealed = seal({"NPM_TOKEN": TOKEN}, before, cloud.info["token"])
        created = cloud.create(encryptedSecrets=sealed)
        assert "disabled" in failed(cloud, created["sessionId"])["reason"]
    finally:
        kms.enable_key(KeyId=before.key_id)
        kms.update_alias(AliasName=alias["AliasName"], TargetKeyId=before.key_id)


_PRINTED = r"```sh\n(.*?)```"
PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("aws"), reason="the AWS CLI is not on PATH")
def test_keys_are_rotated_and_taken_away_as_the_page_says(cloud: Cloud) -> None:
    printed = [
        code.replace("/headstart-dev/", "/other/") for code in re.findall(_PRINTED, PAGE, re.S)
    ]
    rotate, remove = (one for one in printed if one.startswith(("ALIAS=", "# after sam delete")))
    kms = cloud.aws("kms")
    first = kms.create_key(KeySpec="RSA_4096", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/other/secrets", TargetKeyId=first)
    assert "\nsleep 300" in rotate

    def known() -> dict[str, str]:
        return {
            one["AliasName"]: one["TargetKeyId"]
            for one in kms.list_aliases()["Aliases"]
            if one["AliasName"].startswith("alias/other/")
        }

    # Twice on one day, some minutes apart.
    for minute in ("1201", "1202"):
        clock = f"date() {{ command date -d '2026-11-26 {minute}' \"$@\"; }}; sleep() {{ :; }}\n"
        typed(cloud, clock + rotate)
    aliases = known()
    assert len(aliases) == 5
    assert aliases["alias/other/secrets"] == aliases["alias/other/secrets-2026-11-26T1202"]
    assert aliases["alias/other/secrets-2026-11-26T1201-old"] == first

    # The stack takes its alias and its first key along.
    kms.delete_alias(AliasName="alias/other/secrets")
    kms.schedule_key_deletion(KeyId=first)
    typed(cloud, remove)
    assert known() == {}
    for key in set(aliases.values()):
        assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"


# Where a value could be.

SOUGHT = [TOKEN, base64.b64encode(TOKEN.encode()).decode(), quote(TOKEN, safe=""),
          "HarbourLineOne0815", "HarbourLineTwo4711", FOR_GIT]  # fmt: skip


def test_no_value_is_in_rows_objects_executions_logs_or_frames(cloud: Cloud) -> None:
    noisy = (
        'echo "$NPM_TOKEN"; echo "$DEPLOY_KEY"; echo "$NPM_TOKEN" | base64; '
        'env >> "$HEADSTART_ENV"; echo "{\\"$NPM_TOKEN\\": 1}"'
    )
    shown = []
    for command in (noisy, f'{noisy}; echo "$NPM_TOKEN"; false'):
        session_id = create(cloud, SECRETS, setup_commands=[command], auto_initiate=False)
        with cloud.watch(session_id) as viewer:
            viewer.until_type("session.prepared", "session.failed")
            if command == noisy:
                path = f"/sessions/{session_id}"
                cloud.client().post(f"{path}/initiate")
                viewer.until_type("turn.completed")
                _saved(cloud, session_id)
                kept = objects(cloud, session_id)
                assert b"session" in kept
                shown.append(kept.decode(errors="replace"))
            shown.append(json.dumps(viewer.frames, ensure_ascii=False))
        shown += [executions(cloud, session_id), logs(cloud, session_id), rows(cloud)]
        shown.append(json.dumps([cloud.get(session_id), cloud.events(session_id)]))
        assert any("[redacted]" in part for part in shown)
    shown.append(cloud.log.read_text())
    # What the functions print of these sessions is there; not each function prints something.
    assert '"SetupCommandFailed","step":"setup"' in shown[-1]
    assert {text for text in SOUGHT for part in shown if text in part} == set()


def _saved(cloud: Cloud, session_id: str) -> None:
    end = time.monotonic() + PATIENCE
    path = f"/sessions/{session_id}/archive"
    while cloud.client().get(path).status_code == 404:
        assert time.monotonic() < end, "the work was never saved"


def test_too_short_a_secret_is_refused_in_words(cloud: Cloud) -> None:
    assert "A has fewer than 8 bytes" in failed(cloud, create(cloud, {"A": " 1234567 "}))["reason"]
