"""The report of a night in a real browser, without a network: pictures show, nothing is asked of anybody."""

import shutil

import pytest

pytestmark = pytest.mark.services
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "no Chromium on this machine; make test-services installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(done_survey):
    (found,) = (done_survey.archive / "reports").glob("*.html")
    return found


@pytest.fixture(params=[(1400, 900), (390, 800)], ids=["desk", "phone"])
def page(browser, report, request):
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    page = context.new_page()
    page.troubles = []
    page.on("console", lambda said: page.troubles.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("request", lambda asked: page.troubles.append(asked.url) if _leaves(asked.url) else None)
    page.goto(report.as_uri())
    page.wait_for_load_state("load")
    yield page
    context.close()


def _leaves(url):
    return not url.startswith(("file:", "data:"))


def test_the_page_needs_nothing_but_itself(page):
    assert page.troubles == []
    assert "20190110" in page.title()


def test_every_picture_shows(page):
    widths = page.eval_on_selector_all("img", "all => all.map(image => image.naturalWidth)")
    assert len(widths) > 5
    assert min(widths) > 50


def test_nothing_is_cut_off_at_the_side(page):
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"] + 1


def test_links_within_the_page_lead_somewhere(page):
    targets = page.eval_on_selector_all("a[href^='#']", "all => all.map(link => link.getAttribute('href'))")
    assert targets
    for target in set(targets):
        assert page.locator(f"[id='{target[1:]}']").count() == 1, target
