"""What one setup command leaves is there for the next, and for the agent: as in CI."""

import asyncio
import shlex
import shutil
import time
from pathlib import Path

import pytest
from fake_cloud import FakeCloud, Json
from runner_kit import SESSION_ID, Sandbox, agent_args, agents, environment_of, setup_args
from work_kit import another

from headstart_runner.processes import shell
from headstart_runner.processes.variables import Additions

pytestmark = pytest.mark.anyio


async def run(cloud: FakeCloud, *commands: str, name: str = "", **env: str) -> Json:
    """Run a setup that must complete."""
    done = await cloud.do("setup", setup_args(*commands, **env), name=name)
    assert done["status"] == "completed", done
    return done


async def agents_environment(cloud: FakeCloud) -> dict[str, str]:
    """Start the agent and return its variables."""
    await cloud.do("restore", {"agent": "demo", "sessionId": SESSION_ID, "title": ""})
    started = await cloud.do("agent", agent_args())
    assert started["status"] == "completed", started
    [pid] = agents()
    return environment_of(pid)


async def test_path_and_variables_are_handed_on(cloud: FakeCloud, cloned: Sandbox) -> None:
    await run(
        cloud,
        'mkdir ~/tools; printf "#!/bin/sh\\necho it works\\n" > ~/tools/mine; '
        'chmod +x ~/tools/mine; echo "$HOME/tools" >> "$HEADSTART_PATH"; '
        'echo "COLOR=deep blue" >> "$HEADSTART_ENV"',
        'echo "$(mine) $COLOR" > said; echo "COLOR=red=hot" >> "$HEADSTART_ENV"',
        'echo "$COLOR" >> said',
        COLOR="green",
    )
    environment = await agents_environment(cloud)

    assert (cloned.repository / "said").read_text() == "it works deep blue\nred=hot\n"
    assert environment["PATH"].split(":")[0] == f"{cloned.config.home}/tools"
    assert environment["COLOR"] == "red=hot"
    assert not any(name.startswith("HEADSTART_") for name in environment)


async def test_a_value_of_several_lines_is_handed_on(cloud: FakeCloud, cloned: Sandbox) -> None:
    heredoc = "printf 'NOTES<<EOF\\nfirst = 1\\n\\nlast\\nEOF\\nAFTER=1\\n' >> \"$HEADSTART_ENV\""
    await run(cloud, heredoc, 'printf "%s|%s" "$NOTES" "$AFTER" > said')

    assert (cloned.repository / "said").read_text() == "first = 1\n\nlast|1"


# What the installers themselves write, below a HOME in which each has put its programs.
NVM = r"""
mkdir -p ~/.nvm/versions/node/v20/bin
printf '#!/bin/sh\necho v20\n' > ~/.nvm/versions/node/v20/bin/node
chmod +x ~/.nvm/versions/node/v20/bin/node
cat > ~/.nvm/nvm.sh <<'END'
nvm() { [ "$1" = use ] && export PATH="$NVM_DIR/versions/node/v20/bin:$PATH"; }
nvm use; false
END
[ -f ~/.bashrc ]
cat >> ~/.bashrc <<'END'

export NVM_DIR="$HOME/.nvm"
[ -s "$NVM_DIR/nvm.sh" ] && \. "$NVM_DIR/nvm.sh"  # This loads nvm
[ -s "$NVM_DIR/bash_completion" ] && \. "$NVM_DIR/bash_completion"  # This loads nvm bash_completion
END
"""
CARGO = r"""
mkdir -p ~/.cargo/bin
printf '#!/bin/sh\necho cargo 1\n' > ~/.cargo/bin/cargo
chmod +x ~/.cargo/bin/cargo
cat > ~/.cargo/env <<'END'
#!/bin/sh
# rustup shell setup
# affix colons on either side of $PATH to simplify matching
case ":${PATH}:" in
    *:"$HOME/.cargo/bin":*)
        ;;
    *)
        # Prepending path in case a system-installed rustc needs to be overridden
        export PATH="$HOME/.cargo/bin:$PATH"
        ;;
esac
END
[ -f ~/.profile ]
echo '. "$HOME/.cargo/env"' >> ~/.profile
"""
PYENV = r"""
mkdir -p ~/.pyenv/bin ~/.pyenv/shims
printf '#!/bin/sh\necho "export PATH=\\"$PYENV_ROOT/shims:\\$PATH\\""\n' > ~/.pyenv/bin/pyenv
printf '#!/bin/sh\necho shim\n' > ~/.pyenv/shims/python
chmod +x ~/.pyenv/bin/pyenv ~/.pyenv/shims/python
cat >> ~/.bashrc <<'END'
export PYENV_ROOT="$HOME/.pyenv"
[[ -d $PYENV_ROOT/bin ]] && export PATH="$PYENV_ROOT/bin:$PATH"
eval "$(pyenv init - bash)"
END
"""
UV = r"""
mkdir -p ~/.local/bin
printf '#!/bin/sh\necho uv 1\n' > ~/.local/bin/uv
chmod +x ~/.local/bin/uv
cat > ~/.local/bin/env <<'END'
#!/bin/sh
case ":${PATH}:" in
    *:"$HOME/.local/bin":*)
        ;;
    *)
        export PATH="$HOME/.local/bin:$PATH"
        ;;
esac
END
echo '. "$HOME/.local/bin/env"' >> ~/.profile
uv
"""
PIPX = r"""
mkdir -p ~/.pipx/bin
printf '#!/bin/sh\necho black 1\n' > ~/.pipx/bin/black
chmod +x ~/.pipx/bin/black
printf '\n# Created by `pipx` on 2026-01-01 00:00:00\n' >> ~/.bashrc
printf 'export PATH="$PATH:%s"\n' ~/.pipx/bin >> ~/.bashrc
"""


