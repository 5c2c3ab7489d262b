"""Always empty: promotions, coupons and discounts. `empty_resources.py` explains the notation."""

from __future__ import annotations

from blocks.sandbox.resources.empty_resources import empty_types

_PROMOTION = """
    name currency_code exclusive:boolean priority:integer starts_at:time expires_at:time
    total_usage_limit:integer total_usage_count:integer total_usage_reached:boolean active:boolean status
    weight:decimal coupons_count:integer disabled_at:time
"""
_ITS_RELATIONSHIPS = """
    -> market order_amount_promotion_rule sku_list_promotion_rule coupon_codes_promotion_rule
       custom_promotion_rule sku_list
    => promotion_rules coupons attachments events tags event_stores
"""
"""What the kinds of promotions have in common."""

TYPES = empty_types(f"""
adjustments
    name currency_code amount:money distribute_discount:boolean
    => event_stores
buy_x_pay_y_promotions
    {_PROMOTION} x:integer y:integer cheapest_free:boolean
    {_ITS_RELATIONSHIPS} skus
coupon_codes_promotion_rules
    -> promotion:percentage_discount_promotions
    => event_stores coupons
coupon_recipients
    email first_name last_name
    -> customer
    => event_stores attachments
coupons
    code customer_single_use:boolean usage_limit:integer usage_count:integer recipient_email expires_at:time
    -> promotion_rule:coupon_codes_promotion_rules coupon_recipient
    => events tags event_stores
custom_promotion_rules
    filters:json
    -> promotion:percentage_discount_promotions
    => event_stores
discount_engine_items
    body:json
    -> discount_engine order
    => event_stores
discount_engines
    name manage_gift_cards:boolean
    => markets discount_engine_items attachments event_stores
external_promotions
    {_PROMOTION} circuit_state circuit_failure_count:integer
    shared_secret external_includes:list promotion_url
    {_ITS_RELATIONSHIPS} skus
fixed_amount_promotions
    {_PROMOTION} fixed_amount:money
    {_ITS_RELATIONSHIPS} skus
fixed_price_promotions
    {_PROMOTION} fixed_amount:money
    {_ITS_RELATIONSHIPS} skus
flex_promotions
    name exclusive:boolean priority:integer starts_at:time expires_at:time total_usage_limit:integer
    total_usage_count:integer active:boolean status rules:json rule_outcomes:json disabled_at:time
    resource_payload:json
    -> coupon_codes_promotion_rule
    => coupons attachments events tags event_stores
free_gift_promotions
    {_PROMOTION} max_quantity:integer
    {_ITS_RELATIONSHIPS} skus
free_shipping_promotions
    {_PROMOTION}
    {_ITS_RELATIONSHIPS}
order_amount_promotion_rules
    order_amount:money use_subtotal:boolean
    -> promotion:percentage_discount_promotions
    => event_stores
percentage_discount_promotions
    {_PROMOTION} percentage:decimal
    {_ITS_RELATIONSHIPS} skus
promotion_rules
    -> promotion:percentage_discount_promotions
    => event_stores
promotions
    {_PROMOTION}
    {_ITS_RELATIONSHIPS}
sku_list_promotion_rules
    all_skus:boolean min_quantity:integer
    -> promotion:percentage_discount_promotions sku_list
    => event_stores skus
""")
