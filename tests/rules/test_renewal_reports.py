"""The report of a span: each renewal counts once, by what happened inside the span."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from rules.making import subscription
from rules.past import MARCH, NOW, SHOP, past

from blocks.policy import FailureClass, Policy
from flows.rules.history import PastRenewal
from flows.rules.renewal_reports import RenewalReport, Standing, report_of, total
from flows.rules.report_texts import amounts, facts, markdown_of, sentence, title
from flows.rules.spans import Span, span_of


def reported(*renewals: PastRenewal, span: Span = MARCH, **states) -> RenewalReport:
    subscriptions = {key: subscription(state, id=key) for key, state in states.items()}
    return report_of(renewals, subscriptions, span, Policy(), NOW)


def test_renewals_count_as_at_once_recovered_or_not_recovered() -> None:
    report = reported(
        past(1, placed="2026-03-01T06:05"),
        past(2, "2026-03-01T06:05", placed="2026-03-02T06:05", cents=2000),
        past(3, "2026-03-01T06:05", "2026-03-02T06:05", currency="USD"),
        past(4),
    )

    assert [each.of.subscription_id for each in report.renewed] == ["Sub1", "Sub2"]
    assert [each.renewal.of.subscription_id for each in report.recovered] == ["Sub2"]
    assert [each.renewal.of.subscription_id for each in report.not_recovered] == ["Sub3"]
    assert (report.by_retries.orders, amounts(report.by_retries)) == (1, "20.00 EUR")
    assert sentence(report) == "2 renewed, 1 of them after a failed attempt; 1 failed and not renewed by the end"


def test_what_happened_outside_the_span_is_not_counted_in_it() -> None:
    before = past(1, "2026-02-25T06:00", placed="2026-02-26T06:00")
    begun_before = past(2, "2026-02-25T06:00", placed="2026-03-02T06:00")
    after = past(3, "2026-03-31T06:00", "2026-04-01T06:00", placed="2026-04-02T06:00")
    later = past(4, "2026-04-01T06:00")

    report = reported(before, begun_before, after, later)

    assert [each.renewal.of.subscription_id for each in report.at_risk] == ["Sub2", "Sub3"]
    assert [(row.number, row.made, row.renewed.orders) for row in report.attempts] == [(1, 1, 0), (2, 1, 1)]
    assert [each.standing for each in report.at_risk] == [Standing.RECOVERED, Standing.RECOVERED_SINCE]


def test_recoveries_are_counted_by_class_and_by_attempt() -> None:
    report = reported(
        past(1, "2026-03-01T06:00", placed="2026-03-02T06:00"),
        past(2, "2026-03-01T06:00", "2026-03-02T06:00", placed="2026-03-05T06:00"),
        past(3, "2026-03-01T06:00", placed="2026-03-02T06:00", by_customer=True),
        past(4, "2026-03-01T06:00", words="is out of stock"),
    )

    payment, other = report.classes
    assert (payment.cls, payment.at_risk.orders, payment.recovered.orders) == (FailureClass.PAYMENT, 3, 3)
    assert (dict(payment.by_attempt), payment.by_customer) == ({2: 1, 3: 1}, 1)
    assert (other.at_risk.orders, other.recovered.orders) == (1, 0)
    assert report.by_customers.orders == 1
    assert [(row.number, row.made, row.renewed.orders) for row in report.attempts] == [(1, 4, 0), (2, 2, 1), (3, 1, 1)]


def test_a_recovery_whose_failures_left_no_errors_is_known_by_the_attempt_on_its_order() -> None:
    renewal = past(1, placed="2026-03-05T06:00")
    assert renewal.order is not None
    renewal.order.metadata["perennial"] |= {"attempt": 2, "failures": {"transient": 1}}

    (only,) = reported(renewal).recovered

    assert (only.cls, only.attempt) == (FailureClass.TRANSIENT, 2)


def test_those_that_were_not_recovered_stand_as_their_subscriptions_say() -> None:
    failed = [past(number, "2026-03-01T06:05") for number in range(1, 8)]
    period = {"period": "2026-03-01T06:00Z"}

    report = reported(
        *failed,
        Sub1=period | {"held": True},
        Sub2=period | {"next_attempt_at": "2026-04-07T06:00Z"},
        Sub3=period | {"done_through": "2026-03-01T06:00Z"},
        Sub4=period,
        Sub5={"v": "broken"},
        Sub6=period | {"held": True},
    )
    cancelled = {"Sub6": subscription(period, id="Sub6", status="cancelled")}

    stands = {each.renewal.of.subscription_id: each.standing for each in report.at_risk}
    assert stands == {
        "Sub1": Standing.HELD, "Sub2": Standing.RETRY_SCHEDULED, "Sub3": Standing.GIVEN_UP, "Sub4": Standing.UNDER_WAY,
        "Sub5": Standing.HELD, "Sub6": Standing.HELD, "Sub7": Standing.GIVEN_UP,
    }  # fmt: skip
    (gone,) = report_of([failed[5]], cancelled, MARCH, Policy(), NOW).at_risk
    assert gone.standing is Standing.GIVEN_UP


def test_a_refunded_renewal_counts_as_renewed_and_is_named_as_lost() -> None:
    report = reported(past(1, placed="2026-03-01T06:05", payment_status="refunded"))

    assert (len(report.renewed), amounts(total(report.lost))) == (1, "10.00 EUR")


def test_days_are_those_of_the_merchant_and_each_amount_is_on_one_of_them() -> None:
    rome = ZoneInfo("Europe/Rome")
    span = span_of(date(2026, 3, 28), date(2026, 3, 30), rome)  # clocks change on the 29th
    renewals = [
        past(1, "2026-03-28T22:30", placed="2026-03-28T23:30"),
        past(2, placed="2026-03-30T21:59"),
        past(3, "2026-03-29T22:30"),
    ]

    report = report_of(renewals, {}, span, Policy(time_zone="Europe/Rome"), NOW)

    days = [(row.day.day, row.first, row.recovered.orders, row.failed, row.at_risk.orders) for row in report.days]
    assert days == [(28, 0, 0, 1, 1), (29, 0, 1, 0, 0), (30, 1, 0, 1, 1)]
    assert title(report) == "28 March to 30 March 2026"


def test_days_that_are_still_to_come_are_left_out() -> None:
    span = Span(NOW - timedelta(days=2), NOW + timedelta(days=20))

    assert len(reported(span=span).days) == 3
    assert sentence(reported(span=span)) == "no renewal was made or failed"


def test_the_markdown_escapes_what_comes_from_outside_and_lists_the_highest_amounts_first() -> None:
    odd = past(1, "2026-03-01T06:05", customer_email="<img src=x>|[a](http://evil.example)", cents=100)
    others = [past(number, "2026-03-01T06:05", cents=5000 + number) for number in range(2, 28)]

    text = markdown_of(reported(odd, *others), SHOP)

    assert "<img" not in text
    assert text.index("Sub27@") < text.index("Sub26@")
    assert "and 2 more" in text
    assert "https://dashboard.commercelayer.io/live/your-shop/apps/orders/list/Ord27" in text
    assert "&lt;img" in markdown_of(reported(odd), SHOP)


def test_the_figures_for_machines_add_up() -> None:
    report = reported(
        past(1, placed="2026-03-01T06:05"),
        past(2, "2026-03-01T06:05", placed="2026-03-02T06:05"),
        past(3, "2026-03-01T06:05"),
    )

    said = facts(report, SHOP)

    assert said["at_risk"]["renewals"] == said["recovered"]["renewals"] + said["not_recovered"]["renewals"] == 2
    assert said["renewed"] == {"renewals": 2, "cents": {"EUR": 2000}}
    assert sum(day["renewed_at_once"] + day["recovered"]["renewals"] for day in said["days"]) == 2
    assert sum(attempt["made"] for attempt in said["attempts"]) == 4
    assert said["classes"][0]["standing"] == {"recovered": 1, "given_up": 1}
