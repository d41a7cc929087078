"""Every patch has a test that fails without it; prove_patches.py runs them all that way."""

import ast
from pathlib import Path

from headstart_local.patches import PATCHES, patch_name


def proven() -> set[str]:
    names = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.proves":
                names.update(ast.literal_eval(argument) for argument in node.args)
    return names


def test_every_patch_is_proven() -> None:
    assert {patch_name(patch) for patch in PATCHES} == proven()


def test_every_patch_says_what_it_restores() -> None:
    for patch in PATCHES:
        text = patch.__doc__ or ""
        names_a_source = '("' in text or "API reference" in text
        assert names_a_source or "Not a rule of AWS" in text, patch_name(patch)


def test_every_patch_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "local.md").read_text()
    for patch in PATCHES:
        assert f"`{patch_name(patch)}`" in page
