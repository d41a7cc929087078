"""What to tell a person when something went wrong: one sentence that says what to do next."""

import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from headstart_client.errors import (
    ApiError,
    HeadstartError,
    NotFound,
    NotHeadstart,
    RateLimited,
    TransportFailed,
    Unauthorized,
)
from headstart_client.fields import in_words, named
from headstart_client.models import Failure, Publication, Warned
from headstart_client.text import flat
from headstart_client.usage import senseless
from headstart_client.view import CANCELLED, STEP_TITLES, WITHDRAWN
from headstart_client.work import not_whole

_ADDRESS = (
    "check the address, and whether the deployment gives you this repository if it is private; "
    "another is tried by `headstart retry {id} --repo REPO`"
)

SLOW = "The API has not answered yet; Ctrl-C ends the wait"

NO_USER = "HEADSTART_TOKEN is not set: set it to a token of the API's users."

_NEXT = {
    "RepositoryNotFound": _ADDRESS,
    "NotARepository": "name another: `headstart retry {id} --repo REPO`",
    "RepositoryAccessDenied": _ADDRESS,
    "AppNotInstalled": "once that is done: `headstart retry {id}`",
    "RepositoryRefused": "use an address the deployment allows",
    "BranchNotFound": "name another: `headstart retry {id} --branch BRANCH`",
    "AgentStartFailed": "try again with `headstart retry {id}`, or another agent in a new session: "
    "`headstart run --agent AGENT`",
    "AgentUnavailable": "name another in a new session: `headstart run --agent AGENT --mode MODE`",
    "AgentRefused": "the same again ends the same way: with another model in a new session, "
    "`headstart run --model MODEL`, or another message, `headstart send {id} PROMPT`",
    "SetupCommandFailed": "repair the command: `headstart retry {id} --setup CMD`",
    "WorkspaceGone": "repair the command that removed it: `headstart retry {id} --setup CMD`",
    "SetupCommandTimedOut": "make the command faster: `headstart retry {id} --setup CMD`",
    "RestoreFailed": "start without the saved work: `headstart retry {id} --without-archive`; "
    "download that before: `headstart archive {id}`",
    "SecretsUnavailable": "send all of them again: `headstart retry {id} --secret NAME …`",
    "DiskFull": "use a smaller repository or a deployment with a larger disk",
    "DeliveryUnknown": "prepare it again with `headstart retry {id}`, which holds the message",
    "Interrupted": "go on with `headstart send {id} PROMPT`",
    "Asleep": "wake it with `headstart send {id} PROMPT`",
}


def on_preparation(failure: Failure, session_id: str | None) -> str:
    """Return the sentence for a preparation that failed; without an id the session is gone."""
    if failure.code == CANCELLED:
        again = f"; prepare it again with `headstart retry {session_id}`" if session_id else ""
        return f"The preparation was stopped{again}."
    title = STEP_TITLES.get(failure.step or "", "The preparation")
    fallback = "try again with `headstart retry {id}`" if failure.retryable else _NEW
    step = _NEXT.get(failure.code, fallback)
    return _sentence(f"{title} failed", failure, session_id, step)


def on_turn(failure: Failure, session_id: str | None) -> str:
    """Return the sentence for a turn that failed, or never was; without an id as above."""
    if failure.code == WITHDRAWN:
        return "The message was withdrawn, so the agent will not see it."
    step = _NEXT.get(failure.code, "try again: `headstart send {id} PROMPT`")
    return _sentence("The turn failed", failure, session_id, step)


def on_held(failure: Failure | None, session_id: str | None) -> str:
    """Return the sentence for a message that waits for a person; without an id as above."""
    step = "`headstart initiate {id}` releases it"
    if failure and failure.code == "DeliveryUnknown":
        step = "`headstart initiate {id}` sends it again, if the agent did not get it"
    elif failure:
        step += ", and so does another message"
    return _sentence("The message is held", failure, session_id, step)


def on_publication(failure: Failure, commit: str, again: str | None) -> str:
    """Return the sentence for work that is not, or not all, where it should be.

    `commit` is what the remote has of it, `again` the command that publishes what failed once
    more; without one the session is gone.
    """
    said = _begun(_stem(not_whole(failure, commit)))
    if again is None or not failure.retryable:
        return f"{said}."
    if failure.code == "RepositoryAccessDenied":
        return f"{said}; with a token that opens it: {again} --secret GIT_TOKEN"
    return f"{said}; again: {again}"


