"""Secrets in a running sandbox: who gets them, what is shown of them, and what is saved."""

import json
import os
import shlex
from pathlib import Path

import pytest
import zstandard
from fake_cloud import FakeCloud, Json
from object_store import ObjectStore
from runner_kit import (
    SESSION_ID,
    Sandbox,
    agent_args,
    agents,
    clone_args,
    environment_of,
    prepare,
    prompt_args,
    setup_args,
    started,
)
from test_runner_restart import Process, runner
from test_runner_vault import sealed
from work_kit import archive_args, done, restore_args, upload_args

from headstart.domain.command_args import AgentArgs, PromptArgs, Sealed
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.config import Config
from headstart_runner.gateway.door import Door
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor
from headstart_runner.vault import Vault

pytestmark = pytest.mark.anyio
__all__ = ["runner"]

TOKEN = "wood-chuck/Lantern+77 quay"
OTHER = "second-lantern-of-the-quay"
PEM = "-----BEGIN THING-----\nHarbourLineOne0815\nHarbourLineTwo4711\n-----END THING-----\n"
WORD = "9f8e7d6c5b4a39281706"
"""One whose parts the demo agent does not make words of."""
WORDS = (WORD, "wood-chuck", "Lantern", "lantern", "HarbourLine", "git-only")


def with_secrets(args: Json, **values: str) -> Json:
    return {**args, "sealed": sealed(values)}


async def test_commands_have_them_as_variables_and_nobody_is_shown_them(
    cloud: FakeCloud, cloned: Sandbox, tmp_path: Path
) -> None:
    out = tmp_path / "seen"
    out.mkdir()
    out.chmod(0o777)
    args = setup_args(
        f"env -0 > {shlex.quote(str(out / 'env'))}",
        'echo "$NPM_TOKEN"; echo "$NPM_TOKEN" | base64; echo "$PEM_KEY" | sed "s/^/   /"; false',
        NPM_TOKEN="of the variables",
        PLAIN="1",
    )
    failed = await cloud.do(
        "setup", with_secrets(args, NPM_TOKEN=TOKEN, PEM_KEY=PEM, GIT_TOKEN="git-only-0815")
    )
    assert failed["status"] == "failed"
    pairs = (pair.partition("=") for pair in (out / "env").read_text().split("\0"))
    seen = {name: value for name, _, value in pairs}
    assert (seen["NPM_TOKEN"], seen["PEM_KEY"], seen["PLAIN"]) == (TOKEN, PEM, "1")
    assert "GIT_TOKEN" not in seen
    assert not [word for word in WORDS if word in cloud.everything()]
    assert "[redacted]" in cloud.everything()


async def test_a_wrong_envelope_fails_a_step_in_words(cloud: FakeCloud, sandbox: Sandbox) -> None:
    args = clone_args(
        "http://127.0.0.1:9/none.git", sealed={**sealed({"A": TOKEN}), "subject": "x"}
    )
    failed = await cloud.do("clone", args)
    assert failed["error"]["code"] == "SecretsUnavailable"
    assert "another user" in failed["error"]["reason"]


async def test_other_secrets_have_the_commands_run_again(cloud: FakeCloud, cloned: Sandbox) -> None:
    first = with_secrets(setup_args("true"), A=TOKEN)
    again, other = setup_args("true") | {"sealed": first["sealed"]}, setup_args("true")
    skipped = []
    for number, args in enumerate((first, again, with_secrets(other, A=TOKEN), other), start=1):
        result = await cloud.do("setup", args, name=f"1.setup.{number}")
        skipped.append(result["output"]["commands"][0]["skipped"])
    assert skipped == [False, True, False, False]


