"""Tokens, and the form that connects with one."""

import base64
import json
import time

from playwright.sync_api import Page, expect

from tests.page.scripted import Place


def token(ends_in: float, subject: str = "ada") -> str:
    """Return what looks like a token that ends in so many seconds."""
    body = json.dumps({"sub": subject, "exp": int(time.time() + ends_in)}).encode()
    return f"e30.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.sig"


def enter(tab: Page, place: Place, *, api: str = "", secret: str = "") -> None:
    """Send the form."""
    tab.goto(place.origin)
    tab.locator("#connect [name=api]").fill(api or place.cloud.url)
    tab.locator("#connect [name=token]").fill(secret or token(3600))
    tab.locator("#connect button.primary").click()


def connect(tab: Page, place: Place, *, api: str = "", secret: str = "") -> None:
    """Connect by the form."""
    enter(tab, place, api=api, secret=secret)
    expect(tab.locator("#create [name=prompt]")).to_be_visible()
