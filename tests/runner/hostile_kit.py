"""Commands that an attacker would have the agent's user run, and what they leave to judge by."""

import shlex
from pathlib import Path

_MODULES = (
    "certifi json httpx httpcore h11 sniffio ssl encodings anyio websockets pydantic sqlite3 idna"
    " zipfile sitecustomize usercustomize headstart headstart_runner nanny"
)
_PLANT = """
import sys
from pathlib import Path

marks, modules, *folders = sys.argv[1:]
mark = "import os; os.close(os.open(f'%s/{os.getuid()}-%s', os.O_CREAT | os.O_WRONLY))"
run = "touch %s/$(id -u)-%s"
version = "python%d.%d" % sys.version_info[:2]
for folder in map(Path, folders):
    for place in (folder, folder / ".local" / "lib" / version / "site-packages"):
        place.mkdir(parents=True, exist_ok=True)
        for name in modules.split():
            (place / (name + ".py")).write_text(mark % (marks, name))
        (place / "evil.pth").write_text(mark % (marks, "pth"))
        (place / "pyvenv.cfg").write_text("home = " + str(folder))
    git = run % (marks, "git")
    aliases = "".join(" %s = !%s\\n" % (name, git) for name in ("status", "clone", "rev-parse"))
    core = "".join(" %s = %s\\n" % (name, git) for name in ("fsmonitor", "sshCommand", "pager"))
    (folder / ".gitconfig").write_text("[core]\\n" + core + "[alias]\\n" + aliases)
    (folder / ".netrc").write_text("machine 127.0.0.1 login evil password evil")
    (folder / ".curlrc").write_text("output = " + marks + "/curl")
    (folder / ".npmrc").write_text("node-options = --require=" + str(folder / "evil.js"))
    for name in (".bashrc", ".profile", ".bash_profile"):
        (folder / name).write_text(run % (marks, "bash"))
"""


_NOSY = """
import ctypes, json, os, sys
from pathlib import Path

found = {}

def attempt(name, what):
    try:
        found[name] = repr(what())[:200]
    except (OSError, ValueError) as error:
        found[name] = type(error).__name__

uid, state, folders = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]

def is_theirs(process):
    try:
        ours = process.stat().st_uid in (0, uid)
        return ours and b"headstart" in (process / "cmdline").read_bytes()
    except OSError:  # it has ended since it was listed
        return False

def has_ended(process):
    try:
        return ") Z " in (process / "stat").read_text()
    except OSError:
        return True

theirs = [p for p in Path("/proc").iterdir() if p.name.isdigit() and is_theirs(p)]
for number, process in enumerate([*theirs]):
    pid = int(process.name)
    for name in ("environ", "mem", "maps", "auxv", "io", "stack", "syscall"):
        attempt(f"{number} {name}", lambda: (process / name).open("rb").read(1))
    for name in ("fd", "map_files"):
        attempt(f"{number} {name}", lambda: os.listdir(process / name))
    for name in ("cwd", "root", "exe"):
        attempt(f"{number} {name}", lambda: os.readlink(process / name))
    attempt(f"{number} signal", lambda: os.kill(pid, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (16, 0x4206):
        if libc.ptrace(request, pid, 0, 0) == 0:
            found[f"{number} ptrace"] = "attached"
    handle = libc.syscall(434, pid, 0)
    if libc.syscall(438, handle, 2, 0) >= 0:
        found[f"{number} pidfd_getfd"] = "taken"
    # Meanwhile it has ended, or become a command of the agent's: what was found says nothing.
    if has_ended(process) or not is_theirs(process):
        theirs.remove(process)
        found = {k: v for k, v in found.items() if not k.startswith(f"{number} ")}
for name in ("", "journal.db", "journal.db-wal", "lock"):
    attempt(f"state {name}", lambda: (state / name).open("rb").read(1))
attempt("state list", lambda: os.listdir(state))
for folder in folders:
    attempt(f"write {folder}", lambda: (Path(folder) / "evil.py").write_text(""))
for user in (0, uid):
    attempt(f"become {user}", lambda: os.setuid(user))
print(json.dumps({"processes": len(theirs), "found": found}))
"""


def planting(python: str | Path, marks: Path, *folders: str | Path) -> str:
    """Return what writes into folders what an interpreter, git or a shell would read and run there.

    Whatever of it runs leaves a mark, a file of its user's.
    """
    return shlex.join([str(python), "-I", "-c", _PLANT, str(marks), _MODULES, *map(str, folders)])


def nosing(python: str | Path, uid: int, state: Path, *folders: str | Path) -> str:
    """Return what tries to read and change a runner of that uid, and prints what came of it.

    That is `{processes, found: {attempt: outcome}}`; `folders` are tried to be written to.
    """
    what = [str(python), "-I", "-c", _NOSY, str(uid), str(state), *map(str, folders)]
    return shlex.join(what)
