"""Where `headstart open` finds the page of the cloud that runs on this machine."""

from typing import Any

import pytest

from headstart_local import page_address

URL = "http://127.0.0.1:9/_aws/execute-api/x"


@pytest.mark.parametrize(
    ("origins", "address"),
    [
        ("http://127.0.0.1:5,http://localhost:5173", "http://127.0.0.1:5/"),
        ("http://127.0.0.1:5", "http://127.0.0.1:5/"),
        ("", None),
    ],
)
def test_it_is_the_first_origin_that_the_cloud_lets_in(
    monkeypatch: pytest.MonkeyPatch, origins: str, address: str | None
) -> None:
    asked: list[str] = []

    def stack_at(endpoint: str) -> dict[str, Any]:
        asked.append(endpoint)
        return {"Parameters": [{"ParameterKey": "AllowedOrigins", "ParameterValue": origins}]}

    monkeypatch.setattr(page_address, "stack_at", stack_at)
    assert page_address.page_beside(URL) == address
    assert asked == ["http://127.0.0.1:9"]


@pytest.mark.parametrize("url", [URL, "nonsense"])
def test_where_no_cloud_is_there_is_no_page(url: str) -> None:
    assert page_address.page_beside(url) is None
