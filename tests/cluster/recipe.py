"""The settings that `deploy/` gives to servers and workers. The plain processes here run with the same ones."""

from __future__ import annotations

from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def settings(file: str) -> dict[str, str]:
    """The variables of an env file, as a container gets them."""
    lines = (line.strip() for line in (DEPLOY / file).read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: text for name, _, text in pairs}
