"""The API's document, as a browser that has no token yet gets it."""

from headstart_docs.files import DOCUMENT

from .conftest import Cloud


def test_the_document_is_open_and_the_one_that_ships(cloud: Cloud) -> None:
    origin = cloud.info["pageUrl"].partition("/#")[0]
    headers = {"Origin": origin, "Authorization": ""}
    answer = cloud.client().get("/openapi.json", headers=headers)
    assert answer.status_code == 200
    assert answer.text == DOCUMENT.read_text()
    assert answer.headers["access-control-allow-origin"] == origin
