"""HTML elements; every text that is not markup is escaped."""

import base64
import html
import re

_VOID = frozenset({"img", "meta", "br", "hr", "input"})
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """The text as HTML shows it; characters no page may hold become U+FFFD."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", str(text)), quote=True))


def join(*parts: object) -> Markup:
    """Parts in a row, escaped unless they are markup; None is left out."""
    return Markup("".join(escape(part) for part in parts if part is not None))


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element with its children and attributes.

    ``class_`` stands for ``class``, other underscores for hyphens; True is an attribute without value,
    None and False leave it out.
    """
    given = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def _attribute(key: str, value: object) -> str:
    key = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {key}" if value is True else f' {key}="{escape(str(value))}"'


def picture(png: bytes, alt: str, class_: str | None = None, width: int | None = None) -> Markup:
    """An image that lies inside the page."""
    source = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return element("img", src=source, alt=alt, class_=class_, width=width)
