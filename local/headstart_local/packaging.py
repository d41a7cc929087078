"""Turns a SAM template with local folders into one that CloudFormation can deploy.

Does in this process what `sam build` and `sam package` do, minus the dependencies: those come
from the interpreter that runs the functions.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as _Loader
except ImportError:
    # A PyYAML that was built without libyaml takes ten times as long.
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

# Uploads an archive and returns its place as CloudFormation wants it.
Upload = Callable[[str, bytes], dict[str, str]]
_SKIPPED = {"__pycache__", "requirements.txt", "Makefile"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


class TemplateError(ValueError):
    """The template can't be read, or is none that can be deployed here."""


class _TemplateLoader(_Loader):
    """YAML with CloudFormation's short forms; dates stay strings."""


def _short_form(loader: _TemplateLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


def _text(loader: _TemplateLoader, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


_TemplateLoader.add_multi_constructor("!", _short_form)
_TemplateLoader.add_constructor("tag:yaml.org,2002:timestamp", _text)


def read_template(path: Path) -> dict[str, Any]:
    """Read a template, short forms expanded; raises TemplateError."""
    try:
        template = yaml.load(path.read_text(), _TemplateLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise TemplateError(f"the template {path} can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise TemplateError(f"the template {path} is not YAML: {reason}") from error
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise TemplateError(f"the template {path} has no Resources")
    return template


def resources(template: dict[str, Any], resource_type: str) -> Iterator[str]:
    """Yield the logical ids of a type."""
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] == resource_type:
            yield logical_id


def package(template: dict[str, Any], base: Path, upload: Upload) -> str:
    """Upload what the template refers to, relative to `base`; return it as JSON.

    A folder or file that isn't there is a FileNotFoundError that names it.
    """
    shared = (template.get("Globals") or {}).get("Function") or {}
    for holder in (shared, *_properties(template, "AWS::Serverless::Function")):
        if isinstance(holder.get("CodeUri"), str):
            archive = _archive(base / holder["CodeUri"], "")
            holder["CodeUri"] = upload(_key(archive), archive)
    for logical_id in resources(template, "AWS::Serverless::LayerVersion"):
        resource = template["Resources"][logical_id]
        # Without a build method SAM takes the folder as it is.
        prefix = "python/" if "BuildMethod" in resource.get("Metadata", {}) else ""
        archive = _archive(base / resource["Properties"]["ContentUri"], prefix)
        resource["Properties"]["ContentUri"] = upload(_key(archive), archive)
    for properties in _properties(template, "AWS::Serverless::StateMachine"):
        if isinstance(properties.get("DefinitionUri"), str):
            definition = (base / properties.pop("DefinitionUri")).read_text()
            properties["Definition"] = yaml.load(definition, _TemplateLoader)  # noqa: S506
    return json.dumps(template)


def _properties(template: dict[str, Any], resource_type: str) -> Iterator[dict[str, Any]]:
    for logical_id in resources(template, resource_type):
        yield template["Resources"][logical_id]["Properties"]


def _key(archive: bytes) -> str:
    return f"{hashlib.sha256(archive).hexdigest()}.zip"


def _archive(folder: Path, prefix: str) -> bytes:
    if not folder.is_dir():
        raise FileNotFoundError(f"the template refers to {folder}, which is not a folder")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if path.is_file() and not _SKIPPED.intersection(relative.parts):
                entry = zipfile.ZipInfo(f"{prefix}{relative.as_posix()}", _EPOCH)
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()
