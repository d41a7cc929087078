"""What must hold however the page looks: nothing out of reach, nothing that axe-core finds."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1440, "height": 900}

LOOKS = ((DESK, "light"), (PHONE, "dark"))
"""Each width and each colour scheme once."""

ALL_LOOKS = (*LOOKS, (DESK, "dark"), (PHONE, "light"))

_axe = Axe()


def log_of(tab: Page) -> Locator:
    """Return the conversation."""
    return tab.get_by_role("log")


def open_log(tab: Page, step: str) -> None:
    """Open what a step's commands printed, in a preparation that is folded away or not."""
    if not tab.locator("#preparation").evaluate("node => node.open"):
        tab.locator("#summary").click()
    button = tab.locator(f"#steps [data-step={step}]").get_by_text("Log", exact=True)
    if button.get_attribute("aria-expanded") != "true":
        button.click()


def examine(tab: Page, looks=LOOKS) -> None:
    """Look at a state of the page in all its looks, and leave it as wide as a desk's."""
    found = [fault for size, scheme in looks for fault in _faults(tab, size, scheme)]
    tab.set_viewport_size(DESK)
    tab.emulate_media(color_scheme="light")
    assert not found, "\n".join(found)


def _faults(tab: Page, size, scheme) -> list[str]:
    tab.set_viewport_size(size)
    # Colours that are on their way to others are no colours to measure.
    tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    look = f"{size['width']} px, {scheme}"
    wide = tab.evaluate("document.documentElement.scrollWidth")
    found = [f"{look}: the page is {wide} px wide"] if wide > size["width"] else []
    for violation in _axe.run(tab).response["violations"]:
        nodes = "; ".join(" ".join(node["target"]) for node in violation["nodes"][:3])
        found.append(f"{look}: {violation['id']}: {violation['help']} ({nodes})")
    return found
