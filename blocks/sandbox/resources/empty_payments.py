"""Always empty: payments, taxes and the rest. `empty_resources.py` explains the notation."""

from __future__ import annotations

from blocks.sandbox.resources.empty_resources import empty_types

TYPES = empty_types("""
adyen_payments
    public_key payment_methods:json payment_request_data:json payment_request_details:json payment_response:json
    mismatched_amounts:boolean balance:integer expires_at:time closed_at:time payment_instrument:json
    -> order payment_gateway
    => event_stores
attachments
    name description url
    -> attachable:skus
    => event_stores
avalara_accounts
    name username company_code commit_invoice:boolean ddp:boolean
    => markets attachments events event_stores tax_categories
axerve_payments
    login return_url payment_request_data:json client_ip buyer_details:json request_token:boolean
    mismatched_amounts:boolean payment_instrument:json
    -> order payment_gateway
    => event_stores
braintree_payments
    client_token payment_method_nonce payment_id local:boolean options:json payment_instrument:json
    -> order payment_gateway
    => event_stores
checkout_com_payments
    public_key token payment_session:json success_url failure_url source_id customer_token redirect_uri
    payment_response:json mismatched_amounts:boolean payment_instrument:json
    -> order payment_gateway
    => event_stores
customer_groups
    name code
    => customers markets attachments event_stores
customer_subscriptions
    customer_email
    -> customer
    => events event_stores
external_payments
    payment_source_token options:json payment_instrument:json
    -> order payment_gateway wallet:customer_payment_sources
    => event_stores
external_tax_calculators
    name circuit_state circuit_failure_count:integer shared_secret external_includes:list tax_calculator_url
    => markets attachments events event_stores
klarna_payments
    session_id client_token payment_methods:json auth_token mismatched_amounts:boolean payment_instrument:json
    -> order payment_gateway
    => event_stores
line_item_options
    name quantity:integer currency_code unit_amount:money total_amount:money delay_hours:integer
    delay_days:integer options:json
    -> line_item sku_option
    => events tags event_stores
manual_tax_calculators
    name
    => markets attachments events event_stores tax_rules
notifications
    name flash:boolean body:json
    -> notifiable:orders
    => event_stores
payment_gateways
    name force_payments:boolean credential_keys:json disabled_at:time
    => payment_methods event_stores
payment_options
    name payment_source_type data:json
    -> order
    => attachments event_stores
paypal_payments
    return_url cancel_url note_to_payer paypal_payer_id name paypal_id status approval_url
    mismatched_amounts:boolean payment_instrument:json
    -> order payment_gateway
    => event_stores
satispay_payments
    payment_id flow status redirect_url payment_url payment_response:json payment_instrument:json
    -> order payment_gateway
    => event_stores
stripe_tax_accounts
    name commit_invoice:boolean
    => markets attachments events event_stores tax_categories
tax_calculators
    name
    => markets attachments events event_stores
tax_categories
    code sku_code
    -> sku tax_calculator:manual_tax_calculators
    => attachments event_stores
tax_rules
    name tax_rate:decimal freight_taxable:boolean payment_method_taxable:boolean gift_card_taxable:boolean
    adjustment_taxable:boolean breakdown:json country_code_regex not_country_code_regex state_code_regex
    not_state_code_regex zip_code_regex not_zip_code_regex
    -> manual_tax_calculator
    => event_stores
taxjar_accounts
    name
    => markets attachments events event_stores tax_categories
vertex_accounts
    name kind baseurl api_endpoint commit_invoice:boolean token_expires_at:time
    => markets attachments events event_stores
wire_transfers
    payment_instrument:json
    -> order
    => event_stores
""")
