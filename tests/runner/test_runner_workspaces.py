"""What people have in a workspace, each by name: it is the same after a sleep as before."""

import os
from pathlib import Path

import pytest
from archive_kit import Box, box
from object_store import ObjectStore
from runner_kit import AGENT_UID, git
from work_kit import differences, manifest_of

pytestmark = pytest.mark.anyio

WORKSPACES = {
    "ignored files": "echo .env.local > .gitignore; echo K=1 > .env.local; head -c 9 /dev/zero >db",
    "modes": "umask 0; for m in 600 444 755 664 400 777; do echo $m > f$m; chmod $m f$m; done;"
    " mkdir -m 700 pg; mkdir -m 555 closed",
    "empty folders": "mkdir -p a/b/c d",
    "times": "touch -d '2001-02-03 04:05:06.123456789' README.md; touch -d 1971-01-01 src",
    "HOME": "mkdir -p ~/.config/tool; echo x > ~/.config/tool/rc; chmod 600 ~/.config/tool/rc",
    "files beside the repository": "mkdir ../scratch; echo notes > ../scratch/notes",
    "a stash": "echo wip > README.md; git stash -q; echo two > README.md; git stash -q",
    "other local branches": "git switch -qc feature/login; echo f > f; git add f;"
    " git commit -qm f; git switch -q -",
    "tags": "git tag -a v1.2.0 -m release; git tag light",
    "other refs": "git update-ref refs/checkpoints/1 HEAD; git notes add -m note",
    "a merge in progress": "git switch -qc side; echo s > README.md; git commit -qam s;"
    " git switch -q -; echo o > README.md; git commit -qam o; ! git merge -q side",
    "a merge that is not committed": "git switch -qc side; echo s > s; git add s; git commit -qm s;"
    " git switch -q -; echo o > o; git add o; git commit -qm o; git merge -q --no-commit side",
    "a rebase in progress": "git switch -qc side; echo s > README.md; git commit -qam s;"
    " git switch -qc top HEAD~1; echo o > README.md; git commit -qam o; ! git rebase -q side",
    "a cherry-pick in progress": "git switch -qc side; echo s > README.md; git commit -qam s;"
    " git switch -q -; echo o > README.md; git commit -qam o; ! git cherry-pick side",
    "a bisect in progress": "for n in 1 2 3 4; do git commit -q --allow-empty -m $n; done;"
    " git bisect start -q HEAD HEAD~4",
    "hooks": "mkdir -p .git/hooks; echo '#!/bin/sh' > .git/hooks/pre-commit;"
    " chmod 755 .git/hooks/pre-commit",
    "the repository's settings": "git config user.name Grace; git remote add fork http://f/f.git;"
    " git config pull.rebase true; git branch -q --set-upstream-to origin/main",
    "what git is told to leave alone": "mkdir -p .git/info; echo '*.tmp' > .git/info/exclude;"
    " echo x > y.tmp; git update-index --skip-worktree README.md; echo pw > README.md;"
    " echo new > new; git add -N new",
    "a sparse checkout": "git sparse-checkout set src",
    "a linked worktree": "git worktree add -q ../tree -b tree; echo t > ../tree/t",
    "nested repositories": "git init -q nested; echo n > nested/n; git -C nested add n;"
    " git -C nested commit -qm n; git init -q --separate-git-dir ../apart apart",
    "a submodule and its changes": "git init -q ../lib; git -C ../lib commit -q --allow-empty -m l;"
    ' git -c protocol.file.allow=always submodule --quiet add "$PWD/../lib" lib; echo c > lib/c',
    "the reflog": "git commit -q --allow-empty -m one; git reset -q --hard HEAD~1",
    "a history that is fetched and looked at": "git fetch -q --unshallow; git checkout -q HEAD~2",
    "a .git made anew": "rm -rf .git; git init -q; git add -A; git commit -qm mine",
    "no .git at all": "rm -rf .git",
    "a broken index and configuration": "echo broken > .git/index; echo '[' > .git/config",
    "links": "ln -s ./CLAUDE.md AGENTS.md; ln -s src/ current; ln -s /etc/passwd away;"
    " ln -s loop loop",
    "hard links": "echo h > one; ln one two; mkdir l; ln one l/three",
    "sparse files": "truncate -s 90M disk.img; printf x | dd of=disk.img bs=1 seek=50M conv=notrunc"
    " status=none",
    "names": "touch \"$(printf 'new\\nline')\" \"$(printf 'latin\\xe9')\" ' space ' '*' '\\t';"
    " touch -- -dash --help"
    " touch CASE case; touch \"$(printf 'n%.0s' {1..250})\"",
    "files, folders and links that change places": "rm README.md; mkdir README.md;"
    " touch README.md/x; rm -r tests; echo file > tests; rm -r src; ln -s tests src",
    "an orphan branch": "git switch -q --orphan pages; echo p > p; git add p; git commit -qm p",
    "what can't be read as text": "head -c 100000 /dev/urandom > blob; printf 'a\\r\\nb\\n' > crlf",
    "pipes": "mkfifo pipe",
    "deep folders": "d=.; for n in $(seq 150); do d=$d/deeper; done; mkdir -p $d; echo x > $d/x",
}


_EMPTY = "cd ..; chmod -R u+w .; rm -rf ./*; mkdir home"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository to clone from."""
    folder = tmp_path_factory.mktemp("origin")
    folder.chmod(0o755)
    if AGENT_UID is not None:
        # git takes nothing from a repository of somebody else.
        os.chown(folder, AGENT_UID, AGENT_UID)
    for name in ("README.md", "src/app.py", "tests/test_app.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{name}\n")
    git("init", "--quiet", "--initial-branch=main", cwd=folder)
    git("add", "--all", cwd=folder)
    for message in ("one", "two", "three"):
        git("commit", "--quiet", "--allow-empty", "--message", message, cwd=folder)
    return folder


@pytest.mark.parametrize("what", WORKSPACES)
async def test_it_is_the_same_after_each_sleep(
    origin: Path, store: ObjectStore, tmp_path: Path, what: str
) -> None:
    clone = "git clone -q --depth=1 file://$1 repo"
    async with box(tmp_path / "a", store) as first, box(tmp_path / "b", store) as second:
        # What is there from the first save on lies in the base,
        first.do(clone, str(origin))
        first.do(WORKSPACES[what])
        before = manifest_of(first.config.workspace)
        archive, saving = await first.save()
        assert saving.left_out == []
        await second.put_back(archive)
        assert differences(before, manifest_of(second.config.workspace)) == {}
        # what is not there any more is gone,
        second.do(f"{_EMPTY}; mkdir repo; cd repo; git init -q; touch new; mkdir src")
        before = manifest_of(second.config.workspace)
        archive, _ = await second.save()
    async with box(tmp_path / "c", store) as third, box(tmp_path / "d", store) as fourth:
        await third.put_back(archive)
        assert differences(before, manifest_of(third.config.workspace)) == {}
        # and what came later is in the difference.
        third.do(f"{_EMPTY}; {clone}", str(origin))
        third.do(WORKSPACES[what])
        before = manifest_of(third.config.workspace)
        archive, _ = await third.save()
        await fourth.put_back(archive)
        assert differences(before, manifest_of(fourth.config.workspace)) == {}


def test_a_home_that_leads_elsewhere_has_nothing_made_where_it_leads(
    tmp_path: Path, store: ObjectStore
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "box" / "work space é").mkdir(parents=True)
    (tmp_path / "box" / "work space é" / "home").symlink_to(elsewhere)

    Box(tmp_path / "box", store)

    assert list(elsewhere.iterdir()) == []