def on_no_pull_request(publication: Publication | None) -> str:
    """Return the sentence for work that was published without the pull request asked for."""
    why = publication and publication.note
    return f"There is no pull request: {_stem(flat(why or 'there was nothing for one'))}."


def on_arguments(errors: Sequence[Mapping[str, Any]], args: Namespace) -> str:
    """Return the sentence for fields that can't be so, by the arguments which became them."""
    wrong = []
    for error in errors:
        what, why = named(error["loc"], args), in_words(error["msg"], args)
        if found := getattr(args, "of_checkout", {}).get(what):
            wrong.append(f"the {found} of this checkout {why}: name another with {what}")
            continue
        wrong.append(f"argument {what}: {why}" if what else why)
    return senseless("; ".join(wrong), f"headstart {args.command}")


def on_warning(warned: Warned, args: Namespace) -> str:
    """Return the sentence for what of a request should not have been sent as it was."""
    return f"Warning: {named(warned.loc, args)} {in_words(warned.msg, args)}"


def on_error(error: HeadstartError, url: str, session_id: str | None = None) -> str:
    """Return the sentence for a call that failed, about a session if it was about one."""
    reason = _stem(str(error))
    if not error.unsure:
        return f"{_on_undone(error, reason, url)}."
    return f"No answer came from the API at {url} ({reason}): {on_unsure(session_id)}"


def on_unsure(session_id: str | None) -> str:
    """Return the rest of a sentence about a change of which no answer came."""
    look = f"headstart show {session_id}" if session_id else "headstart ls"
    return (
        f"what was asked may have been done all the same, so look before you repeat it: `{look}`."
    )


def _on_undone(error: HeadstartError, reason: str, url: str) -> str:
    match error:
        case Unauthorized():
            sentence = (
                "The API refused the token: set HEADSTART_TOKEN to a valid one "
                "(`headstart token --sub NAME` prints one for an embedded cloud)"
            )
        case NotFound(code="SessionNotFound"):
            sentence = "There is no such session: `headstart ls` lists yours"
        case NotFound(code="ArchiveNotFound"):
            sentence = "Nothing of the session is saved yet"
        case NotFound(code="InputNotFound"):
            sentence = "The agent asks nothing of that id, or not any more"
        # Without a code the API itself has never seen the request.
        case NotFound(code="NotFound" | "RouteNotFound"):
            sentence = (
                f"There is no API at {url}: set HEADSTART_URL to its whole address, "
                "path included, as `headstart up` or the deployment printed it"
            )
        case RateLimited(code="QuotaExceeded"):
            sentence = f"{_begun(reason)}: end one with `headstart rm ID`, then try again"
        case RateLimited(code="QueueFull"):
            sentence = f"{_begun(reason)}: send it once the agent has taken one of them"
        case ApiError(retryable=True):
            sentence = f"The API is busy ({error.code}: {reason}): try again"
        case ApiError():
            sentence = f"The API refused the request ({error.code}): {reason}"
        case NotHeadstart():
            sentence = (
                f"At {url}, {reason}; set HEADSTART_URL to the API's whole address, path "
                "included, and see that no proxy or portal answers in its place"
            )
        case TransportFailed():
            sentence = (
                f"The API at {url} can't be reached ({reason}): check HEADSTART_URL, "
                "or start an embedded cloud with `headstart up`"
            )
        case _:
            sentence = reason
    return sentence


_IN_WORDS_OF_THE_API = re.compile(r"; GET /sessions/.*")
"""A way out that is told there by calls, and here by commands."""

_NEW = "start a new session with `headstart run`"
_OTHER = "try another --repo or --prompt"


def _sentence(what: str, failure: Failure | None, session_id: str | None, step: str) -> str:
    why = (
        f": {_stem(_IN_WORDS_OF_THE_API.sub('', failure.reason))} ({failure.code})"
        if failure
        else ""
    )
    return f"{what}{why}; {step.format(id=session_id) if session_id else _OTHER}."


def _stem(text: str) -> str:
    return text.strip().rstrip(".")


def _begun(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
