"""Messages of Stripe, Adyen, Braintree, Checkout.com, PayPal and Commerce Layer, and how they must be classified."""

import pytest
from rules.making import POLICY, copy

from flows.rules.failures import classify_copy

HARD = """
stolen_card | lost_card | pickup_card | restricted_card | do_not_try_again | fraudulent | incorrect_number
invalid_number | invalid_account | revocation_of_authorization | transaction_not_allowed | authentication_required
Your card number is incorrect. | The card number is not a valid credit card number. | Your card was reported stolen.
The card, or account the card is connected to, is invalid.
Your card was declined. This transaction requires authentication.
The customer can't use this card (it's possible it was reported lost or stolen). | The payment requires_action
This payment requires additional user action before it can be completed successfully. | Acquirer Fraud | FRAUD
FRAUD-CANCELLED | Issuer Suspected Fraud | Blocked Card | Restricted Card | Invalid Card Number
3D Not Authenticated | Transaction Not Permitted | Revocation Of Auth
Transaction blocked by Adyen to prevent excessive retry fees | Processor Declined - Possible Lost Card
Processor Declined - Possible Stolen Card | Processor Declined - Fraud Suspected | Invalid Credit Card Number
No Account | No Such Issuer | Cardholder Stopped Billing | Cardholder Stopped All Billing
Error - Do Not Retry, Call Issuer | Call Issuer. Pick Up Card | Card reported as lost or stolen
CARD REPORTED LOST/STOLEN | PayPal Buyer Revoked Pre-Approved Payment Authorization
Payer Account Is Locked Or Closed | Gateway Rejected: fraud | Cardholder Authentication Required
Card should be captured | Lost card - Pick up | Closed account | Suspected fraud
Invalid account number (no such number) | Transaction not permitted to cardholder | PAYER_ACTION_REQUIRED
The requested billing agreement is already cancelled. | Cardholder failed 3DS authentication
Mandate revoked by the customer | R1 | 57 | 57 : Transaction not permitted | R0: stop | Declined (R3) | Refused (43)
network_decline_code: 04 | response code 14 | MAC 03 | MAC: 21 | Declined. Merchant advice code: 03
network_advice_code 21 | Payment Cancellation | The payment was declined because it is suspected to be fraudulent.
Declined by the issuer for fraud
"""

SOFT = """
Not enough balance | insufficient balance | Insufficient credit | Your card has insufficient funds.
Insufficient Funds | Invalid card security code | Your card's security code is incorrect. | incorrect_cvc
invalid_cvc | CVC Declined | CVV2 mismatch | Declined for CVV2 failure | incorrect_zip | AVS Declined
Address Verification Failed | Card Issuer Declined CVV | Your card has expired. | expired_card | Expired Card
invalid_expiry_year: card | Your card's expiration month is invalid. | Do Not Honor | generic_decline
Your card was declined. Try again later. | call_issuer | Refer to card issuer | Refused
Your card is not supported. | Your card does not support this type of purchase. | Invalid card type | Invalid Pin
The card does not support the specified currency. | Limit Exceeded | Cardholder's Activity Limit Exceeded
Bank decline | Exceeds withdrawal amount limit | withdrawal_count_limit_exceeded | Withdrawal amount exceeded
PayPal Transaction Limit Exceeded | Voice Authorization Required | Duplicate Transaction | Security Violation
Transaction not permitted to terminal | Gateway Rejected: risk_threshold | TRANSACTION_REFUSED
The instrument presented was declined by the processor or bank | Your PayPal account is locked
The payment was refused | Declined 12 times | Do not retry too soon: declined | not approved
Invalid card expiration date | payment_cancelled | card_velocity_exceeded | Fraud review pending for this payment
The payment method is unavailable | Duplicate card transaction 57 minutes ago
"""

STOCK = """
is out of stock | out_of_stock | Temporarily out of stock | sold out | not enough stock | insufficient inventory
SKU A1 has not enough items | quantity must be less than or equal to 3
"""

COUPON = """
gift card has expired | gift-card has expired | giftcard expired | Your gift card was stolen
The gift card was declined | Gift card: not enough balance | coupon has insufficient usages | expired coupon
The promotion code is not valid | lost gift card
"""

CATALOGUE = """
SKU TSHIRT01 is unavailable in this market | Product not available | This item is unavailable | no shipping methods
price can't be found | market is disabled | shipping_address can't be blank | Invalid SKU Number
stock_location can't be blank | Invalid API Key provided | Authentication failure: invalid API key
tax_calculator must exist | SKU 57 is gone | R1: sku not found
"""

TRANSIENT = """
issuer fraud check timed out | Card processor: connection lost | card network connection was lost, try again
The connection to the card network was lost | lost card processor connection | Lost the connection to the bank
fraud check service unavailable | Fraud service timed out | request rejected: fraud check service unavailable
possible fraud service timeout | An error occurred while processing your card. Try again in a little bit.
processing_error | Issuer Unavailable | issuer_not_available | The card issuer could not be reached | Acquirer Error
System malfunction | Connection refused | Issuer unavailable or switch inoperative | Response received too late
Processor Network Unavailable - Try Again | stock service unavailable | The payment gateway did not answer in time.
lock_timeout | Rate limit exceeded | api request limit exceeded | Gift service unavailable
The service is temporarily unavailable | Record is locked | Internal error | gateway_timeout
"""


def said(table):
    return [text.strip() for line in table.strip().splitlines() for text in line.split(" | ")]


def told(cls, table, *, permanent=False):
    return [(text, cls, permanent) for text in said(table)]


OF_PAYMENTS = [*told("payment", HARD, permanent=True), *told("payment", SOFT), *told("transient", TRANSIENT)]
OF_ORDERS = [*told("stock", STOCK), *told("coupon", COUPON), *told("catalogue", CATALOGUE)]


def reading(attribute, text):
    log = {attribute: [text]}
    failure = classify_copy(copy("SubAbcdefg@2026-03-01T06:00Z", "failed", errors_log=log), POLICY)
    return str(failure.cls), failure.permanent


@pytest.mark.parametrize(("text", "cls", "permanent"), [*OF_PAYMENTS, *OF_ORDERS])
def test_messages_of_gateways_are_classified_correctly(text, cls, permanent):
    assert reading("base", text) == (cls, permanent)


@pytest.mark.parametrize(("text", "cls", "permanent"), OF_PAYMENTS)
def test_a_message_about_the_payment_source_is_classified_in_the_same_way(text, cls, permanent):
    assert reading("payment_source", text) == (cls, permanent)


@pytest.mark.parametrize("attribute", ["quantity", "line_items", "sku_code", "market"])
@pytest.mark.parametrize("text", ["57", "12", "R1", "must be 14 or less"])
def test_a_number_that_is_no_card_network_code_is_not_a_hard_decline(attribute, text):
    assert reading(attribute, text)[1] is False