async def test_a_line_with_a_secret_in_it_is_not_handed_on(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    hand_on = 'env >> "$HEADSTART_ENV"; echo "AUTH=Bearer $NPM_TOKEN" >> "$HEADSTART_ENV"'
    args = setup_args(
        f'{hand_on}; echo "FINE=1" >> "$HEADSTART_ENV"', "echo fine:$FINE auth:$AUTH."
    )
    await done(cloud, "setup", with_secrets(args, NPM_TOKEN=TOKEN, PEM_KEY=PEM))
    shown = "".join(event["output"] or "" for event in cloud.of("progress"))
    assert "fine:1 auth:." in shown
    assert "is not handed on by HEADSTART_ENV" in shown
    files = [file.read_text() for file in (cloned.config.home / ".headstart/setup").iterdir()]
    assert not [word for word in WORDS if any(word in text for text in files)]
    assert any("FINE=1" in text for text in files)


async def test_what_is_handed_on_beyond_all_measure_is_cut_off(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    long = 'head -c 70000 /dev/zero | tr "\\0" x >> "$HEADSTART_ENV"; echo >> "$HEADSTART_ENV"'
    args = setup_args(f'{long}; echo "AUTH=$NPM_TOKEN" >> "$HEADSTART_ENV"')
    await done(cloud, "setup", with_secrets(args, NPM_TOKEN=TOKEN))
    [file] = (cloned.config.home / ".headstart/setup").glob("env-*")
    assert file.stat().st_size <= 65_536
    assert TOKEN not in file.read_text()


def in_archive(file: Path) -> bytes:
    """Return all that is in a tar that was compressed, as one text."""
    with zstandard.open(file, "rb") as content:
        text: bytes = content.read()
    return text


async def test_a_base_that_is_made_after_the_setup_has_none_of_them(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore
) -> None:
    await done(cloud, "clone", with_secrets(clone_args(sample), NPM_TOKEN=TOKEN))
    await done(cloud, "restore", restore_args())
    args = setup_args('env >> "$HEADSTART_ENV"; echo kept > kept') | {"baseAfterMs": 0}
    made = await done(cloud, "setup", with_secrets(args, NPM_TOKEN=TOKEN))
    content = in_archive(next((sandbox.config.state_dir / "archives").glob("*.base")))
    assert b"kept" in content
    assert not [word for word in WORDS if word.encode() in content]
    assert made["output"]["base"]


async def test_the_agent_has_them_as_variables(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample)
    args = agent_args(NPM_TOKEN="of the variables")
    args = with_secrets(args, NPM_TOKEN=TOKEN, GIT_TOKEN="git-only-0815")
    await done(cloud, "agent", args, name="1.agent.2")
    [pid] = agents()
    variables = environment_of(pid)
    assert variables["NPM_TOKEN"] == TOKEN
    assert "GIT_TOKEN" not in variables
    assert not [word for word in WORDS if word in cloud.everything()]


def program(folder: Path, text: str) -> str:
    """Make a program of the name opencode; return the PATH that finds it first."""
    folder.mkdir()
    file = folder / "opencode"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


async def test_settings_that_name_a_secret_have_it_in_the_agents_configuration_alone(
    cloud: FakeCloud, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    path = program(tmp_path / "bin", f"env -0 > {out}/env; echo no such luck; exit 1")
    async with started(cloud, tmp_path / "box", path=path) as box:
        box.make_repository()
        servers = {"wiki": {"headers": {"Authorization": "Bearer {secret:WIKI}"}, "enabled": True}}
        args = agent_args() | {"agent": "opencode", "mcpServers": servers}
        failed = await cloud.do("agent", with_secrets(args, WIKI=WORD))
        state = b"".join(f.read_bytes() for f in box.config.state_dir.rglob("*") if f.is_file())
    assert failed["error"]["code"] == "AgentStartFailed"
    pairs = (pair.partition("=") for pair in (out / "env").read_text().split("\0"))
    variables = {name: value for name, _, value in pairs}
    content = json.loads(variables["OPENCODE_CONFIG_CONTENT"])
    assert content["mcp"]["wiki"]["headers"]["Authorization"] == f"Bearer {WORD}"
    assert WORD not in cloud.everything()
    assert WORD.encode() not in state


async def test_a_message_has_the_system_prompt_with_the_secrets_that_it_names(
    tmp_path: Path,
) -> None:
    journal, vault, redactor = Journal(tmp_path), Vault(), Redactor()
    config = Config.model_construct(home=tmp_path, path="")
    launcher = Launcher(uid=None, home=tmp_path, path="")
    supervisor = Supervisor(config, journal, redactor, launcher, vault=vault, door=Door())
    args = agent_args() | {"agent": "opencode", "appendSystemPrompt": "Say {secret:WIKI} twice"}
    journal.put("agent", AgentArgs.model_validate(args).model_dump_json())
    vault.open(Sealed.model_validate(sealed({"WIKI": WORD})), redactor)
    body = supervisor.prompt_body(PromptArgs.model_validate(prompt_args()), "msg_a")
    journal.close()
    assert body["system"] == f"Say {WORD} twice"


async def test_an_agents_settings_that_name_no_secret_fail_its_step_in_words(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample)
    args = agent_args() | {"appendSystemPrompt": "{secret:WIKI}"}
    failed = await cloud.do("agent", with_secrets(args, NPM_TOKEN=TOKEN), name="1.agent.2")
    assert failed["error"]["code"] == "SecretsUnavailable"
    assert "{secret:WIKI}" in failed["error"]["reason"]


async def test_new_secrets_start_the_agent_anew_and_without_any_it_has_none(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample)
    seen = []
    for number, values in enumerate(({"A": TOKEN}, {"A": OTHER}, {}), start=2):
        args = with_secrets(agent_args(), **values) if values else agent_args()
        await done(cloud, "agent", args, name=f"1.agent.{number}")
        [pid] = agents()
        seen.append(environment_of(pid).get("A"))
    assert seen == [TOKEN, OTHER, None]


async def test_what_the_agent_told_of_a_secret_is_saved_without_it(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore
) -> None:
    await done(cloud, "clone", with_secrets(clone_args(sample), A=WORD))
    await done(cloud, "branch", {"branch": f"session/{SESSION_ID}"})
    await done(cloud, "restore", restore_args())
    await done(cloud, "agent", with_secrets(agent_args(), A=WORD))
    await done(cloud, "prompt", prompt_args(text=f"Is it {WORD}?"), name="msg_1.prompt.1")
    await cloud.turn_ended("trn_1")
    made = await done(cloud, "archive", archive_args(), name="1.archive")
    await done(cloud, "upload", upload_args(store, made), name="1.upload")
    saved = json.loads((sandbox.config.state_dir / "session.json").read_text())
    text = json.dumps(saved, ensure_ascii=False)
    assert "Is it [redacted]?" in text
    assert not [word for word in WORDS if word in text]
    assert saved["info"]["id"] == SESSION_ID


async def test_a_runner_that_was_killed_has_them_again_before_any_command_brings_them(
    cloud: FakeCloud, runner: Process, sample: str
) -> None:
    await done(cloud, "clone", with_secrets(clone_args(sample), A=WORD))
    await done(cloud, "restore", restore_args())
    await done(cloud, "agent", with_secrets(agent_args(), A=WORD))
    connection = await cloud.connected()
    await runner.kill()
    state = b"".join(file.read_bytes() for file in runner.state.rglob("*") if file.is_file())
    assert WORD.encode() not in state
    runner.start()
    await cloud.connected_anew(connection)
    await done(cloud, "prompt", prompt_args(text=f"Is it {WORD}?"), name="msg_1.prompt.1")
    await cloud.turn_ended("trn_1")
    assert not [word for word in WORDS if word in cloud.everything()]
    assert not [word for word in WORDS if word in runner.log.read_text()]
    [pid] = agents()
    assert environment_of(pid)["A"] == WORD
