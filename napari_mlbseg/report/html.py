"""HTML in which every text is escaped, whoever wrote it; only what is made here is markup."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final


class Markup(str):
    """A text that is HTML already."""

    __slots__ = ()


Child = Markup | str | int
_EMPTY: Final = ("img", "meta")
"""Elements without an end."""


def element(tag: str, *children: Child, **attributes: str | int) -> Markup:
    """An element; texts inside and values of attributes are escaped.

    >>> element("p", "a < b", element("b", "!"), title='"')
    '<p title="&quot;">a &lt; b<b>!</b></p>'
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
    )
    if tag in _EMPTY:
        return Markup(f"<{tag}{said}>")
    return Markup(f"<{tag}{said}>{''.join(map(_inside, children))}</{tag}>")


def _inside(child: Child) -> str:
    return child if isinstance(child, Markup) else escape(str(child))


def section(title: str, *children: Child) -> Markup:
    """A part of the page with its heading."""
    return element("section", element("h2", title), *children)


def table(heads: Sequence[str], rows: Iterable[Sequence[Child]]) -> Markup:
    """A table; numbers stand at the right."""
    head = element("tr", *(element("th", name) for name in heads))
    body = (element("tr", *map(_cell, row)) for row in rows)
    return element("table", element("thead", head), element("tbody", *body))


def _cell(child: Child) -> Markup:
    return element("td", child, class_="number") if isinstance(child, int) else element("td", child)