@pytest.mark.parametrize(
    ("installer", "use", "says"),
    [
        (NVM, "nvm use && node", "v20"),
        (CARGO, "cargo", "cargo 1"),
        (PYENV, "python", "shim"),
        (UV, "uv", "uv 1"),
        (PIPX, "black", "black 1"),
    ],
    ids=["nvm", "cargo", "pyenv", "uv", "pipx"],
)
async def test_what_installers_write_for_a_shell_counts(
    cloud: FakeCloud, cloned: Sandbox, installer: str, use: str, says: str
) -> None:
    await run(cloud, installer, f"{use} > said")
    environment = await agents_environment(cloud)

    assert (cloned.repository / "said").read_text() == f"{says}\n"
    found = shutil.which(use.rpartition(" ")[2], path=environment["PATH"])
    assert found is not None
    assert Path(found).is_relative_to(cloned.config.home)


BROKEN = [
    "exit",
    "exit 1",
    "while :; do :; done",
    "exec false",
    "PATH=/nonexistent",
    "kill $$",
    "set -e; false",
]
ODD = [
    "set -eu; echo false >> ~/.bashrc",
    "echo noise; echo noise >&2; cd /; set -u -f",
    "trap 'echo bye; exit 9' EXIT; IFS=:; return 3",
    "cat",
]


