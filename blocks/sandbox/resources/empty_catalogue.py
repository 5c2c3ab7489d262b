"""Always empty: the catalogue: SKUs, prices, stock, gift cards. `empty_resources.py` explains the notation."""

from __future__ import annotations

from blocks.sandbox.resources.empty_resources import empty_types

TYPES = empty_types("""
bundles
    code name currency_code description image_url do_not_ship:boolean do_not_track:boolean price_amount:money
    compare_at_amount:money skus_count:integer
    -> market sku_list
    => skus attachments events tags event_stores
gift_card_recipients
    email first_name last_name
    -> customer
    => event_stores attachments
gift_cards
    status code currency_code initial_balance:money balance:money balance_max:money balance_log:json
    usage_log:json single_use:boolean rechargeable:boolean distribute_discount:boolean image_url expires_at:time
    recipient_email
    -> market gift_card_recipient
    => attachments events tags event_stores
inventory_models
    name strategy stock_locations_cutoff:integer stock_reservation_cutoff:integer
    put_stock_transfers_on_hold:boolean manual_stock_decrement:boolean
    => inventory_stock_locations inventory_return_locations attachments event_stores
inventory_return_locations
    priority:integer
    -> stock_location inventory_model
    => event_stores
inventory_stock_locations
    priority:integer on_hold:boolean
    -> stock_location inventory_model
    => event_stores
links
    name client_id scope starts_at:time expires_at:time active:boolean status domain url item_type params:json
    disabled_at:time
    -> item:skus
    => events event_stores
price_frequency_tiers
    name up_to:decimal price_amount:money
    -> price
    => attachments event_stores events
price_list_schedulers
    name starts_at:time expires_at:time active:boolean status disabled_at:time
    -> market price_list
    => events event_stores
price_lists
    name code currency_code tax_included:boolean rule_outcomes:json rules:json resource_payload:json
    => prices price_list_schedulers attachments event_stores
price_tiers
    name up_to:decimal price_amount:money
    -> price
    => attachments event_stores
price_volume_tiers
    name up_to:decimal price_amount:money
    -> price
    => attachments event_stores events
prices
    currency_code sku_code amount:money original_amount:money compare_at_amount:money rule_outcomes:json
    processed_at:time rules:json resource_payload:json jwt_custom_claim:json
    -> price_list sku jwt_customer:customers
    => price_tiers price_volume_tiers price_frequency_tiers attachments jwt_markets:markets
       jwt_stock_locations:stock_locations event_stores
reserved_stocks
    quantity:integer
    -> stock_item sku
    => stock_reservations event_stores
sku_list_items
    position:integer sku_code quantity:integer
    -> sku_list sku
    => event_stores
sku_lists
    name slug description image_url manual:boolean sku_code_regex
    -> customer
    => skus sku_list_items bundles attachments links event_stores
sku_options
    name currency_code description price_amount:money delay_hours:integer delay_days:integer sku_code_regex
    -> market
    => attachments events tags event_stores
skus
    code name description image_url pieces_per_pack:integer weight:decimal unit_of_weight hs_tariff_number
    do_not_ship:boolean do_not_track:boolean inventory:json jwt_custom_claim:json
    -> shipping_category:shipping_categories jwt_customer:customers
    => prices stock_items stock_reservations delivery_lead_times sku_options sku_list_items sku_lists
       attachments links events tags jwt_markets:markets jwt_stock_locations:stock_locations event_stores
stock_items
    sku_code quantity:integer
    -> stock_location sku reserved_stock
    => stock_reservations attachments event_stores
stock_line_items
    sku_code bundle_code quantity:integer name image_url
    -> shipment line_item stock_item sku stock_reservation
    => event_stores
stock_locations
    number:integer name code label_format suppress_etd:boolean
    -> address:addresses
    => inventory_stock_locations inventory_return_locations stock_items stock_transfers stores attachments
       event_stores
stock_reservations
    status quantity:integer expires_at:time
    -> line_item order stock_line_item stock_transfer stock_item reserved_stock sku
    => event_stores
stock_transfers
    number sku_code status quantity:integer on_hold_at:time picking_at:time in_transit_at:time completed_at:time
    cancelled_at:time
    -> sku origin_stock_location:stock_locations destination_stock_location:stock_locations shipment line_item
       stock_reservation
    => attachments events event_stores
""")
