"""Whether a page stands by itself: what it would fetch or run, and links in it that lead nowhere."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote


class _Page(HTMLParser):
    """Collects what a page would fetch or run, its ids and its own links."""

    LOADS = ("src", "href", "xlink:href", "srcset", "data", "poster", "action", "formaction", "background", "cite")
    TAGS = ("script", "link", "iframe", "object", "embed", "base", "frame")

    def __init__(self, text: str):
        super().__init__()
        self.external, self.ids, self.targets, self._tag = [], set(), [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        if tag in self.TAGS or (tag == "meta" and ("http-equiv", "refresh") in attrs):
            self.external.append(f"<{tag}>")
        for name, value in attrs:
            value = (value or "").strip()
            if name in ("id", "name"):
                self.ids.add(value)
            elif name in self.LOADS and value.startswith("#"):
                self.targets.append(unquote(value[1:]))
            elif name in self.LOADS and value and not value.startswith("data:"):
                self.external.append(f"{name}={value}")
            elif name.startswith("on"):
                self.external.append(f"<{tag} {name}>")
            elif "url(" in value or "@import" in value:
                self.styled(value)

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        if self._tag == "style":
            self.styled(data)

    def handle_endtag(self, tag):
        self._tag = ""

    def styled(self, css: str):
        self.external += re.findall(r"@import[^;]*", css)
        self.external += [f"url({u})" for u in re.findall(r"url\(\s*[\"']?(?!#|data:)([^\"')]*)", css)]


def external_references(html_text: str) -> list[str]:
    """Everything the page would fetch, run or lead away to: addresses, files beside it, scripts, imported styles."""
    return _Page(html_text).external


def dangling_anchors(html_text: str) -> list[str]:
    """The page's links to places in itself that do not exist."""
    page = _Page(html_text)
    return [target for target in page.targets if target not in page.ids]
