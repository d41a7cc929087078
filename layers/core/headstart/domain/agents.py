"""The agents that a sandbox may have, and what of them can be chosen."""

from collections.abc import Iterable

from headstart.domain.errors import ValidationFailed
from headstart.domain.policy import Policy

MODES: dict[str, tuple[str, ...]] = {
    "demo": ("code",),
    "kilo": ("ask", "code", "debug", "orchestrator", "plan"),
    "opencode": ("build", "plan"),
}
"""The modes of each agent that Headstart knows; a repository or a user may add others."""

_COMMON = "code"
"""A mode that each agent has, under this name or as what it calls its own."""

_WITHOUT_MODEL = frozenset({"demo"})

_CLOSED = frozenset({"demo"})
"""Agents to which nobody can add a mode: they have those of MODES and no others."""


def agents_of(policy: Policy) -> list[str]:
    """Return the agents of a deployment: those that it names, else all there are."""
    return sorted(set(policy.agents) & set(MODES) if policy.agents else MODES)


def default_mode(policy: Policy) -> str | None:
    """Return the mode of who names none, as the default agent calls it; None for its own."""
    modes = MODES.get(policy.default_agent, ())
    return policy.default_mode if policy.default_mode in modes else None


def mode_of(policy: Policy, agent: str, named: str | None) -> str:
    """Return the mode of a session: the deployment's is for the agent that is its default.

    Raises ValidationFailed for one that the agent surely lacks; where modes may be added, the
    sandbox alone knows.
    """
    if named and agent in _CLOSED and named not in MODES[agent]:
        raise _unknown("mode", f"a mode that {agent} has", MODES[agent])
    return named or (policy.default_mode if agent == policy.default_agent else _COMMON)


def models_of(policy: Policy, agent: str) -> list[str]:
    """Return the models that a deployment suggests for an agent, as provider/model."""
    if agent in _WITHOUT_MODEL:
        return []
    return sorted({*policy.models, *([policy.default_model] if policy.default_model else [])})


def check_agent(policy: Policy, agent: str) -> str:
    """Return the agent; raises ValidationFailed for one that no sandbox of the deployment has."""
    known = agents_of(policy)
    if agent not in known:
        raise _unknown("agent", "an agent that this deployment has", known)
    return agent


def _unknown(field: str, what: str, known: Iterable[str]) -> ValidationFailed:
    return ValidationFailed([{"loc": [field], "msg": f"must be {what}: {', '.join(known)}"}])
