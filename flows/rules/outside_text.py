"""
Texts that others wrote, made harmless where they are shown.

Prefect's pages render artifacts as Markdown: what Commerce Layer, a customer or a plug-in wrote must neither become a
link nor an image nor a heading there. Nothing else is escaped, because another page shows the characters as they are.
"""

import re
import unicodedata

LONGEST = 500
"""Characters of one text that are shown."""

_MARKUP = re.compile(r"[\\`*\[\]<>|~]|(?<![^\W_])_|_(?![^\W_])|!(?=\[)|&(?=#?\w+;)")
"""What has a meaning in Markdown or HTML; an underscore inside a word has none."""

_ADDRESS = re.compile(r"(?i)\b(https?|ftp)(?=://)|\bwww(?=\.)|\bmailto(?=:)")
"""What Markdown makes a link of without being asked."""

_AT_THE_BEGINNING = re.compile(r"^(\s*)(#{1,6}(?=\s)|[-+=](?=\s|[-+=])|\d+(?=[.)]\s))")


def plain(text: str) -> str:
    """The text on one line, without control characters and what turns its direction; cut if it is very long."""
    line = " ".join("".join(" " if _is_unseen(each) else each for each in text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def markdown(text: str) -> str:
    """The text as Markdown that shows it as it is."""
    safe = _MARKUP.sub(lambda found: f"\\{found[0]}" if found[0] not in "<>&" else _ENTITIES[found[0]], plain(text))
    safe = _ADDRESS.sub(lambda found: f"{found[0]}\\", safe)
    return _AT_THE_BEGINNING.sub(r"\1\\\2", safe)


_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def _is_unseen(character: str) -> bool:
    """Control characters, line ends, and the marks that reverse or hide what follows."""
    return unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"}
