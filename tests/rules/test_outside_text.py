import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.rules.outside_text import LONGEST, markdown, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("[pay here](https://evil.example)", r"\[pay here\](https\://evil.example)"),
        ("![x](http://evil.example/p.png)", r"\!\[x\](http\://evil.example/p.png)"),
        ("see www.evil.example", r"see www\.evil.example"),
        ("**all is well**", r"\*\*all is well\*\*"),
        ("`rm`", r"\`rm\`"),
        ("_all_", r"\_all\_"),
        ("a | b", r"a \| b"),
        ("# Heading", r"\# Heading"),
        ("- item", r"\- item"),
        ("&lt;script&gt;", "&amp;lt;script&amp;gt;"),
        ("one\n\n# two", "one # two"),
        ("\x1b[2Jgone", r"\[2Jgone"),
        ("\u202egnp.exe", "gnp.exe"),
    ],
)
def test_text_from_outside_is_shown_literally(text, shown):
    assert markdown(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "card declined; next attempt Mon 2 Mar 06:10 UTC; 2 of 5",
        "SubAbcdefg@2026-03-01T06:00Z",
        "set metadata.perennial.held to false to go on",
        "it has no next_run_at; set one to have it renewed",
        "jane.o'hara+box@example.com",
        "#1001",
        "25.00 EUR",
        "Müller & Søn, 75 %",
    ],
)
def test_plain_sentences_stay_as_they_are(text):
    assert markdown(text) == text == plain(text)


def test_a_long_text_is_cut():
    assert plain("x" * 10_000) == "x" * (LONGEST - 1) + "…"


@given(st.text(max_size=300))
def test_no_text_becomes_a_tag_a_link_or_a_second_line(text):
    shown = markdown(text)
    assert "<" not in shown
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert "](" not in shown.replace("\\]", "")
    assert "http://" not in shown.lower()
    assert "https://" not in shown.lower()
