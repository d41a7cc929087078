"""Whole flows: the page on the embedded cloud with the demo agent."""

import re

from playwright.sync_api import Page, expect

from tests.flow.conftest import Cloud


def test_a_prompt_becomes_an_answer_and_is_there_after_a_reload(tab: Page, cloud: Cloud):
    tab.goto(cloud.info["pageUrl"])
    tab.locator("#create [name=repo]").fill(cloud.info["gitUrl"])
    tab.locator("#create [name=prompt]").fill("What is in here?")
    tab.locator("#create button.primary").click()
    expect(tab).to_have_url(re.compile("#ses_"))
    cloud.created.append(("demo", tab.url.partition("#")[2]))
    log = tab.get_by_role("log")
    expect(log.get_by_text("What is in here?").first).to_be_visible()
    expect(log).to_contain_text("demo agent")
    expect(tab.locator("#status")).to_have_text("ready")
    told = log.inner_text()
    tab.reload()
    expect(tab.locator("#status")).to_have_text("ready")
    expect(log).to_contain_text("demo agent")
    assert log.inner_text() == told


def test_a_local_cloud_brings_its_sample_repository(tab: Page, cloud: Cloud):
    tab.goto(cloud.info["pageUrl"])
    expect(tab.locator("#create [name=repo]")).to_have_value(cloud.info["gitUrl"])
