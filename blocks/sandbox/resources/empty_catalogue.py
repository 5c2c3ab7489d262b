"""Always empty: what else a catalogue has, and gift cards. `empty_resources.py` explains the notation."""

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
price_tiers
    name up_to:decimal price_amount:money
    -> price
    => attachments event_stores
price_volume_tiers
    name up_to:decimal price_amount:money
    -> price
    => attachments event_stores events
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
stock_line_items
    sku_code bundle_code quantity:integer name image_url
    -> shipment line_item stock_item sku stock_reservation
    => event_stores
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
