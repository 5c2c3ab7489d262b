"""How `make mutants` runs the tests of the rules, once for each fault."""

from collections.abc import Iterator
from time import process_time

import pytest
from hypothesis import Phase, settings

CPU_SECONDS = 10
"""A test that takes longer does not end because of the fault. Without one, none of them takes two seconds."""

# Fewer examples, the same for each fault, and no search for the simplest one: all that counts is whether a test fails.
settings.register_profile(
    "mutants",
    settings.get_profile("perennial"),
    max_examples=30,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate],
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """End the process if the test takes too much CPU time, no matter how busy the machine is: mutmut counts that."""
    if item.config.getoption("--hypothesis-profile") != "mutants":
        return (yield)
    import resource  # Windows has none, nor has it mutmut

    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(process_time()) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        return (yield)
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
