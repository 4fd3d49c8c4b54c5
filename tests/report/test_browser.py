"""Pages in a real browser: nothing in the console, nothing wider than the window, text that stays text."""

from __future__ import annotations

import pytest

from meddistill.report import write_report
from tests.browser import browser, needs_browser
from tests.report.builders import build_run
from tests.report.study_pages import ROWS, study_page

pytestmark = needs_browser

HOSTILE = "<script>document.title = \"broken\"</script> & 'co'"
DESKTOP, PHONE = 1280, 390


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    place = tmp_path_factory.mktemp("pages")
    rows = (HOSTILE, "a_very_long_name_of_a_row_without_any_space_in_it", *ROWS)
    return {
        "study": study_page(place / "study", rows, first_case=HOSTILE),
        "run": write_report(build_run(place / "run", first_case=HOSTILE)),
    }


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("kind", ["study", "run"])
def test_a_page_fits_its_window_and_names_stay_text(tab, pages, kind, width):
    tab.open(pages[kind], width)
    assert tab.trouble == []
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value("document.title").endswith("· meddistill")
    assert tab.value("document.scripts.length") == 1
    assert HOSTILE in tab.value("document.body.textContent")


def test_nothing_is_loaded(tab, pages):
    tab.open(pages["study"], DESKTOP)
    addresses = tab.value("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [address for address in addresses if not address.startswith("data:")] == []


def test_the_keyboard_skips_to_the_content_and_sorts_a_table(tab, pages):
    tab.open(pages["study"], DESKTOP)
    tab.press("Tab", 9)
    assert tab.value("document.activeElement.className") == "skip"
    assert tab.value("document.activeElement.getBoundingClientRect().left") >= 0
    assert tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    heading = "document.querySelector('#score-table thead th:nth-child(2)')"
    tab.value(f"{heading}.querySelector('button').focus()")
    tab.press("Enter", 13)
    assert tab.value(f"{heading}.getAttribute('aria-sort')") == "ascending"
    cells = "[...document.querySelectorAll('#score-table tbody td:nth-child(2)')]"
    values = tab.value(f"{cells}.map((cell) => Number(cell.dataset.value))")
    assert values == sorted(values)
    tab.press("Enter", 13)
    assert tab.value(f"{cells}.map((cell) => Number(cell.dataset.value))") == sorted(values, reverse=True)


def test_every_wide_table_can_be_reached_and_scrolled_by_keyboard(tab, pages):
    tab.open(pages["study"], PHONE)
    wide = (
        "[...document.querySelectorAll('main *')].filter((e) => e.scrollWidth > e.clientWidth + 1 && "
        "['auto', 'scroll'].includes(getComputedStyle(e).overflowX))"
    )
    assert tab.value(f"{wide}.length") > 0
    assert tab.value(f"{wide}.every((e) => e.tabIndex === 0 && e.getAttribute('aria-label'))")


def test_links_and_buttons_are_large_enough_for_a_finger(tab, pages):
    tab.open(pages["study"], PHONE)
    small = (
        "[...document.querySelectorAll('nav a, thead button, summary, .files a')]"
        ".filter((e) => e.getBoundingClientRect().height < 24).length"
    )
    assert tab.value(small) == 0


def test_on_paper_tables_are_whole_and_navigation_is_gone(tab, pages):
    tab.open(pages["study"], DESKTOP)
    tab.send("Emulation.setEmulatedMedia", media="print")
    assert tab.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.value("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    tab.send("Emulation.setEmulatedMedia", media="")
