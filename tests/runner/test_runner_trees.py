"""Prepared trees: what one session set up another begins with, moved to its branch's tip."""

from pathlib import Path

import pytest
from fake_cloud import FakeCloud, Json
from object_store import ObjectStore
from runner_kit import SESSION_ID, Repositories, Sandbox, clone_args, git, setup_args
from work_kit import another, done, files_in, save, upload_args

pytestmark = pytest.mark.anyio

MAKER = "session/ses_dfd84ed1effeEMnWxfp8yPNx65"
SETUP = (
    "mkdir -p node_modules && date +%N > node_modules/made",
    "echo cached > ~/.cache-of-setup; cp src/app.py src/generated.py",
)
FILES = {"README.md": "# Lamp\n", "src/app.py": "1\n", "package-lock.json": "{}\n"}


async def make_tree(
    cloud: FakeCloud, store: ObjectStore, url: str, *commands: str, inputs: tuple[str, ...] = ()
) -> Json:
    """Set a workspace up as another session does; return what a clone is told of its tree."""
    cloned = await done(cloud, "clone", clone_args(url, depth=None))
    await done(cloud, "branch", {"branch": MAKER})
    await done(cloud, "restore", {"agent": "demo", "sessionId": SESSION_ID, "title": "Health"})
    made = await done(cloud, "setup", setup_args(*(commands or SETUP)) | {"baseAfterMs": 0})
    base = made["output"]["base"]
    await done(cloud, "upload", upload_args(store, {"output": {"base": base}}))
    return {
        "url": store.url("work/base"),
        "bytes": base["bytes"],
        "sha256": base["sha256"],
        "commit": cloned["output"]["commit"],
        "branch": MAKER,
        "inputs": list(inputs),
    }


def push(repositories: Repositories, url: str, *, force: bool = False, **files: str) -> str:
    """Move the branch on, or rewrite it; return its tip."""
    bare = repositories.server.folder / url.rpartition("/")[2]
    work = bare.with_suffix(".elsewhere")
    if not work.exists():
        git("clone", "--quiet", str(bare), str(work), cwd=bare)
    for path, text in files.items():
        (work / path).parent.mkdir(exist_ok=True)
        (work / path).write_text(text)
    git("add", "--all", cwd=work)
    how = ["--amend"] if force else []
    git("commit", "--quiet", "--message", "Elsewhere", *how, cwd=work)
    git("push", "--quiet", "--force", "origin", "HEAD:main", cwd=work)
    return git("rev-parse", "HEAD", cwd=work)


async def adopt(cloud: FakeCloud, url: str, tree: Json) -> Json:
    """Begin another session with a tree; return what the clone answers."""
    cloned = await done(cloud, "clone", clone_args(url, depth=None, tree=tree))
    await done(cloud, "branch", {"branch": f"session/{SESSION_ID}"})
    output: Json = cloned["output"]
    return output


async def test_the_same_commit_needs_no_setup(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, *, store: ObjectStore,
    tmp_path: Path,
) -> None:  # fmt: skip
    url = repositories.make("lamp", FILES)
    tree = await make_tree(cloud, store, url)
    made = (sandbox.repository / "node_modules/made").read_text()
    async with another(tmp_path / "b") as (second, box):
        output = await adopt(second, url, tree)
        here = box.repository

        assert (output["adopted"], output["setup"], output["fetched"]) == ("tree", "same commit", 0)
        assert (output["commit"], output["defaultBranch"]) == (tree["commit"], "main")
        assert (here / "node_modules/made").read_text() == made
        assert (box.config.home / ".cache-of-setup").read_text() == "cached\n"
        assert git("symbolic-ref", "--short", "HEAD", cwd=here) == f"session/{SESSION_ID}"
        branches = git("for-each-ref", "--format=%(refname)", "refs/heads", cwd=here).split()
        assert MAKER not in (here / ".git/logs/HEAD").read_text()
        assert branches == ["refs/heads/main", f"refs/heads/session/{SESSION_ID}"]
        await begin_rest(second)
        saved = await save(
            second, store, {"base": {k: tree[k] for k in ("url", "bytes", "sha256")}}
        )
        assert second.results["1.archive"]["output"]["base"] is None
        (here / "late").write_text("after")
    async with another(tmp_path / "c") as (third, box):
        output = (await done(third, "clone", clone_args(url, archive=saved)))["output"]
        assert output["adopted"] == "archive"
        assert (box.repository / "node_modules/made").read_text() == made


