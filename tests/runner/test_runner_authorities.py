"""Certificate authorities are read once: that holds up everything else for 50 ms of a processor."""

import base64
import hashlib
import ssl
from pathlib import Path

import pytest
from object_store import ObjectStore
from pulls_kit import GitHub

from headstart_runner.archives.transfer import put_file

pytestmark = pytest.mark.anyio


async def test_what_follows_a_first_connection_reads_none(
    store: ObjectStore, github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    digest = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    headers = {"x-amz-checksum-sha256": digest}
    await put_file(file, store.url("first"), headers)
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: pytest.fail("it reads them"))
    await put_file(file, store.url("second"), headers)
    await github.have()
    assert (set(store.objects), len(github.repository.pulls)) == ({"first", "second"}, 1)
