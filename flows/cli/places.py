"""Where things are: in a clone of the repository, or where a wheel was installed."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent
"""The folder with the packages `flows` and `blocks`."""


def is_clone() -> bool:
    """Whether we run from a clone, in which an operator may change `prefect.yaml`."""
    return (ROOT / "pyproject.toml").is_file()


def deployments_file() -> Path:
    """The `prefect.yaml` to deploy: in a clone a link to the one that an operator changes, in a wheel a copy of it."""
    return PACKAGE / "prefect.yaml"


def deploy_command() -> str:
    """What a person types to deploy, in the folder of the clone or, with a wheel, in any folder."""
    return "prefect deploy --all" if is_clone() else f"prefect deploy --all --prefect-file {deployments_file()}"


def home_of_up() -> Path:
    """The folder of `perennial up`: in a clone, where `make clean` removes it, or with the user's other state."""
    if is_clone():
        return ROOT / ".perennial"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "perennial" / "up"
