"""The logs of steps: all that was printed, whatever became of the step."""

from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from runner_kit import (
    BRANCH,
    Repositories,
    Sandbox,
    agent_args,
    clone_args,
    prepare,
    setup_args,
)
from test_runner_restart import Process
from text_kit import log_of, texts_of

pytestmark = pytest.mark.anyio


async def test_the_log_of_a_setup_has_all_that_its_commands_print(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    done = await cloud.do("setup", setup_args("echo one; echo two >&2", "printf three", "true"))
    log = await log_of(cloud)
    assert done["status"] == "completed"
    assert log.text == ("$ echo one; echo two >&2\none\ntwo\n$ printf three\nthree\n$ true\n")
    assert not log.truncated


async def test_a_failed_setup_has_its_whole_log_and_the_next_try_another(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    many = "for i in $(seq 20000); do echo line $i; done"
    await cloud.do("setup", setup_args(f"{many}; exit 3"))
    lines = "".join(f"line {number}\n" for number in range(1, 20001))
    assert (await log_of(cloud)).text == f"$ {many}; exit 3\n{lines}"
    await cloud.do("setup", setup_args("echo better"), name="1.setup.2")
    await cloud.until(lambda: "better" in texts_of(cloud.events)["log.1.setup"].text)
    assert (await log_of(cloud)).text == "$ echo better\nbetter\n"


async def test_three_megabytes_at_once_are_kept_and_nobody_waits_for_them(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    line = "0123456789" * 10
    command = f"for i in $(seq 30000); do echo {line}; done"
    done = await cloud.do("setup", setup_args(command))
    assert done["status"] == "completed", done
    before = texts_of(cloud.events).get("log.1.setup")
    assert before is None or not before.ended, "the result waited for the log"
    log = await log_of(cloud)
    assert log.text == f"$ {command}\n" + f"{line}\n" * 30_000
    assert not log.truncated


@pytest.mark.long
async def test_output_without_end_is_cut_and_the_step_goes_on(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    done = await cloud.do(
        "setup", setup_args("head -c 12000000 /dev/zero | tr '\\0' x", "echo end")
    )
    log = await log_of(cloud)
    assert done["status"] == "completed"
    assert log.truncated
    assert 4_000_000 < len(log.text) <= 4 * 1024 * 1024


async def test_no_secret_is_in_a_log(cloud: FakeCloud, cloned: Sandbox) -> None:
    secret = "hunter2-hunter2-hunter2"
    half = "printf hunter2-hun; sleep 0.1; echo ter2-hunter2"
    command = f"head -c 23400 /dev/zero | tr '\\0' x; echo $API_KEY; {half}"
    await cloud.do("setup", setup_args(command, API_KEY=secret))
    log = await log_of(cloud)
    assert secret not in log.text
    assert log.text.endswith("x[redacted]\n[redacted]\n")
    assert secret not in cloud.everything()


async def test_a_log_is_read_while_the_step_runs_and_ends_when_it_is_cancelled(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    await cloud.start("setup", setup_args("echo begun; sleep 60"))

    def begun() -> bool:
        log = texts_of(cloud.events).get("log.1.setup")
        return log is not None and "begun\n" in log.text

    await cloud.until(begun)
    assert not texts_of(cloud.events)["log.1.setup"].ended
    await cloud.cancel("1.setup.1")
    assert not (await log_of(cloud)).truncated


async def test_a_killed_runner_leaves_a_log_that_says_so(
    cloud: FakeCloud, tmp_path: Path, sample: str
) -> None:
    runner = Process(cloud, tmp_path)
    try:
        runner.start()
        await cloud.do("clone", clone_args(sample))
        await cloud.start("setup", setup_args("yes 0123456789 | head -n 50000; sleep 60"))
        await cloud.until(lambda: "log.1.setup" in texts_of(cloud.events))
        await runner.kill()
        runner.start()
        log = await log_of(cloud)
    finally:
        runner.end()
    assert log.truncated
    command = "$ yes 0123456789 | head -n 50000; sleep 60\n"
    assert (command + "0123456789\n" * 60_000).startswith(log.text)


async def test_the_logs_of_clone_and_branch_have_gits_words_and_true_addresses(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("logged", {"a": "a"})
    await cloud.do("clone", clone_args(url))
    log = await log_of(cloud, "1.clone.1")
    assert log.text.startswith("$ git clone --progress ")
    assert url in log.text
    assert "Cloning into " in log.text
    assert "\r" not in log.text
    assert "/step/" not in log.text
    await cloud.do("branch", {"branch": BRANCH})
    branch = await log_of(cloud, "1.branch.1")
    assert branch.text == (f"$ git switch --create {BRANCH}\nSwitched to a new branch '{BRANCH}'\n")


async def test_a_clone_that_fails_has_a_log(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("there", {"a": "a"}).replace("there", "nowhere")
    failed = await cloud.do("clone", clone_args(url))
    log = await log_of(cloud, "1.clone.1")
    assert failed["status"] == "failed"
    assert "not found" in log.text


async def test_the_log_of_the_agents_start_has_what_it_printed(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample)
    await cloud.do("agent", agent_args(OTHER="1"), name="1.agent.2")
    log = await log_of(cloud, "1.agent.2")
    assert "127.0.0.1" in log.text
