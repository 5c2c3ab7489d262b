"""Always empty: delivery and returns. `empty_resources.py` explains the notation."""

from __future__ import annotations

from blocks.sandbox.resources.empty_resources import empty_types

TYPES = empty_types("""
carrier_accounts
    name easypost_type easypost_id credentials:json
    -> market
    => attachments event_stores
delivery_lead_times
    min_hours:integer max_hours:integer min_days:integer max_days:integer
    -> stock_location shipping_method
    => attachments event_stores
geocoders
    name
    => markets addresses attachments event_stores
merchants
    name
    -> address:addresses
    => attachments event_stores
packages
    name code length:decimal width:decimal height:decimal unit_of_length
    -> stock_location
    => parcels attachments event_stores
parcel_line_items
    sku_code bundle_code quantity:integer name image_url
    -> parcel stock_line_item
    => event_stores
parcels
    number weight:decimal unit_of_weight eel_pfc contents_type contents_explanation customs_certify:boolean
    customs_signer non_delivery_option restriction_type restriction_comments customs_info_required:boolean
    shipping_label_url shipping_label_file_type shipping_label_size shipping_label_resolution tracking_number
    tracking_status tracking_status_detail tracking_status_updated_at:time tracking_details:json
    carrier_weight_oz signed_by incoterm delivery_confirmation
    -> shipment package
    => parcel_line_items attachments events event_stores
pickups
    status internal_id
    -> shipment
    => parcels events event_stores
return_line_items
    sku_code bundle_code quantity:integer name image_url total_amount:money return_reason:json restocked_at:time
    -> return line_item
    => event_stores
returns
    number status customer_email skus_count:integer approved_at:time cancelled_at:time shipped_at:time
    rejected_at:time received_at:time refunded_at:time archived_at:time estimated_refund_amount:money
    -> order customer stock_location origin_address:addresses destination_address:addresses
       reference_capture:captures reference_refund:refunds
    => return_line_items attachments resource_errors events tags event_stores
shipping_categories
    name code
    => skus attachments event_stores
shipping_method_tiers
    name up_to:decimal price_amount:money
    -> shipping_method
    => attachments event_stores
shipping_methods
    name scheme currency_code external_prices_url price_amount:money free_over_amount:money use_subtotal:boolean
    price_amount_for_shipment:money min_weight:decimal max_weight:decimal unit_of_weight tax_code
    disabled_at:time circuit_state circuit_failure_count:integer shared_secret external_includes:list
    -> market shipping_zone shipping_category:shipping_categories stock_location
       delivery_lead_time_for_shipment:delivery_lead_times
    => shipping_method_tiers shipping_weight_tiers attachments notifications events tags event_stores
shipping_weight_tiers
    name up_to:decimal price_amount:money
    -> shipping_method
    => attachments event_stores events
shipping_zones
    name country_code_regex not_country_code_regex state_code_regex not_state_code_regex zip_code_regex
    not_zip_code_regex
    => attachments event_stores
stores
    name code
    -> market merchant stock_location
    => orders payment_methods events event_stores
""")
