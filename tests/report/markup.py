"""A strict look at a page: elements must close in order; what the tests ask about is collected."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "input", "link", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: tuple[str, ...] = ()


class Page(HTMLParser):
    """All elements of a page in order, each with its own text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.feed(source)
        self.close()
        assert not self.open, f"never closed: {self.open[-1].tag}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"attribute twice on {tag}"
        element = Element(tag, {n: v or "" for n, v in attrs}, inside=tuple(e.tag for e in self.open))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.text += data

    def all(self, tag: str, **wanted: str) -> list[Element]:
        return [e for e in self.elements if e.tag == tag and wanted.items() <= e.attributes.items()]


def check_accessible_and_alone(source: str) -> Page:
    """What every page must keep: balanced, no address but links of its own, words for every picture."""
    page = Page(source)
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        assert not {"src", "srcset", "poster", "action"} & element.attributes.keys()
        target = element.attributes.get("href", "#")
        assert "://" not in target
        assert element.tag == "a" or target.startswith(("#", "data:image/png;base64,"))
        if target.startswith("#"):
            assert target == "#" or target[1:] in ids, f"{target} leads nowhere"
    for picture in [*page.all("svg"), *page.all("img")]:
        assert picture.attributes.get("aria-label") or picture.attributes.get("alt")
    assert not page.all("link")
    assert "http:" not in source
    assert "https:" not in source
    assert "@import" not in source
    return page
