"""Which provider of models a key of the deployment belongs to, and where that provider is.

A variable of the deployment's secret belongs to the providers whose settings name it as
`{env:NAME}`; a well-known provider needs no settings, or none that name it. What belongs to nobody
is given to nobody.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from headstart.domain.command_args import AgentArgs
from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents.base import ServerArgs
from headstart_runner.gateway.routes import Route

_ENV = re.compile(r"\{env:([^{}]*)\}")

WELL_KNOWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "anthropic": ("https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",)),
    "cerebras": ("https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
    "deepinfra": ("https://api.deepinfra.com/v1", ("DEEPINFRA_API_KEY",)),
    "deepseek": ("https://api.deepseek.com", ("DEEPSEEK_API_KEY",)),
    "fireworks-ai": ("https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",)),
    "google": (
        "https://generativelanguage.googleapis.com/v1beta",
        ("GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    "groq": ("https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
    "huggingface": ("https://router.huggingface.co/v1", ("HF_TOKEN",)),
    "mistral": ("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    "moonshotai": ("https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",)),
    "nvidia": ("https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY",)),
    "openai": ("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "opencode": ("https://opencode.ai/zen/v1", ("OPENCODE_API_KEY",)),
    "openrouter": ("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "xai": ("https://api.x.ai/v1", ("XAI_API_KEY",)),
    "zai": ("https://api.z.ai/api/paas/v4", ("ZHIPU_API_KEY",)),
}
"""The addresses and variables of providers as opencode 1.18.33 has them: in its catalogue of
models.dev, or in the provider's SDK. Each was asked by it through the door (tests/agents)."""

_SIGNS = {
    "amazon-bedrock": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "google-vertex": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "google-vertex-anthropic": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "sap-ai-core": ("AICORE_SERVICE_KEY",),
}
"""Providers whose requests are signed with what these variables hold, or whose tokens are made of
it: there is nothing that could be put in a placeholder's place."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A provider for which the deployment has keys: `variables` are the names of those."""

    provider: str
    base: str
    named: bool
    variables: tuple[str, ...]
    settings: dict[str, Any]

    def route(self, secrets: Mapping[str, str], placeholders: Mapping[str, str]) -> Route:
        """Return how its requests get their keys."""
        # A line end comes easily with a secret that was read from a file, and is in no header.
        keys = {placeholders[name]: secrets[name].strip() for name in self.variables}
        return Route(self.base, keys, self.named, frozenset(self._headers(self.settings)))

    def _headers(self, settings: Any) -> Iterator[str]:
        """Yield the headers in which settings send a key, at whatever depth they are."""
        inner = settings.values() if isinstance(settings, dict) else settings
        for value in inner if isinstance(inner, Iterable) and not isinstance(inner, str) else ():
            yield from self._headers(value)
        headers = settings.get("headers") if isinstance(settings, dict) else None
        for name, value in headers.items() if isinstance(headers, dict) else ():
            if not {*self.variables}.isdisjoint(_ENV.findall(str(value))):
                yield name.lower()


def keyed(args: AgentArgs) -> list[Keyed]:
    """Return the providers for which there are keys.

    AgentStartFailed for one whose address is not known, or whose keys can't be stamped.
    """
    _refuse_signing(args)
    return [*_keyed(args)]


def unused(args: AgentArgs, found: Iterable[Keyed]) -> list[str]:
    """Return the variables of the deployment's secret that belong to nobody."""
    used = {name for one in found for name in one.variables}
    for one in found:
        used |= {*_ENV.findall(_base(one.settings) or "")}
    return sorted(args.secrets.keys() - used)


def through(
    args: AgentArgs, found: Iterable[Keyed], address: str, placeholders: Mapping[str, str]
) -> ServerArgs:
    """Return what the agent's program is told: placeholders, and the door for an address."""
    variables: dict[str, str] = {}
    provider = dict(args.provider)
    for one in found:
        variables |= {name: placeholders[name] for name in one.variables}
        base = f"{address}/{quote(one.provider, safe='')}"
        options = {**one.settings.get("options", {}), "baseURL": base}
        provider[one.provider] = {**one.settings, "options": options}
    told = {**args.model_dump(), "secrets": variables, "provider": provider}
    return ServerArgs(**told, only_provider=bool(args.provider))


def _keyed(args: AgentArgs) -> Iterator[Keyed]:
    for provider in sorted(args.provider or WELL_KNOWN):
        settings = args.provider.get(provider) or {}
        if not isinstance(settings, dict) or not isinstance(settings.get("options", {}), dict):
            continue  # the agent itself says what is wrong with them
        address, known = WELL_KNOWN.get(provider, (None, ()))
        base = _base(settings)
        options = {k: v for k, v in settings.get("options", {}).items() if k != "baseURL"}
        apart_from_address = json.dumps({**settings, "api": None, "options": options})
        variables = [*dict.fromkeys(_ENV.findall(apart_from_address))]
        variables = [name for name in variables if name in args.secrets]
        if not variables:
            variables = [name for name in known if name in args.secrets][:1]
            if variables:
                # Said in so many words: of several variables an SDK reads but one by itself.
                key = {"apiKey": f"{{env:{variables[0]}}}"}
                settings = {**settings, "options": {**key, **settings.get("options", {})}}
        if not variables:
            continue
        if base is None and address is None:
            raise AgentStartFailed(
                f"The deployment has a key for the model provider {provider}, but no address: "
                "ProviderConfig has to name its options.baseURL"
            )
        named = base is not None
        where = _filled(provider, base, args.secrets) if base is not None else str(address)
        yield Keyed(provider, where.rstrip("/"), named, tuple(variables), settings)


def _base(settings: Any) -> str | None:
    """Return the address that settings name, where opencode looks for it."""
    if not isinstance(settings, dict):
        return None
    options = settings.get("options")
    named = options.get("baseURL") if isinstance(options, dict) else None
    base = named or settings.get("api")
    return base if isinstance(base, str) and base else None


def _filled(provider: str, base: str, secrets: Mapping[str, str]) -> str:
    """Return an address with what it names of the secret; AgentStartFailed for one that is none."""
    # Of the secret only: what comes from the session's own variables is not the deployment's word.
    filled = _ENV.sub(lambda name: secrets.get(name[1], name[0]), base)
    try:
        parts = urlsplit(filled)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None or parts.query or parts.fragment or "{" in filled:
        raise AgentStartFailed(
            f"The address of the model provider {provider} in ProviderConfig is none that its key "
            "can be sent to: http or https, with a host and at most a path; of variables those of "
            "ProviderSecretArn only"
        )
    return filled


def _refuse_signing(args: AgentArgs) -> None:
    asked_for = {*args.provider, (args.model or "").partition("/")[0]}
    for provider in sorted(asked_for & _SIGNS.keys()):
        named = {*_ENV.findall(json.dumps(args.provider.get(provider)))} & args.secrets.keys()
        if found := [name for name in _SIGNS[provider] if name in args.secrets and not named]:
            raise AgentStartFailed(
                f"The model provider {provider} wants requests signed with {' and '.join(found)}, "
                "which is kept from the agent: give it a key that is sent in a header, or a "
                "gateway of your own"
            )
