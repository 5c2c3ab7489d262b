"""The recipe in `deploy/`: its settings mean what they should, and the processes of the tests are its containers."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.installation import API_SERVERS, SERVICES, WORKERS, Installation
from cluster.recipe import DEPLOY, settings
from own_postgres import OwnPostgres
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names

from flows.cli.prefect_server import private_settings
from flows.cli.server_sharing import SHARED

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVER, WORKER = settings("server.env"), settings("worker.env")
PROVIDES = {
    "PREFECT_MESSAGING_BROKER": {"Publisher", "Consumer"},
    "PREFECT_MESSAGING_CACHE": {"Cache"},
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": {"CausalOrdering"},
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": {"ConcurrencyLeaseStorage"},
    "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": {"WorkerCleanupQueue"},
}


def of(service: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][service]
    return found


def test_prefect_knows_every_setting() -> None:
    known = _get_valid_setting_names(Settings)

    assert [name for name in (*SERVER, *WORKER, *private_settings(Path(), "")) if _is_unknown(name, known)] == []


def _is_unknown(name: str, known: set[str]) -> bool:
    return name.startswith("PREFECT_") and name not in known


@pytest.mark.parametrize("variable", PROVIDES)
def test_each_module_that_shares_something_has_what_prefect_takes_from_it(variable: str) -> None:
    assert PROVIDES[variable] <= set(dir(import_module(SERVER[variable])))


def test_all_that_servers_must_share_is_set() -> None:
    given = SERVER | of("services")["environment"]

    assert [variable for variable, _ in SHARED.values() if "memory" in given.get(variable, "memory")] == []


def test_events_are_stored_as_fast_as_in_a_trial() -> None:
    trial = private_settings(Path(), "")
    both = {name for name in trial.keys() & SERVER.keys() if "SERVICES" in name}

    assert len(both) == 4
    assert {name: SERVER[name] for name in both} == {name: trial[name] for name in both}


def test_runs_are_kept_for_90_days_and_events_of_task_runs_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in SERVER.items():
        monkeypatch.setenv(name, text)

    server = Settings().server  # fails if a value cannot be read
    kept = server.services.db_vacuum

    assert server.events.retention_period.days == 7
    assert kept.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert kept.retention_period.days == 90
    days = {name: each.days for name, each in kept.event_retention_overrides.items()}
    assert {days[f"prefect.task-run.{state}"] for state in ("Running", "Completed", "Failed")} == {1}


def test_the_processes_of_the_tests_have_the_commands_of_the_containers(tmp_path: Path) -> None:
    programs = Installation(tmp_path, OwnPostgres("none")).programs

    assert set(programs) == {*API_SERVERS, SERVICES, *WORKERS}
    for name, program in programs.items():
        arguments = " ".join(program.command).partition("-m ")[2]
        with_host = re.sub(r"--host \S+ --port \S+", "--host 0.0.0.0 --port 4200", arguments)
        assert re.sub(r" --name \S+", "", with_host) == of(name)["command"]
        assert of(name)["env_file"] == ("worker.env" if name in WORKERS else "server.env")


def test_the_processes_of_the_tests_have_the_variables_of_the_containers(tmp_path: Path) -> None:
    programs = Installation(tmp_path, OwnPostgres("none")).programs

    for name, program in programs.items():
        assert set(of(name)["environment"]) <= set(program.environment)


def test_what_a_person_starts_and_waits_for_has_a_queue_of_its_own() -> None:
    deployments = yaml.safe_load((DEPLOY.parent / "prefect.yaml").read_text())["deployments"]
    queues = {each["name"]: each["work_pool"].get("work_queue_name") for each in deployments}

    assert {name for name, queue in queues.items() if queue is not None} == {"reorder"}
    assert f"work-queue create {queues['reorder']} --pool perennial --priority 1" in (DEPLOY / "set-up.sh").read_text()


def test_no_password_is_written_down() -> None:
    text = "".join(file.read_text() for file in DEPLOY.iterdir())

    assert set(re.findall(r"PASSWORD\S*: (\S+)", text)) == {"${POSTGRES_PASSWORD:?}"}
