"""The recipes of docs/api.md for secrets, run as they stand there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flow.conftest import Cloud

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
SECTION = PAGE.read_text().partition("## Send secrets\n")[2].partition("\n## ")[0]
SECRETS = {"NPM_TOKEN": 'lantern "of" the ü quay', "KEY": "line one of it\nline two of it\n"}


def recipe(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    return str(found)


def run(cloud: Cloud, *command: str, folder: Path, **environment: str) -> Any:
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HEADSTART_URL": cloud.info["httpUrl"], **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def by_python(cloud: Cloud, folder: Path) -> Any:
    script = folder / "recipe.py"
    call = f"print(json.dumps(encrypted_secrets({SECRETS!r}, 'demo')))"
    script.write_text(f"{recipe('python')}\n{call}\n")
    return run(cloud, sys.executable, str(script), folder=folder)


def by_node(cloud: Cloud, folder: Path) -> Any:
    script = folder / "recipe.mjs"
    call = f"encryptedSecrets(process.env.HEADSTART_URL, {json.dumps(SECRETS)}, 'demo')"
    script.write_text(f"{recipe('js')}\nconsole.log(JSON.stringify(await {call}));\n")
    return run(cloud, "node", str(script), folder=folder)


def by_openssl(cloud: Cloud, folder: Path) -> Any:
    file = folder / "secrets.json"
    file.write_text(json.dumps(SECRETS))
    names = json.dumps(list(SECRETS))
    return run(
        cloud, "sh", "-euc", recipe("sh"), folder=folder,
        SECRETS=str(file), NAMES=names, SUB="demo",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "program"), [(by_python, sys.executable), (by_node, "node"), (by_openssl, "openssl")]
)
def test_what_a_recipe_seals_the_sandbox_opens(
    cloud: Cloud, tmp_path: Path, make: Any, program: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here")
    out = tmp_path / "seen"
    session_id = cloud.create(
        encryptedSecrets=make(cloud, tmp_path),
        setupCommands=[f"env -0 > {out}"],
        autoInitiate=False,
    )["sessionId"]
    session = cloud.wait(session_id)
    assert session["status"] == "prepared", session["failure"]
    pairs = (line.partition("=") for line in out.read_text().split("\0"))
    seen = {name: value for name, _, value in pairs}
    assert {name: seen[name] for name in SECRETS} == SECRETS
