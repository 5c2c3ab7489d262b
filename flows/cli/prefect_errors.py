"""The error of a command when the Prefect server that it needs does not answer, or refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.settings import get_current_settings


class PrefectUnavailable(RuntimeError):  # noqa: N818 - the name says what happened
    """Prefect's API cannot be reached, or refused the request. The message names its address and the way out."""


@contextmanager
def calling_prefect() -> Iterator[None]:
    """
    Put this around calls of Prefect's API. The shop's client raises no HTTP errors, so each one here is from Prefect.

    Raises:
        PrefectUnavailable: instead of any of the errors that Prefect's client raises when its server cannot be used.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise PrefectUnavailable(
            f"The Prefect server at {_address()} answered {error.response.status_code}. Check PREFECT_API_URL, and "
            "PREFECT_API_KEY or PREFECT_API_AUTH_STRING if it asks who you are."
        ) from error
    except (httpx.HTTPError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Failed to reach API"):
            raise
        raise PrefectUnavailable(
            f"The Prefect server at {_address()} cannot be reached ({_cause(error)}). Start it, or set "
            "PREFECT_API_URL to the address of yours."
        ) from error


def _address() -> str:
    return str(get_current_settings().api.url or "no address: PREFECT_API_URL is not set")


def _cause(error: Exception) -> str:
    return str(error.__cause__ or error) or type(error).__name__
