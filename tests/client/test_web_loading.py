"""What of the page is loaded when: the form first and alone, a session's part when it is wanted."""

import re

from web_page import WEB

FORM_FILES = 26
"""With the markup and the style; a browser asks for six at a time, and for each anew."""

FORM_BYTES = 98_000


def imported(start: str, known: set[str] | frozenset[str] = frozenset()) -> set[str]:
    """Return a module and all that it imports before it runs, but for what is known."""
    needed, found = [start], {start}
    while needed:
        text = (WEB / needed.pop()).read_text()
        named = re.findall(r'^(?:import|export) (?:.*? from )?"\./([\w.-]+)"', text, re.MULTILINE)
        new = set(named) - found - known
        found |= new
        needed += new
    return found


def asked_for(file: str, pattern: str) -> list[str]:
    return re.findall(pattern, (WEB / file).read_text())


def test_all_that_the_form_needs_is_asked_for_at_once():
    """A browser would learn of a module only from the one that imports it, up to five deep."""
    scripts = asked_for("index.html", r'<script type="module" (?:async )?src="([\w.-]+)"')
    preloaded = asked_for("index.html", r'rel="modulepreload" href="([\w.-]+)"')
    assert scripts == ["later.js", "app.js"]
    assert sorted(scripts + preloaded) == sorted(imported("app.js"))


def test_all_that_a_session_needs_besides_is_asked_for_at_once():
    [listed] = asked_for("later.js", r"const MODULES = \[([^\]]*)\]")
    named = {f"{name}.js" for name in re.findall(r'"(\w+)"', listed)}
    assert named == imported("session.js", imported("app.js")) - {"session.js"}
    [libraries] = asked_for("later.js", r"const LIBRARIES = \[([^\]]*)\]")
    [loaded] = asked_for("libraries.js", r"all\(\[([^\]]*)\]")
    assert [name.removeprefix("vendor/") for name in re.findall(r'"([\w/]+)"', libraries)] == (
        re.findall(r'"(\w+)"', loaded)
    )


def test_the_form_is_small():
    files = [WEB / name for name in (*imported("app.js"), "index.html", "style.css")]
    assert len(files) == FORM_FILES
    assert sum(file.stat().st_size for file in files) < FORM_BYTES
