"""Secrets in setup commands and in what these print: nothing of them leaves."""

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, setup_args

pytestmark = pytest.mark.anyio


async def test_secrets_never_leave_however_the_output_is_cut(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    secret = "s3cr3t-v4lue+/with%signs"
    command = (
        'for i in $(seq 0 7); do printf "%s" "${TOKEN:$((i*3)):3}"; sleep 0.03; done; echo;'
        ' echo "$TOKEN" | base64; echo "$TOKEN" >&2; exit 4'
    )
    failed = await cloud.do("setup", setup_args(command, TOKEN=secret, MODE="production"))

    assert failed["status"] == "failed"
    everything = cloud.everything()
    assert secret not in everything
    assert "czNjcjN0LXY0bHVlKy93aXRoJXNpZ25z"[:30] not in everything
    assert "[redacted]" in "".join(piece["text"] for piece in cloud.of("output"))
    shown = "".join(event["output"] or "" for event in cloud.of("progress"))
    assert "s3cr3t" not in shown
    assert "[redacted]" in failed["error"]["reason"]


async def test_a_failed_commands_reason_and_logs_name_nobody_of_a_url(
    cloud: FakeCloud, cloned: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    index = "https://ci:inline-secret@pypi.example.com/simple"
    fine = await cloud.do("setup", setup_args(f"true {index}"))
    said = f"echo trying http://ci:inl@ine-secret@pypi.example.com; false {index}"
    failed = await cloud.do("setup", setup_args(said), name="1.setup.2")

    assert fine["output"]["commands"][0]["command"] == "true https://pypi.example.com/simple"
    shown = "`echo trying http://pypi.example.com; false https://pypi.example.com/simple` exited"
    last = "with status 1: trying http://pypi.example.com"
    assert failed["error"]["reason"] == f"{shown} {last}"
    messages = [event["message"] for event in cloud.of("progress")]
    assert not any("ci:" in message for message in messages)
    assert "secret" not in capsys.readouterr().err


async def test_what_a_command_spells_out_is_shown_nowhere(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    secrets = ("ghp_abcdefghij0123456789", "correct-horse")
    said = f"echo {secrets[0]}; API_TOKEN={secrets[1]} env | grep TOKEN"
    fine = await cloud.do("setup", setup_args(said))
    failed = await cloud.do("setup", setup_args(f"{said}; false"), name="1.setup.2")
    slow = setup_args(f"{said}; sleep 60", command_timeout=1)
    stopped = await cloud.do("setup", slow, name="1.setup.3")

    assert "echo [redacted]; API_TOKEN=[redacted]" in fine["output"]["commands"][0]["command"]
    for result in (failed, stopped):
        assert "API_TOKEN=[redacted]" in result["error"]["reason"]
    assert any("API_TOKEN=[redacted]" in event["message"] for event in cloud.of("progress"))
    assert not any(secret in cloud.everything() for secret in secrets)


async def test_a_secret_with_colours_in_it_does_not_leave(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    command = r"""printf 'token=%s\n' "$API_TOKEN" > file; grep --color=always ter2 file"""
    await cloud.do("setup", setup_args(command, API_TOKEN="hunter2hunter2"))

    assert "token=" in cloud.everything()
    assert "hun" not in cloud.everything()


async def test_the_address_in_a_command_is_cut_only_when_it_names_nobody(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    for number, length in enumerate(range(440, 500, 6)):
        command = f": {'é' * (length // 2)} https://ci:{'p' * 40}@host; false"
        failed = await cloud.do("setup", setup_args(command), name=f"1.setup.{number}")
        assert "ppp" not in failed["error"]["reason"]


async def test_a_long_reason_is_cut_only_when_its_secrets_are_gone(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    token = "hunter2" * 4
    url = f"https://ci:{'p' * 40}@pypi.example.com"
    for number, length in enumerate(range(930, 1000, 6)):
        args = setup_args(f": {'x' * length} {token} {url}; false", API_TOKEN=token)
        failed = await cloud.do("setup", args, name=f"1.setup.{number}")
        assert "hunter" not in failed["error"]["reason"]
        assert "pppp" not in failed["error"]["reason"]


async def test_a_secret_that_a_command_hands_on_is_shown_nowhere_from_then_on(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    make = """printf 'API_TOKEN=%s-%s\\n' correct horse-battery >> "$HEADSTART_ENV" """
    await cloud.do("setup", setup_args(make, "echo it is $API_TOKEN; false"))

    assert "it is [redacted]" in cloud.everything()
    assert "correct-horse-battery" not in cloud.everything()
