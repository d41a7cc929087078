"""What is a secret, by its name, its shape or its place in a command, and what is none."""

import re
from pathlib import Path

import pytest

from headstart.domain.secrecy import secrets_in, secrets_in_command, secrets_of
from headstart_runner.redaction import Redactor

DOCUMENT = Path(__file__).parents[2] / "docs" / "agents.md"

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
READABLE = {
    "APP_NAME": "billing-api",
    "API_BASE": "http://localhost:3000",
    "REGION": "eu-west-1",
    "DATA_DIR": "/workspace/data",
    "NODE_ENV": "production",
    "NODE_OPTIONS": "--max-old-space-size=4096",
    "LOG_FORMAT": "%(asctime)s %(levelname)s",
    "GIT_AUTHOR_NAME": "Ada Lovelace",
    "REDIS_URL": "redis://localhost:6379/0",
    "IMAGE": "node:20.11.1-bookworm-slim",
    "MODEL": "claude-sonnet-4-20250514",
    "JAVA_OPTS": "-Xmx4g -XX:+UseG1GC",
    "TOKEN_URL": "https://auth.example.com/token",
    "PRIVATE_KEY_PATH": "/workspace/home/key.pem",
    "SSH_KEY": "~/.ssh/id_ed25519",
    "MAX_TOKENS": "16000000",
    "KEYBOARD_LAYOUT": "us-international",
    "COMMIT_SHA": "8843d7f92416211de9ebb963ff4ce28125932878",
    "CLIENT_ID": "8f14e45f-ceea-467a-9a36-dedd4bea2543",
    "PWD": "/workspace/repo",
}
SECRET = {
    "API_TOKEN": ("correct-horse-battery", "correct-horse-battery"),
    "dbPassword": ("sesameopen", "sesameopen"),
    "USER_PASSWORD": ("sesameopen", "sesameopen"),
    "ID_TOKEN": ("correct-horse", "correct-horse"),
    "SERVICE_APIKEY": ("abcd1234efgh", "abcd1234efgh"),
    "DATABASE_URL": ("postgres://app:hunter2hunter2@db/app", "hunter2hunter2"),
    "CACHE_URL": ("redis://app:hun/ter#2?x@cache:6379/0", "hun/ter#2?x"),
    "MONGO": ("mongodb://app:pw@db/app", "app:pw@db"),
    "PIP_INDEX_URL": ("https://ci:p%40ssw0rd1@pypi.example.com/simple", "p@ssw0rd1"),
    "REPO": ("https://ghs_abcdefghij0123456789@github.com/o/r", "ghs_abcdefghij0123456789"),
    "CONNECTION": ("Server=db;Password=hunter2hunter2;Encrypt=yes", "hunter2hunter2"),
    "NPM_CONFIG": ("//registry.npmjs.org/:_authToken=abcdefgh-ij", "abcdefgh-ij"),
    "SETTINGS": ('{"region": "eu-west-1", "clientSecret": "abcdefgh-ij"}', "abcdefgh-ij"),
    "AWS_ACCESS_KEY_ID": ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    "OPENAI": ("sk-proj-abcdefgh12345678", "sk-proj-abcdefgh12345678"),
    "BUILD_CACHE": ("f3a9c1d27b5e4860a1b2c3d4", "f3a9c1d27b5e4860a1b2c3d4"),
    "DEPLOY": (KEY, KEY),
}
"""Variables, their values, and what of these must not be shown."""


@pytest.mark.parametrize("name", READABLE)
def test_what_is_no_secret_stays_readable(name: str) -> None:
    redactor = Redactor()
    redactor.add_settings({name: READABLE[name]})
    text = f"{name}={READABLE[name]}, services/{READABLE[name]}/main.py"

    assert redactor.text(text) == text


@pytest.mark.parametrize("name", SECRET)
def test_what_is_a_secret_by_name_or_shape_is_known(name: str) -> None:
    value, secret = SECRET[name]
    redactor = Redactor()
    redactor.add_settings({name: value})

    assert secret in set(secrets_of(name, value))
    assert secret not in redactor.text(f"> {value}\n> {secret}")


@pytest.mark.skipif(not DOCUMENT.exists(), reason="the documents are not in the image")
def test_the_document_says_what_is_a_secret() -> None:
    rows = re.findall(r"^\| `(\w+)=(.+?)` \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) >= 10
    for name, value, verdict in rows:
        found = {secret for secret in secrets_of(name, value) if len(secret) >= 8}
        shown = {
            "is shown": set[str](),
            "is redacted": {value},
        }.get(verdict, set(re.findall("`(.+)`", verdict)))
        assert found == shown, name


@pytest.mark.parametrize(
    ("command", "secrets"),
    [
        ("gh auth login --with-token ghp_abcdefghij0123456789", {"ghp_abcdefghij0123456789"}),
        ("API_TOKEN=correct-horse npm ci", {"correct-horse"}),
        ("deploy --password='hunter2hunter2' --region=eu-west-1", {"hunter2hunter2"}),
        ('curl -H "Authorization: Bearer abc.def-12345" x', {"abc.def-12345"}),
        ("git clone https://ada:p#ss/word@host.example/x", {"p#ss/word"}),
        ("npm config set //npm.example/:_authToken=abcdefgh-ij", {"abcdefgh-ij"}),
        ("API_TOKEN=$DEPLOY_TOKEN make", set[str]()),
        ("docker login --password=`cat /run/secret`", set[str]()),
        ('curl -H "Authorization: Bearer $API_TOKEN" x', set[str]()),
        ("git checkout 8843d7f92416211de9ebb963ff4ce28125932878", set[str]()),
        ("pip install --no-cache-dir -r requirements/dev.txt", set[str]()),
        ("echo 'Token validation' && pytest tests/test_token.py::test_keys", set[str]()),
    ],
)
def test_what_a_command_spells_out_is_known(command: str, secrets: set[str]) -> None:
    assert {secret for secret in secrets_in_command(command) if len(secret) >= 8} == secrets


def test_settings_are_looked_through_however_nested() -> None:
    servers = {
        "remote": {
            "type": "remote",
            "url": "https://mcp.example.com/?api_key=abcdefgh12",
            "headers": {"Authorization": "Bearer abcdefgh34", "Accept": "application/json"},
        },
        "local": {
            "command": ["npx", "server", "--token", "abcdefgh56", "--root", "/workspace/repo"],
            "environment": {"GITHUB_TOKEN": "abcdefgh78", "DEBUG": "server:verbose"},
        },
        "named": {"headers": {"X-Api-Key": "{env:API_KEY}", "Authorization": "${AUTH_TOKEN}"}},
    }
    secrets = {"abcdefgh12", "abcdefgh34", "Bearer abcdefgh34", "abcdefgh56", "abcdefgh78"}

    assert set(secrets_in(servers)) == secrets
