"""What orders and customers are related to: addresses, shipments, payment methods, transactions."""

from __future__ import annotations

from blocks.sandbox.resources.definitions import TAG_TRIGGERS, resource_type

# A seeded customer has an address that is not stored until it is changed.
ADDRESSES = resource_type(
    "addresses",
    """
    business        boolean  cu     DEFAULT 0
    first_name      text     cufs
    last_name       text     cufs
    company         text     cuf
    full_name       text     f      AS (COALESCE(company, first_name || ' ' || last_name, last_name, first_name))
    line_1          text     cufr
    line_2          text     cuf
    city            text     cufsr
    zip_code        text     cuf
    state_code      text     cufs
    country_code    text     cufsr
    phone           text     cufr
    full_address    text     f      AS (line_1 || ', ' || COALESCE(zip_code || ' ', '') || city || ' ' || country_code)
    name            text     f      AS (full_name || ', ' || full_address)
    email           text     cuf
    notes           text     cu
    lat             decimal  cu
    lng             decimal  cu
    is_localized    boolean  -      AS (lat IS NOT NULL AND lng IS NOT NULL)
    is_geocoded     boolean  -      DEFAULT 0
    provider_name   text     -
    map_url         text     -
    static_map_url  text     -
    billing_info    text     cuf
    """,
    """
    geocoder      ->  geocoders     -            f
    tags          <=> tags          tag_id       cuf
    events        =>  events        resource_id  f
    event_stores  =>  event_stores  resource_id  x
    """,
    triggers=TAG_TRIGGERS,
    rows="stored_addresses",
)

CUSTOMER_ADDRESSES = resource_type(
    "customer_addresses",
    """
    name            text  f
    customer_email  text  f
    """,
    """
    customer      -> customers     customer_id  f
    address       -> addresses     address_id   f
    events        => events        resource_id  f
    event_stores  => event_stores  resource_id  x
    """,
    actions="lr",
    is_view=True,
)

SHIPMENTS = resource_type(
    "shipments",
    """
    number                  text     fs
    status                  text     fs
    currency_code           text     f
    cost_amount             money    fs
    skus_count              integer  f
    selected_rate_id        text     -
    rates                   json     -
    purchase_error_code     text     -
    purchase_error_message  text     -
    get_rates_errors        json     -
    get_rates_started_at    time     fs
    get_rates_completed_at  time     fs
    purchase_started_at     time     fs
    purchase_completed_at   time     fs
    purchase_failed_at      time     fs
    on_hold_at              time     fs
    picking_at              time     fs
    packing_at              time     fs
    ready_to_ship_at        time     fs
    shipped_at              time     fs
    delivered_at            time     fs
    """,
    """
    order                       -> orders                     order_id             f
    shipping_category           -> shipping_categories        -                    f
    inventory_stock_location    -> inventory_stock_locations  -                    f
    stock_location              -> stock_locations            -                    f
    origin_address              -> addresses                  -                    f
    shipping_address            -> addresses                  shipping_address_id  f
    shipping_method             -> shipping_methods           -                    f
    delivery_lead_time          -> delivery_lead_times        -                    f
    pickup                      -> pickups                    -                    f
    stock_line_items            => stock_line_items           -                    f
    stock_transfers             => stock_transfers            -                    f
    line_items                  => line_items                 -                    f
    available_shipping_methods  => shipping_methods           -                    f
    carrier_accounts            => carrier_accounts           -                    f
    parcels                     => parcels                    -                    f
    attachments                 => attachments                -                    f
    tags                        => tags                       -                    f
    events                      => events                     resource_id          f
    event_stores                => event_stores               resource_id          x
    """,
    actions="lr",
    is_view=True,
)

PAYMENT_METHODS = resource_type(
    "payment_methods",
    """
    name                     text     fs
    payment_source_type      text     fs
    currency_code            text     fs
    moto                     boolean  f   DEFAULT 0
    require_capture          boolean  f   DEFAULT 1
    auto_place               boolean  f   DEFAULT 0
    auto_capture             boolean  f   DEFAULT 0
    price_amount             money    fs  DEFAULT 0
    auto_capture_max_amount  money    f
    disabled_at              time     fs
    """,
    """
    market           -> markets           market_id    f
    payment_gateway  -> payment_gateways  -            f
    store            -> stores            -            f
    attachments      => attachments       -            f
    event_stores     => event_stores      resource_id  x
    """,
    actions="lr",
)

_TRANSACTION_ATTRIBUTES = """
    number                  text     fs
    payment_method_type     text     f
    currency_code           text     f
    amount                  money    fs
    succeeded               boolean  f
    message                 text     f
    error_code              text     f
    error_detail            text     f
    token                   text     f
    gateway_transaction_id  text     f
"""

_TRANSACTION_RELATIONSHIPS = """
    order           -> orders           order_id           f
    payment_source  -> stripe_payments  payment_source_id  f
    attachments     => attachments      -                  f
    events          => events           resource_id        f
    event_stores    => event_stores     resource_id        x
"""

# An authorization that the gateway accepts follows from its order; one that it declines is stored.
AUTHORIZATIONS = resource_type(
    "authorizations",
    _TRANSACTION_ATTRIBUTES
    + """
    cvv_code         text   -
    cvv_message      text   -
    avs_code         text   -
    avs_message      text   -
    fraud_review     text   -
    capture_amount   money  f
    capture_balance  money  f
    void_balance     money  f
    """,
    _TRANSACTION_RELATIONSHIPS
    + """
    captures  => captures  reference_authorization_id  f
    voids     => voids     reference_authorization_id  f
    """,
    triggers={"_capture": "boolean", "_void": "boolean"},
    actions="lru",
    only_triggers=True,
    rows="stored_authorizations",
)

CAPTURES = resource_type(
    "captures",
    _TRANSACTION_ATTRIBUTES
    + """
    refund_amount   money  f
    refund_balance  money  f
    """,
    _TRANSACTION_RELATIONSHIPS
    + """
    reference_authorization  -> authorizations  reference_authorization_id  f
    refunds                  => refunds         reference_capture_id        f
    return                   -> returns         -                           f
    """,
    triggers={"_refund": "boolean", "_refund_amount_cents": "integer"},
    actions="lru",
    only_triggers=True,
    is_view=True,
)

VOIDS = resource_type(
    "voids",
    _TRANSACTION_ATTRIBUTES,
    _TRANSACTION_RELATIONSHIPS + "reference_authorization -> authorizations reference_authorization_id f",
    actions="lr",
    is_view=True,
)

REFUNDS = resource_type(
    "refunds",
    _TRANSACTION_ATTRIBUTES,
    _TRANSACTION_RELATIONSHIPS
    + """
    reference_capture  -> captures  reference_capture_id  f
    return             -> returns   -                     f
    """,
    actions="lr",
    rows="stored_refunds",
)

TRANSACTIONS = resource_type(
    "transactions",
    _TRANSACTION_ATTRIBUTES,
    _TRANSACTION_RELATIONSHIPS,
    actions="lr",
    is_view=True,
    members=("authorizations", "captures", "voids", "refunds"),
)
