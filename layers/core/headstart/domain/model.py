"""The base of every JSON shape Headstart reads or writes."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """A camelCase JSON object; unknown fields are refused.

    Validators are built on first use, because building them all is most of a cold start.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", defer_build=True
    )

    def to_json(self) -> dict[str, object]:
        """Return the camelCase JSON object."""
        return self.model_dump(mode="json", by_alias=True)


class OpenModel(Model):
    """A JSON object from a peer of possibly newer version: unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")


class RowModel(Model):
    """A row of the table, or a part of one: what a newer version wrote in it is kept as it is."""

    model_config = ConfigDict(extra="allow")


def format_time(moment: datetime) -> str:
    """Return UTC ISO 8601 with exactly milliseconds, as every timestamp of the API is written."""
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    )


Timestamp = Annotated[datetime, PlainSerializer(format_time, return_type=str, when_used="json")]
