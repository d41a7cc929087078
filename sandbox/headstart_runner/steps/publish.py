"""Brings the work to the remote: a commit, a push, a look at what came of it, a pull request."""

import asyncio
from typing import Any

from headstart.domain.channel import WorkPushed
from headstart.domain.command_args import PublishArgs
from headstart.domain.errors import PublishFailed, StepError
from headstart.domain.failure import Failure
from headstart.domain.work import Counted, Published, PullRequest
from headstart_runner.gateway.gateway import Watch
from headstart_runner.publishing.branch import Branch
from headstart_runner.publishing.changes import Untold, Work
from headstart_runner.publishing.commits import Commits
from headstart_runner.publishing.pulls import Pulls, Subject
from headstart_runner.repository.git import Git
from headstart_runner.repository.locks import remove_stale
from headstart_runner.repository.remote import Remote
from headstart_runner.repository.words import counted, some
from headstart_runner.steps.base import Context

_TOLD_SECONDS = 20.0
"""How long the cloud may take to know a commit, before it is pushed."""

_LOOK_SECONDS = 15.0
_NAMED = 50


async def run(context: Context, args: PublishArgs) -> dict[str, Any]:
    """Publish the work; that the commit is there is true even where its pull request fails."""
    context.need_work_tree()
    tools, repository = context.tools, context.tools.config.repository
    git = Git(tools.launcher, tools.gateway)
    commits = Commits(git, repository)
    context.progress("Committing the work")
    await remove_stale(tools.launcher, repository)
    commit = await commits.all(args)
    notes = _left_out(commits.left_out)
    if commit is None:
        return _answer(Published(status="unchanged", note=notes or "There is no commit yet"))
    context.progress("Pushing the work")
    watch = Watch(context.progress, context.seconds_left)
    remote = await Remote.at(git, args.git_url, watch, allow_private=args.allow_private)
    branch = Branch(remote, repository, args, _teller(context))
    there = await branch.publish(commit)
    if there is None:
        return _answer(Published(status="unchanged", note=notes or None))
    pull_request, failure = None, None
    if args.pull_request is not None and args.api is None:
        notes = _joined(notes, "pull requests are opened on the deployment's GitHub only")
    elif args.pull_request is not None:
        context.progress("Asking for the pull request")
        try:
            pull_request, more = await _pull_request(context, args)
            notes = _joined(notes, *more)
        except StepError as error:
            failure = Failure.of(error)
    known = args.pull_request.number if args.pull_request else None
    is_known = pull_request is None or pull_request.number == known
    is_old = branch.before == there and is_known and failure is None
    return _answer(
        Published(
            status="unchanged" if is_old else "published",
            commit=there,
            url=_page(args),
            pull_request=pull_request,
            note=notes or None,
            failure=failure,
        )
    )


def _teller(context: Context) -> Any:
    async def tell(commit: str) -> None:
        """Have the cloud know a commit first: should all end here, nobody else made it."""
        reporter = context.tools.reporter
        reporter.report(WorkPushed(command_id=context.command_id, commit=commit))
        try:
            async with asyncio.timeout(_TOLD_SECONDS):
                await reporter.drained()
        except TimeoutError:
            raise PublishFailed("The cloud can't be reached; nothing was pushed") from None

    return tell


async def _pull_request(context: Context, args: PublishArgs) -> tuple[PullRequest, list[str]]:
    """Have the pull request; also return what is not as it was asked for."""
    wanted, api = args.pull_request, args.api
    if wanted is None or api is None:
        raise PublishFailed("No pull request was asked for")
    subject = Subject(args.git_url, args.branch, await _text(context, args))
    pulls = Pulls(api, subject, context.tools.gateway.credentials)
    return await pulls.have(wanted), pulls.notes


async def _text(context: Context, args: PublishArgs) -> str:
    """Return what a pull request says of the work."""
    tools = context.tools
    said = [f"Made by Headstart session `{args.session_id}`."]
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            work = Work(tools.launcher, tools.redactor, tools.config.repository)
            changes = (await work.look(args.began)).changes
    except (Untold, TimeoutError, OSError):
        return said[0]
    total = changes.total
    said.append(f"{in_words(total)}:")
    said.append("\n".join(f"- {_code(file.path)}" for file in changes.files[:_NAMED]))
    if total.files > _NAMED:
        said.append(f"… and {total.files - _NAMED} more.")
    return tools.redactor.text("\n\n".join(said))


def in_words(total: Counted) -> str:
    """Return how much changed."""
    files, lines = counted(total.files, "file"), counted(total.additions, "line")
    return f"{files} changed, {lines} added and {total.deletions} deleted"


def _code(path: str) -> str:
    """Return a path as Markdown that stays one line of code."""
    return f"`{' '.join(path.replace('`', chr(39)).split())}`"


def _left_out(paths: list[str]) -> str:
    return f"left out, as repositories of their own: {some(paths, 'and')}" if paths else ""


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _page(args: PublishArgs) -> str | None:
    """Return a page about the branch, which only GitHub's address is known of."""
    if args.api is None:
        return None
    return f"{args.git_url.rstrip('/').removesuffix('.git')}/tree/{args.branch}"


def _answer(published: Published) -> dict[str, Any]:
    return published.model_dump(mode="json", by_alias=True)
