"""The report in a real browser: from a file, without network, in light and dark, by mouse and by keyboard."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tutelage.comparison import compare

HOSTILE = '<script>window.pwned=1</script>" onfocus="pwned=2'
QUOTED = 'it\'s `100%` & "more" <img src=x onerror=pwned=3>'


@dataclass
class Opened:
    """A page, and everything it said or asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def focused(self, script: str) -> Any:
        return self.page.evaluate(f"(() => {{ const node = document.activeElement; return {script}; }})()")

    def tip(self) -> str | None:
        tip = self.page.locator("#why")
        return tip.inner_text() if tip.is_visible() else None

    def hover(self, node: Any) -> str:
        """Point at a number and return what is said of it."""
        node.hover()
        self.page.wait_for_selector("#why", state="visible")
        return str(self.page.locator("#why").inner_text())

    def first_number(self, table: str) -> Any:
        return self.page.locator(f"{table} .why[tabindex='0']").first


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason='playwright is not installed: pip install "tutelage[dev]"')
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # a browser refuses to run as root with it
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real comparison on two workloads, with arm names that would do harm where they were taken for HTML."""
    folder = tmp_path_factory.mktemp("browser") / "comparison"
    arms = {"cosine": "cosine", HOSTILE: "constant", QUOTED: "uba:phi=5"}
    compare(
        ["digits:net=mlp", "breast-cancer"],
        arms,
        budget="20steps",
        seeds=3,
        margin=0.001,
        out=folder,
        jobs=1,
        settings={"eval_every": 4},
    )
    return folder / "report.html"


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def start(path: Path, **options: Any) -> Opened:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "offline": True, **options})
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
        opened.page.on("pageerror", lambda error: opened.said.append(f"error: {error}"))
        opened.page.on("request", lambda request: opened.asked.append(request.url))
        opened.page.goto(path.as_uri())
        return opened

    yield start
    for context in contexts:
        context.close()


def test_it_opens_from_a_file_and_asks_for_nothing_else(open_page: Any, report: Path) -> None:
    opened = open_page(report)
    opened.page.wait_for_selector("[data-chart='1'] svg path.mean")
    # All that a reader can do on the page, done once.
    for select in opened.page.locator(".controls select").all():
        for option in select.locator("option").all():
            select.select_option(option.get_attribute("value"))
    opened.page.locator(".controls input[type=checkbox]").first.check()
    opened.page.locator("#theme").click()
    for details in opened.page.locator("details").all():
        details.locator("summary").click()
    opened.page.locator(".copy").first.click()
    assert opened.said == []
    assert opened.asked == [report.as_uri()]
    assert opened.page.evaluate("performance.getEntriesByType('resource').length") == 0


def test_the_network_is_forbidden_to_the_page_itself(open_page: Any, report: Path) -> None:
    opened = open_page(report, offline=False)
    blocked = opened.page.evaluate("fetch('https://example.com').then(() => 'reached', (error) => error.name)")
    assert blocked == "TypeError"
    assert any("Content Security Policy" in line for line in opened.said)


def test_names_that_look_like_html_do_nothing(open_page: Any, report: Path) -> None:
    opened = open_page(report)
    opened.page.wait_for_selector(".legend button")
    for node in opened.page.locator(".why").all()[:30]:
        node.hover()
    assert opened.page.evaluate("typeof window.pwned") == "undefined"
    assert opened.page.locator("script").count() == 2
    assert opened.page.locator("img, [onfocus], [onerror]").count() == 0
    for name in (HOSTILE, QUOTED):
        assert opened.page.locator(".legend button", has_text=name).count() == 2
        assert opened.page.locator("tbody th", has_text=name).count() >= 4
    assert opened.said == []


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


CONTRASTS = """(selectors) => selectors.map((selector) => {
  const node = document.querySelector(selector);
  let ground = node;
  while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
  return [getComputedStyle(node).color, getComputedStyle(ground).backgroundColor];
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(open_page: Any, report: Path, scheme: str) -> None:
    opened = open_page(report, color_scheme=scheme)
    opened.page.wait_for_selector(".legend button")
    # Web Content Accessibility Guidelines 2.2, criterion 1.4.3: at least 4.5 to 1.
    found = opened.page.evaluate(CONTRASTS, ["h1", ".sub", ".chip", "thead th", ".why", "button", "footer", "pre"])
    for ink, ground in found:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
    assert (luminance(found[0][1]) > 0.5) == (scheme == "light")


def test_the_theme_can_be_chosen(open_page: Any, report: Path) -> None:
    opened = open_page(report, color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    before, button = opened.page.evaluate(ground), opened.page.locator("#theme")
    assert button.inner_text() == "Theme: auto"
    button.click()
    assert opened.page.evaluate(ground) == before
    button.click()
    assert button.inner_text() == "Theme: dark"
    assert luminance(opened.page.evaluate(ground)) < 0.1


def test_every_stop_of_the_tab_key_is_seen_and_in_order(open_page: Any, report: Path) -> None:
    opened = open_page(report)
    opened.page.wait_for_selector(".legend button")
    stops: list[tuple[str, float]] = []
    for _ in range(80):
        opened.page.keyboard.press("Tab")
        name = opened.focused("node === document.body ? '' : node.id || node.getAttribute('class') || node.tagName")
        if not name:
            break
        style = opened.focused("[getComputedStyle(node).outlineStyle, getComputedStyle(node).outlineWidth]")
        assert style[0] != "none", name
        assert float(style[1].removesuffix("px")) >= 1, name
        box = opened.focused("(() => { const b = node.getBoundingClientRect(); return [b.left, b.top, b.bottom]; })()")
        assert box[0] >= 0, name
        assert box[2] > 0, name
        assert box[1] < 900, name
        stops.append((name, box[1] + opened.page.evaluate("scrollY")))
    else:
        pytest.fail("the Tab key does not come to the end of the page")
    names = [name for name, _ in stops]
    assert names[:2] == ["skip", "theme"]
    # A table is one stop, however many numbers it has, and so is the list of arms of a chart.
    assert len(names) < 60
    assert names.count("why") == opened.page.locator("table:has(.why)").count()
    tops = [top for name, top in stops if name != "skip"]
    assert all(later >= earlier - 60 for earlier, later in itertools.pairwise(tops))


def test_a_number_says_where_it_comes_from_to_the_mouse(open_page: Any, report: Path) -> None:
    opened = open_page(report)
    assert opened.tip() is None
    said = opened.hover(opened.page.locator("#cell-0 .seeds .why").nth(1))
    assert "seed 1" in said
    assert re.search(r"run runs/0-digits/20steps/.+/seed-1", said)
    assert "20 updates" in said
    opened.page.mouse.move(5, 5)
    opened.page.wait_for_selector("#why", state="hidden")


def test_a_number_says_where_it_comes_from_to_the_keyboard(open_page: Any, report: Path) -> None:
    opened = open_page(report)
    number = opened.first_number("#cell-0 .forest")
    number.focus()
    said = opened.tip()
    assert said is not None
    for part in (
        "minus cosine",
        "3 seeds (0, 1, 2)",
        "95 % interval by Student's t",
        "p = ",
        "runs of cosine in runs/",
    ):
        assert part in said
    assert opened.focused("node.getAttribute('aria-describedby')") == "why"
    first = opened.focused("node.textContent")
    opened.page.keyboard.press("ArrowRight")
    assert opened.focused("node.className") == "why"
    assert opened.focused("node.textContent") != first
    row = opened.focused("node.closest('tr').rowIndex")
    opened.page.keyboard.press("ArrowDown")
    assert opened.focused("node.closest('tr').rowIndex") == row + 1
    opened.page.keyboard.press("Escape")
    assert opened.tip() is None
    opened.page.keyboard.press("Home")
    assert opened.focused("node.textContent") == first
    # The table remembers where one was.
    opened.page.keyboard.press("End")
    last = opened.focused("node.textContent")
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Shift+Tab")
    assert opened.focused("node.textContent") == last


def test_arms_are_shown_and_hidden_by_keyboard(open_page: Any, report: Path) -> None:
    opened = open_page(report)
    opened.page.wait_for_selector("[data-chart='0'] svg path.mean")
    drawn = opened.page.locator("[data-chart='0'] .chart").first.locator("path.mean")
    buttons = opened.page.locator("[data-chart='0'] .legend button")
    pressed = lambda: [button.get_attribute("aria-pressed") for button in buttons.all()]  # noqa: E731
    buttons.first.focus()
    assert drawn.count() == 3
    opened.page.keyboard.press("Enter")
    assert pressed() == ["false", "true", "true"]
    assert drawn.count() == 2
    opened.page.keyboard.press("ArrowRight")
    assert opened.focused("node.textContent") == HOSTILE
    opened.page.keyboard.press("Space")
    assert pressed() == ["false", "false", "true"]
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("Shift+Enter")
    assert pressed() == ["true", "true", "true"]  # it was alone, so all come back
    opened.page.keyboard.press("Shift+Enter")
    assert pressed() == ["false", "false", "true"]
    assert opened.said == []


def test_curves_are_read_by_keyboard(open_page: Any, report: Path) -> None:
    opened = open_page(report)
    chart = opened.page.locator("[data-chart='0'] .chart svg").first
    chart.focus()
    opened.page.keyboard.press("End")
    spoken = opened.page.locator("[data-chart='0'] [aria-live]").inner_text()
    assert spoken.startswith("update 19: ")
    assert re.search(r"cosine \d", spoken)
    assert "Arrow keys" in chart.get_attribute("aria-label")
    tip = opened.page.locator("[data-chart='0'] .tip")
    assert tip.is_visible()
    opened.page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_the_profile_says_its_rule(open_page: Any, report: Path) -> None:
    opened = open_page(report)
    section = opened.page.locator("#profile")
    said = section.inner_text()
    assert "Targets by rule" in said
    assert "Target on digits: loss <= " in said
    assert section.locator("figure").count() == 2
    assert section.locator("figure").first.locator("path.mean").count() == 3
    assert "highest score" in section.locator("svg").first.get_attribute("aria-label")
    assert "updates to the target, median over 3 seeds (0, 1, 2)" in opened.hover(section.locator(".why").nth(1))


def test_it_is_read_without_javascript(open_page: Any, report: Path) -> None:
    opened = open_page(report, java_script_enabled=False)
    assert opened.page.locator("#cell-0 table").first.is_visible()
    assert opened.page.locator("#profile svg path.mean").first.is_visible()
    assert opened.page.locator("noscript").count() == 2
    assert not opened.page.locator("#theme").is_visible()
    assert not opened.page.locator("#why").is_visible()
    opened.page.locator("summary", has_text="with their folders").click()
    assert opened.page.get_by_text("runs/0-digits/20steps/cosine/seed-0").is_visible()


def test_a_phone_is_wide_enough(open_page: Any, report: Path) -> None:
    opened = open_page(report, viewport={"width": 360, "height": 740})
    opened.page.wait_for_selector(".legend button")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    opened.first_number("#cell-0 .forest").focus()
    left, right = opened.page.evaluate(
        "(() => { const b = document.getElementById('why').getBoundingClientRect(); return [b.left, b.right]; })()"
    )
    assert left >= 0
    assert right <= 360
