"""Reads the pages that reports and studies write."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """A page: its start tags with their attributes, its text, and its tables as rows of text."""

    def __init__(self, source):
        super().__init__()
        self.source, self.tags, self.text, self.rows = source, [], "", []
        self._is_cell = False
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._is_cell = False

    def handle_data(self, data):
        self.text += data
        if self._is_cell:
            self.rows[-1][-1] += data

    @property
    def pictures(self):
        """The addresses of the pictures."""
        return [attributes["src"] for tag, attributes in self.tags if tag == "img"]

    @property
    def is_self_contained(self):
        """Whether it shows all pictures without another file, and refers to no address."""
        embedded = all(source.startswith("data:image/png;base64,") for source in self.pictures)
        rest = re.sub(r"base64,[^\"]+", "", self.source)
        return embedded and not re.search(r"(?:https?:)?//\w|<link|<script|@import|url\(", rest)
