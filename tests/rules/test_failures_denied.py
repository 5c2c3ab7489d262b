"""A negation before or behind a reason for a hard decline denies it; one that belongs to something else does not."""

from time import process_time

import pytest
from rules.making import POLICY, copy

from flows.rules.failures import classify_copy

ENGLISH = [
    "stolen card", "lost card", "lost or stolen card", "blocked card", "restricted card", "closed account",
    "blocked account", "frozen account", "suspected fraud", "fraudulent", "authentication required",
    "revoked mandate", "expired mandate", "deleted payment token", "stop payment", "hard decline", "unknown card",
]  # fmt: skip
GERMAN = ["gestohlene Karte", "Betrugsverdacht", "Authentifizierung erforderlich"]
FRENCH = ["suspicion de fraude", "carte perdue", "authentification requise"]
REASONS = [*ENGLISH, *GERMAN, *FRENCH, "sospetta frode", "sospecha de fraude", "vermoeden van fraude"]

BEFORE = [
    *(form.format(reason) for form in ("no {}", "without {}", "not a {}", "Refused. No {}") for reason in ENGLISH),
    *(form.format(reason) for form in ("kein {}", "keine {}", "ohne {}", "nicht {}") for reason in GERMAN),
    *(form.format(reason) for form in ("pas de {}", "pas d'{}", "aucune {}", "sans {}") for reason in FRENCH),
    "nessuna sospetta frode", "senza sospetto di frode", "ninguna sospecha de fraude", "geen vermoeden van fraude",
]  # fmt: skip
BEHIND = ["{}: no", "{} = false", "{}: none", "{}=0", "{}? No.", "{}: N", "{}: false, {}: no", "{} - no"]
OF_SOMETHING_ELSE = ["{}: yes", "Approved: no. {}", "paid=false; {}", "{}, retry: no", "{} (approved: false)", "No: {}"]


def is_hard(text):
    log = {"base": [text]}
    return classify_copy(copy("SubAbcdefg@2026-03-01T06:00Z", "failed", errors_log=log), POLICY).permanent


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_that_nobody_denies_is_hard(reason):
    assert is_hard(reason)


@pytest.mark.parametrize("form", BEHIND)
@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_with_a_no_behind_it_is_not_hard(reason, form):
    assert not is_hard(form.replace("{}", reason))


@pytest.mark.parametrize("text", BEFORE)
def test_a_reason_with_a_no_before_it_is_not_hard(text):
    assert not is_hard(text)


@pytest.mark.parametrize("form", OF_SOMETHING_ELSE)
@pytest.mark.parametrize("reason", REASONS)
def test_a_no_that_belongs_to_something_else_leaves_a_reason_hard(reason, form):
    assert is_hard(form.format(reason))


@pytest.mark.parametrize(
    "text",
    [
        "no valid mandate", "no active mandate", "No mandate", "no such card", "no account", "No such issuer",
        "do not retry", "never retry", "mandate not valid", "card not recognised", "Issuer never approves",
        "transaction not allowed", "3D not authenticated", "direct debit not allowed",
    ],
)  # fmt: skip
def test_a_reason_that_is_itself_a_negation_stays_hard(text):
    assert is_hard(text)


@pytest.mark.parametrize(
    "word", ["no ", "not a ", "n=", "no: ", "stolen card ", "without fraud ", "kein d'", "? ", " "]
)
def test_a_long_repetition_of_a_negation_is_read_quickly(word):
    began = process_time()
    is_hard(word * 20_000)
    assert process_time() - began < 5
