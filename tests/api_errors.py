"""What an error document of the API says."""

from __future__ import annotations

from typing import Any


def error(response: Any) -> tuple[int, str]:
    """Status and code of the first error."""
    first = response.json()["errors"][0]
    assert first["status"] == str(response.status_code)
    assert first["title"]
    assert first["detail"]
    return response.status_code, first["code"]
