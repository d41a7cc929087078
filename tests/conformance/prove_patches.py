"""Runs the tests of each patch without that patch and tells where none of them fails.

    python tests/conformance/prove_patches.py [patch ...]

Takes a few minutes, so it is not part of the suite.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

from headstart_local.patches import PATCHES, patch_name

HERE = Path(__file__).parent
SECONDS = 300


def tests_of(patch: str) -> list[str]:
    """Return the ids of the tests that are said to prove a patch."""
    found = []
    for path in sorted(HERE.glob("test_*.py")):
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef) and any(
                ast.unparse(decorator) == f"pytest.mark.proves('{patch}')"
                for decorator in function.decorator_list
            ):
                found.append(f"{path}::{function.name}")
    return found


def survivors(patch: str) -> list[str]:
    """Return the tests that pass without the patch, or everything when none can be run."""
    tests = tests_of(patch)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rp", "-p", "no:cacheprovider", *tests],
        check=False,
        env={**os.environ, "CONFORMANCE_WITHOUT_PATCH": patch},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode not in {0, 1}:
        return [*tests, done.stdout[-2000:]]
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASSED")]
    return [line.partition("::")[2] for line in passed] or ([] if tests else ["no test at all"])


def main(wanted: list[str]) -> int:
    unproven = 0
    for patch in wanted or [patch_name(patch) for patch in PATCHES]:
        passed = survivors(patch)
        unproven += bool(passed)
        sys.stdout.write(f"{'UNPROVEN' if passed else 'ok':8} {patch} {', '.join(passed)}\n")
        sys.stdout.flush()
    return 1 if unproven else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