@pytest.mark.parametrize("profile", ["if", *BROKEN, *ODD])
async def test_no_profile_breaks_a_command_or_the_agent(
    cloud: FakeCloud, cloned: Sandbox, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    monkeypatch.setattr(shell, "STARTUP_SECONDS", 1.0)
    done = await run(
        cloud,
        f"printf '%s\\n' {shlex.quote(profile)} >> ~/.profile",
        "pwd; echo $NOTHING; ls -d /et*; set -- $(echo a b); echo $#",
    )
    environment = await agents_environment(cloud)

    assert done["status"] == "completed"
    shown = "".join(event["output"] or "" for event in cloud.of("progress"))
    assert shown.endswith(f"{cloned.repository}\n\n/etc\n2\n")
    assert ("do not come to their end" in shown) is (profile in BROKEN)
    assert "/usr/bin" in environment["PATH"]
    assert cloud.of("progress", commandId="1.setup.1")[-1]["message"].startswith(
        "The setup is done; none of ~/.profile," if profile in BROKEN else "The setup is done"
    )


async def test_a_profile_that_a_failed_command_broke_does_not_hide_what_it_said(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    failed = await cloud.do("setup", setup_args("echo exit >> ~/.profile; printf why; exit 3"))

    assert failed["error"]["reason"].endswith("exited with status 3: why")
    kept = "".join(piece["text"] for piece in cloud.of("output"))
    assert kept.startswith("why\nheadstart: none of ~/.profile,")
    assert kept.endswith("\n")


async def test_what_breaks_one_line_of_a_profile_loses_nothing_that_was_handed_on(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    await run(cloud, 'echo A=1 >> "$HEADSTART_ENV"; echo exit 1 >> ~/.profile', "echo $A > said")

    assert (cloned.repository / "said").read_text() == "1\n"
    assert (await agents_environment(cloud))["A"] == "1"


async def test_what_would_touch_more_than_the_session_is_not_taken(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    names = ("GIT_DIR=/x", "HEADSTART_KEY=x", "HOME=/x", "XDG_DATA_HOME=/x", "A-B=x", "nonsense")
    lines = "\\n".join([*names, "FINE=1"])
    profile = "export GIT_DIR=/x HEADSTART_URL=x XDG_DATA_HOME=/x ALSO=1"
    await run(
        cloud,
        f"printf '{lines}\\n' >> \"$HEADSTART_ENV\"; echo '{profile}' >> ~/.bashrc",
        "env > ~/seen",
    )
    environment = await agents_environment(cloud)

    seen = (cloned.config.home / "seen").read_text()
    assert "HEADSTART_KEY" not in seen
    assert "FINE=1" in seen
    assert (environment["FINE"], environment["ALSO"]) == ("1", "1")
    assert environment["HOME"] == str(cloned.config.home)
    assert not {"GIT_DIR", "HEADSTART_URL", "XDG_DATA_HOME"} & environment.keys()
    shown = "".join(event["output"] or "" for event in cloud.of("progress"))
    assert "headstart: GIT_DIR would have git work on another repository\n" in shown
    assert "headstart: HEADSTART_KEY is a reserved name\n" in shown
    assert "headstart: a line is not NAME=value\n" in shown


async def test_the_agents_program_is_the_sandboxs_own(cloud: FakeCloud, cloned: Sandbox) -> None:
    own = cloned.config.workspace / "own"
    own.mkdir()
    (own / "opencode").write_text("#!/bin/sh\necho the own one; exit 1\n")
    (own / "opencode").chmod(0o755)
    path = f"{own}:{cloned.config.path}"
    await run(
        cloud,
        "mkdir -p ~/.local/bin; "
        "printf '#!/bin/sh\\necho another; exit 1\\n' > ~/.local/bin/opencode; "
        'chmod +x ~/.local/bin/opencode; echo "$HOME/.local/bin" >> "$HEADSTART_PATH"',
    )
    args = {**agent_args(PATH=path), "agent": "opencode"}
    failed = await cloud.do("agent", args)

    assert "the own one" in failed["error"]["reason"]


async def test_another_setup_replaces_the_agents_environment(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    await run(cloud, 'echo A=1 >> "$HEADSTART_ENV"', 'echo B=1 >> "$HEADSTART_ENV"')
    first = await agents_environment(cloud)
    same = agents()
    await cloud.do("agent", agent_args(), name="1.agent.2")
    kept = agents()
    await run(cloud, 'echo A=1 >> "$HEADSTART_ENV"', "true", name="1.setup.2")
    await cloud.do("agent", agent_args(), name="1.agent.3")
    [pid] = agents()
    second = environment_of(pid)

    assert (first["A"], first["B"]) == ("1", "1")
    assert same == kept != agents()
    assert second["A"] == "1"
    assert "B" not in second


async def test_another_sandbox_with_the_same_home_has_the_same_environment(
    cloud: FakeCloud, cloned: Sandbox, tmp_path: Path
) -> None:
    await run(
        cloud,
        'echo A=1 >> "$HEADSTART_ENV"; echo "export B=2" >> ~/.bashrc',
        'echo ~/t >> "$HEADSTART_PATH"',
    )
    await cloned.stop()
    async with another(tmp_path / "another") as (other, box):
        await other.connected()
        shutil.copytree(cloned.config.workspace, box.config.workspace, dirs_exist_ok=True)
        environment = await agents_environment(other)

    assert (environment["A"], environment["B"]) == ("1", "2")
    assert environment["PATH"].startswith(f"{cloned.config.home}/t:")


async def test_a_file_that_never_ends_holds_nothing_up(cloud: FakeCloud, cloned: Sandbox) -> None:
    commands = (
        'rm "$HEADSTART_ENV"; ln -s /dev/zero "$HEADSTART_ENV"; echo /x > "$HEADSTART_PATH"',
        'rm "$HEADSTART_ENV"; mkfifo "$HEADSTART_ENV"',
        'yes A=1 | head -c 10000000 > "$HEADSTART_ENV" || true',
        'echo "$A $PATH" > said',
    )
    async with asyncio.timeout(8):
        await run(cloud, *commands)

    assert (cloned.repository / "said").read_text().startswith("1 /x:")


def test_more_than_the_limits_is_left_out_and_said() -> None:
    many, large, folders = Additions(), Additions(), Additions()
    many.read_env("".join(f"N{number}={number}\n" for number in range(201)))
    large.read_env(f"A={'x' * 40_000}\nB={'x' * 40_000}\nA=1\nB={'x' * 40_000}\n")
    folders.read_path("".join(f"/f{number}\n" for number in range(101)), "/home")

    assert (len(many.variables), len(many.notes)) == (200, 1)
    assert {name: len(value) for name, value in large.variables.items()} == {"A": 1, "B": 40_000}
    assert (len(folders.path.split(":")), len(folders.notes)) == (100, 1)


def test_a_great_many_lines_are_read_in_no_time_and_said_nothing_of_each() -> None:
    additions = Additions()
    began = time.process_time()
    for _ in range(20):
        additions.read_env("".join(f"N{number % 200}=\n-{number}=\n" for number in range(5000)))
        additions.read_path("".join(f"{number}\n" for number in range(10_000)), "/home")

    assert time.process_time() - began < 2
    assert len(additions.notes) <= 10


def test_lines_are_read_as_ci_reads_them() -> None:
    additions = Additions()
    additions.read_env("A = 1\r\n\nB=<<x\nC<<E\nD=1\nE\nF<<never\nx\n")
    additions.read_path("/a\n\n~/b\r\n/c\n/a\n", "/home")

    assert additions.variables == {"A": " 1", "B": "<<x", "C": "D=1"}
    assert additions.notes == ["the end of a value of several lines is missing"]
    assert additions.path == "/a:/c:/home/b"