async def begin_rest(cloud: FakeCloud) -> None:
    await done(cloud, "restore", {"agent": "demo", "sessionId": SESSION_ID, "title": "Health"})


@pytest.mark.parametrize(
    ("changes", "inputs", "setup"),
    [
        ({"README.md": "# Lamps\n"}, ("package-lock.json",), "same package-lock.json"),
        ({"README.md": "# Lamps\n"}, (), None),
        ({"package-lock.json": "{ }\n"}, ("package-lock.json",), None),
        ({"README.md": "# Lamps\n"}, ("package-lock.json", "yarn.lock"), None),
    ],
)
@pytest.mark.parametrize("force", [pytest.param(False, marks=pytest.mark.long), True])
async def test_a_tree_is_moved_to_its_branchs_tip(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, *, store: ObjectStore,
    tmp_path: Path, changes: dict[str, str], inputs: tuple[str, ...], setup: str | None,
    force: bool,
) -> None:  # fmt: skip
    url = repositories.make("lamp", FILES)
    tree = await make_tree(cloud, store, url, inputs=inputs)
    tip = push(repositories, url, force=force, **changes)
    async with another(tmp_path / "b") as (second, box):
        output = await adopt(second, url, tree)
        here = box.repository

        assert (output["adopted"], output["setup"]) == ("tree", setup)
        assert (output["commit"], output["fetched"]) == (tip, 1)
        for path, text in changes.items():
            assert (here / path).read_text() == text
        assert (here / "node_modules/made").exists()
        assert git("rev-parse", "main", "origin/main", cwd=here).split() == [tip, tip]
        assert git("status", "--porcelain", "--untracked-files=no", cwd=here) == ""
        ran = await done(second, "setup", setup_args(*SETUP))
        assert [c["skipped"] for c in ran["output"]["commands"]] == [False, False]


async def test_what_setup_changed_stays_unless_the_branch_changed_it_too(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, *, store: ObjectStore,
    tmp_path: Path,
) -> None:  # fmt: skip
    url = repositories.make("lamp", FILES)
    change = "echo local >> src/app.py"
    tree = await make_tree(cloud, store, url, change, inputs=("package-lock.json",))
    push(repositories, url, **{"README.md": "# Lamps\n"})
    async with another(tmp_path / "b") as (second, box):
        assert (await adopt(second, url, tree))["setup"] == "same package-lock.json"
        assert (box.repository / "src/app.py").read_text() == "1\nlocal\n"
    tip = push(repositories, url, **{"src/app.py": "2\n"})
    async with another(tmp_path / "c") as (third, box):
        output = await adopt(third, url, tree)
        assert (output["adopted"], output["commit"]) == (None, tip)
        assert "could not be used" in output["notes"][0]
        assert (box.repository / "src/app.py").read_text() == "2\n"
        assert not (box.config.home / ".cache-of-setup").exists()


@pytest.mark.parametrize(
    "damage",
    [
        "gone",
        "cut off",
        "of another repository",
        "without one",
        "with a pipe in it",
        "with a pipe as its index",
    ],
)
async def test_a_tree_of_no_use_is_no_failure(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, *, store: ObjectStore,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("headstart_runner.steps.adopt._LOOK_SECONDS", 1)
    url = repositories.make("lamp", FILES)
    spoils = {
        "without one": ("mv .git ..",),
        "with a pipe in it": ("rm .git/config; mkfifo .git/config",),
        "with a pipe as its index": ("rm .git/index; mkfifo .git/index",),
    }
    tree = await make_tree(cloud, store, url, *spoils.get(damage, SETUP))
    match damage:
        case "gone":
            store.objects.clear()
        case "cut off":
            store.objects["work/base"] = store.objects["work/base"][:-100]
        case "of another repository":
            tree["branch"], tree["commit"] = "session/ses_none", "1" * 40
    async with another(tmp_path / "b") as (second, box):
        output = await adopt(second, url, tree)

        assert output["adopted"] is None
        assert output["notes"][0].startswith("The prepared tree could not be used: ")
        assert files_in(box.config.workspace) >= {"repo", "home"}
        assert not (box.repository / "node_modules").exists()
        assert (box.repository / "README.md").exists()
