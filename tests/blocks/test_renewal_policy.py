from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.policy import Policy
from blocks.renewal_policy import RenewalPolicy


class TestTheBlockMeetsPrefectsStandard(BlockStandardTestSuite):
    @pytest.fixture
    def block(self):
        return RenewalPolicy

    def test_has_a_valid_image(self, block):
        # Prefect's own version downloads the logo, and tests may only use loopback.
        assert str(block._logo_url).startswith("https://")


def test_the_block_offers_every_field_of_the_policy_and_no_other():
    assert set(RenewalPolicy.model_fields) == set(Policy.model_fields)


def test_an_unchanged_block_gives_the_default_policy():
    assert RenewalPolicy().plain() == Policy()


def test_the_policy_has_the_values_that_were_entered():
    fields = {
        "time_zone": "Europe/Rome",
        "retry_at": "08:00",
        "final_actions": {"stock": "skip_period"},
        "failure_patterns": {"warehouse .* shut": "stock"},
        "payment_retries": ["12h", "3d"],
    }
    assert RenewalPolicy(**fields).plain() == Policy(**fields)


def test_a_policy_survives_being_stored_as_json():
    policy = RenewalPolicy(retry_at="08:00", final_actions={"stock": "skip_period"})
    assert RenewalPolicy.model_validate_json(policy.model_dump_json()).plain() == policy.plain()


def test_an_invalid_value_is_refused_when_it_is_entered():
    with pytest.raises(ValidationError, match="second_wave is 5, smaller than first_wave"):
        RenewalPolicy(second_wave=5)


def test_an_invalid_value_that_was_set_later_is_refused_when_the_policy_is_read():
    policy = RenewalPolicy()
    policy.brake_share = 7
    with pytest.raises(ValidationError, match="brake_share"):
        policy.plain()


def test_the_form_has_its_fields_in_the_order_of_the_policy():
    schema = RenewalPolicy.model_json_schema()
    assert list(schema["properties"]) == list(Policy.model_fields)
    assert schema["properties"]["catch_up"]["enum"] == ["latest", "all", "skip"]


def test_the_form_explains_how_to_write_a_failure_pattern():
    field = RenewalPolicy.model_json_schema()["properties"]["failure_patterns"]
    assert '"payment, hard"' in field["description"]
    assert '"payment, soft"' in field["description"]


def test_a_stored_block_keeps_its_failure_patterns():
    policy = RenewalPolicy(failure_patterns={"conto bloccato": "payment, hard", "warehouse shut": "stock"})
    stored = policy.model_dump(mode="json")
    assert stored["failure_patterns"] == {"conto bloccato": "payment, hard", "warehouse shut": "stock"}
    assert RenewalPolicy.model_validate(stored).plain() == policy.plain()


def test_a_block_that_an_earlier_version_stored_is_read_without_its_retired_fields():
    stored = {**RenewalPolicy(payment_retries=["12h"]).model_dump(mode="json"), "tag_target_orders": True}
    assert RenewalPolicy.model_validate(stored).plain() == Policy(payment_retries=["12h"])


@pytest.mark.parametrize("kind", [RenewalPolicy, CommerceLayerCredentials])
@pytest.mark.parametrize("asked", [{}, {"by_alias": False}, {"mode": "serialization"}])
def test_the_cached_schema_is_the_one_that_prefect_makes(kind: type[Block], asked: dict[str, Any]) -> None:
    made_by_prefect = Block.model_json_schema.__func__(kind, **asked)
    kind.model_json_schema(**asked).clear()  # a caller who changes the answer changes only its own
    assert kind.model_json_schema(**asked) == made_by_prefect
