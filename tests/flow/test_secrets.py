"""Secrets, from the caller's machine to the commands and the agent, and nowhere else."""

from pathlib import Path
from typing import Any

from headstart_client.client import Headstart
from headstart_client.sealing import seal
from tests.flow.conftest import Cloud

TOKEN = "wood-chuck/Lantern+77 quay"
PEM = "-----BEGIN THING-----\n" + "\n".join(f"line{n}Harbour{n * 7919:x}" for n in range(9))
NAMES = {"NPM_TOKEN": TOKEN, "DEPLOY_KEY": PEM, "GIT_TOKEN": "git-only-Secret-0815"}


def sealed(cloud: Cloud, secrets: dict[str, str], **changes: Any) -> dict[str, Any]:
    key = cloud.client().get("/encryption-key").json()
    return seal(secrets, key, cloud.info["token"]) | changes


def create(cloud: Cloud, secrets: dict[str, str], **body: Any) -> str:
    with Headstart(cloud.info["httpUrl"], cloud.info["token"]) as client:
        body = {"git_url": cloud.info["gitUrl"], "auto_initiate": False, **body}
        made = client.create_session("What is in here?", secrets=secrets, **body)
    cloud.created.append(("demo", made.session_id))
    return made.session_id


def test_a_secret_reaches_commands_and_agent(cloud: Cloud, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    session_id = create(
        cloud,
        NAMES,
        env_vars={"NPM_TOKEN": "the secret counts"},
        setup_commands=[f"env -0 > {out}", "echo it is $NPM_TOKEN"],
    )
    session = cloud.wait(session_id)
    assert session["status"] == "prepared", session["failure"]
    assert session["counts"]["encryptedSecrets"] == 3
    pairs = (line.partition("=") for line in out.read_text().split("\0"))
    seen = {name: value for name, _, value in pairs}
    assert (seen["NPM_TOKEN"], seen["DEPLOY_KEY"]) == (TOKEN, PEM)
    assert "GIT_TOKEN" not in seen
