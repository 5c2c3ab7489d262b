"""The resource types of Commerce Layer that the sandbox does not have (schema 7.10)."""

from __future__ import annotations

_NAMES = """
    addresses adjustments adyen_gateways adyen_payments authorizations avalara_accounts axerve_gateways
    axerve_payments bing_geocoders braintree_gateways braintree_payments bundles buy_x_pay_y_promotions captures
    carrier_accounts checkout_com_gateways checkout_com_payments cleanups coupon_codes_promotion_rules
    coupon_recipients coupons custom_promotion_rules customer_password_resets delivery_lead_times
    discount_engine_items discount_engines easypost_pickups exports external_gateways external_payments
    external_promotions external_tax_calculators fixed_amount_promotions fixed_price_promotions flex_promotions
    free_gift_promotions free_shipping_promotions geocoders gift_card_recipients gift_cards google_geocoders
    imports in_stock_subscriptions inventory_models inventory_return_locations inventory_stock_locations
    klarna_gateways klarna_payments line_item_options line_items links manual_gateways manual_tax_calculators
    merchants notifications order_amount_promotion_rules packages parcel_line_items parcels payment_gateways
    payment_methods payment_options paypal_gateways paypal_payments percentage_discount_promotions pickups
    price_frequency_tiers price_list_schedulers price_lists price_tiers price_volume_tiers prices
    promotion_rules promotions refunds reserved_stocks return_line_items satispay_gateways satispay_payments
    shipments shipping_categories shipping_method_tiers shipping_methods shipping_weight_tiers shipping_zones
    sku_list_items sku_list_promotion_rules sku_options skus stock_items stock_line_items stock_reservations
    stock_transfers stores stripe_gateways stripe_tax_accounts talon_one_accounts tax_calculators tax_categories
    tax_rules taxjar_accounts transactions vertex_accounts voids wire_transfers
"""

OTHER_TYPES = frozenset(_NAMES.split())
