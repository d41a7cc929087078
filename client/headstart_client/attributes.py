"""What an event's class says of its data: an attribute for each thing that is read of it."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from pydantic.alias_generators import to_camel

from headstart_client.models import Event
from headstart_client.shapes import Shape, shaped

T = TypeVar("T")


class Said(Generic[T]):
    """An attribute of an event that stands in its data, by the same name in camelCase.

    `made` is what makes more of what is read in the shape.
    """

    @overload
    def __init__(self, shape: Callable[[Any], T]) -> None: ...
    @overload
    def __init__(self: "Said[dict[str, Any]]", shape: dict[str, Shape]) -> None: ...
    @overload
    def __init__(self: "Said[list[dict[str, Any]]]", shape: list[Shape]) -> None: ...
    @overload
    def __init__(self, shape: Shape, made: Callable[[Any], T]) -> None: ...
    def __init__(self, shape: Shape, made: Callable[[Any], Any] | None = None) -> None:
        self.shape = shape
        self.name = ""
        self._made = made

    def __set_name__(self, _: type, name: str) -> None:
        self.name = to_camel(name)

    @overload
    def __get__(self, event: None, _: type) -> "Said[T]": ...
    @overload
    def __get__(self, event: Event, _: type) -> T: ...
    def __get__(self, event: Event | None, _: type) -> "T | Said[T]":
        if event is None:
            return self
        value: T = shaped({self.name: self.shape}, event.data)[self.name]
        return self._made(value) if self._made else value
