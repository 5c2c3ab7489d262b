"""What the project promises about itself: pins, documents, deployments."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.artifacts import Artifact, acreate_markdown_artifact

from flows.cli.app import COMMANDS
from flows.cli.prefect_server import PrefectServer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def deployments() -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return found


def test_the_lock_pins_every_package_exactly_and_names_no_download_host() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith((" ", "#"))]

    assert requirements
    assert all("==" in line for line in requirements)
    assert not [line for line in lines if "://" in line or line.startswith("-")]


async def test_with_the_pinned_fastapi_the_server_starts_and_accepts_null_filters_from_its_own_client(
    server: PrefectServer,
) -> None:
    await acreate_markdown_artifact("it works", key="pins")

    artifact = await Artifact.aget("pins")  # sends null filters: 422 with fastapi 0.151 and newer

    assert artifact is not None


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", README))))
def test_every_make_target_in_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\bperennial ([a-z]+)(?= )", README))))
def test_every_command_in_the_readme_exists(command: str) -> None:
    assert command in COMMANDS


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_document_that_the_readme_links_to_exists(link: str) -> None:
    assert (ROOT / link).exists()


FUNCTIONS = re.compile(r"`([\w/]+\.py):([\w.]+)`")


def function_in(file: str, function: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    *classes, name = function.split(".")
    scope: list[ast.stmt] = ast.parse((ROOT / file).read_text()).body
    for each in classes:
        scope = next(node.body for node in scope if isinstance(node, ast.ClassDef) and node.name == each)
    functions = [node for node in scope if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return next(node for node in functions if node.name == name)


def named_by(file: str, function: str) -> set[tuple[str, str]]:
    """What a function names, each with the file it is defined in."""
    imported = {
        alias.asname or alias.name: (f"{node.module.replace('.', '/')}.py", alias.name)
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    nodes = [node for line in function_in(file, function).body for node in ast.walk(line)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return {imported.get(name, (file, name)) for name in names}


@pytest.mark.parametrize(("file", "function"), FUNCTIONS.findall(ARCHITECTURE))
def test_every_function_that_the_architecture_page_names_is_in_the_file_it_says(file: str, function: str) -> None:
    assert function_in(file, function)


@pytest.mark.parametrize(("verb", "method"), [("creates", "POST"), ("places", "PATCH")])
def test_the_walk_to_each_request_that_costs_money_is_short_and_each_function_names_the_next(
    verb: str, method: str
) -> None:
    (table,) = re.findall(rf"^### The line that {verb}$(.*?)^#", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    walk = FUNCTIONS.findall(table)

    assert "`flows/renew.py`: `renew`" in README
    assert walk[0] == ("flows/renew.py", "renew")
    for here, (file, function) in pairwise(walk):
        assert (file, function.rpartition(".")[2]) in named_by(*here), f"{here} does not name {function}"
    assert walk[-1][0] == "blocks/commerce_layer/charging.py"
    assert f'`"{method}"`' in table
    assert method in [node.value for node in ast.walk(function_in(*walk[-1])) if isinstance(node, ast.Constant)]
    # `run_task`, in none of the rows, is one call more than the steps between them.
    assert len(walk) <= 6, "calls"
    assert len({"README.md", *(file for file, _ in walk)}) == 4, "files"


@pytest.mark.parametrize("deployment", deployments(), ids=lambda each: str(each["name"]))
def test_every_deployment_has_a_module_entrypoint_to_a_flow_of_the_same_name(deployment: dict[str, object]) -> None:
    module, _, name = str(deployment["entrypoint"]).rpartition(".")

    flow = getattr(import_module(module), name)

    assert isinstance(flow, Flow)
    assert flow.name == deployment["name"]
    assert f"`{flow.name}`" in README or deployment.get("schedules") is None


@pytest.mark.parametrize("deployment", deployments(), ids=lambda each: str(each["name"]))
def test_every_parameter_of_a_deployment_is_explained_in_its_form(deployment: dict[str, object]) -> None:
    module, _, name = str(deployment["entrypoint"]).rpartition(".")

    properties = getattr(import_module(module), name).parameters.properties

    assert [title for title, field in properties.items() if not field.get("description")] == []
