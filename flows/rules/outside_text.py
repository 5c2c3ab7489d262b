"""
Makes texts from outside safe to show.

Prefect's pages render artifacts as Markdown: a text from Commerce Layer, a customer or a plug-in must not become a
link, an image or a heading there. Nothing else is escaped, because another page shows the characters as they are.
"""

import re
import unicodedata

LONGEST = 500
"""How many characters of one text are shown."""

_MARKUP = re.compile(r"[\\`*\[\]<>|~]|(?<![^\W_])_|_(?![^\W_])|!(?=\[)|&(?=#?\w+;)")
"""What has a meaning in Markdown or HTML; an underscore inside a word has none."""

_ADDRESS = re.compile(r"(?i)\b(https?|ftp)(?=://)|\bwww(?=\.)|\bmailto(?=:)")
"""What Markdown turns into a link by itself."""

_AT_THE_BEGINNING = re.compile(r"^(\s*)(#{1,6}(?=\s)|[-+=](?=\s|[-+=])|\d+(?=[.)]\s))")


def plain(text: str) -> str:
    """The text on one line, without control characters and marks that reverse its direction; cut if it is very long."""
    line = " ".join("".join(" " if _is_unseen(each) else each for each in text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def printable(text: str) -> str:
    """The whole text with its lines, without control characters and marks that reverse its direction."""
    return "".join(" " if each != "\n" and _is_unseen(each) else each for each in text)


def markdown(text: str) -> str:
    """Markdown that shows the text unchanged."""
    safe = _MARKUP.sub(lambda found: f"\\{found[0]}" if found[0] not in "<>&" else _ENTITIES[found[0]], plain(text))
    safe = _ADDRESS.sub(lambda found: f"{found[0]}\\", safe)
    return _AT_THE_BEGINNING.sub(r"\1\\\2", safe)


_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def _is_unseen(character: str) -> bool:
    """Control characters, line ends, and the marks that reverse or hide what follows."""
    return unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"}
