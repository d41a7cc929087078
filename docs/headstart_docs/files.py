"""The files that are made, as they should be: `make docs` writes them, a test compares."""

import json
from pathlib import Path

from headstart_docs.markdown import fill
from headstart_docs.openapi import make_document

_ROOT = Path(__file__).parents[2]
DOCUMENT = _ROOT / "layers" / "core" / "headstart" / "openapi.json"
PAGE = _ROOT / "docs" / "api.md"


def made() -> dict[Path, str]:
    """Return what each file should hold."""
    document = json.dumps(make_document(), indent=1, ensure_ascii=False) + "\n"
    return {DOCUMENT: document, PAGE: fill(PAGE.read_text())}
