"""How a conversation reads: whose words are where, what is streamed, what an agent may not do."""

from playwright.sync_api import Page, expect
from session_scripts import good_start, good_turn

from tests.page.scripted import Place

EVIL = """<script>window.evil = 1</script> <img src=x onerror="window.evil = 1">
[click](javascript:window.evil=1) ![](https://example.com/pixel.png) `<b>`"""


def test_what_an_agent_writes_runs_nowhere(tab: Page, place: Place):
    turn = good_turn()
    turn[-2] = ("agent.event", {"kind": "text", "messageId": "m", "partId": "x", "text": EVIL})
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    place.open(tab, place.session(title=EVIL, script=[*good_start(EVIL), *turn]))
    log = tab.get_by_role("log")
    expect(log).to_contain_text("<b>")
    assert not [url for url in asked if "example.com" in url]
    assert tab.evaluate("window.evil") is None
    assert tab.locator("#session script, #session [onerror], a[href^=javascript]").count() == 0
