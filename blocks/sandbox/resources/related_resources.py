"""The other resource types that have data: customers and their wallets, markets, events, webhooks, the organization."""

from __future__ import annotations

from blocks.sandbox.resources.definitions import TAG_TRIGGERS, resource_type

CUSTOMERS = resource_type(
    "customers",
    """
    email                      text     cufsr
    status                     text     fs
    has_password               boolean  f
    total_orders_count         integer  fs
    shopper_reference          text     cufs
    profile_id                 text     cufs
    tax_exemption_code         text     cu
    jwt_custom_claim           json     -
    anonymization_info         json     -
    anonymization_status       text     fs
    """,
    """
    customer_group            ->  customer_groups           -                f
    customer_addresses        =>  customer_addresses        customer_id      f
    customer_payment_sources  =>  customer_payment_sources  customer_id      f
    customer_subscriptions    =>  customer_subscriptions    -                f
    orders                    =>  orders                    customer_id      f
    order_subscriptions       =>  order_subscriptions       customer_id      f
    returns                   =>  returns                   -                f
    sku_lists                 =>  sku_lists                 -                f
    attachments               =>  attachments               -                f
    tags                      <=> tags                      tag_id           cuf
    events                    =>  events                    resource_id      f
    jwt_customer              ->  customers                 jwt_customer_id  -
    jwt_markets               =>  markets                   -                f
    jwt_stock_locations       =>  stock_locations           -                -
    event_stores              =>  event_stores              resource_id      x
    """,
    triggers={
        **TAG_TRIGGERS,
        "password": "text",
        "_request_anonymization": "boolean",
        "_cancel_anonymization": "boolean",
    },
    at_create=("password",),
    private=("_address TEXT",),
)

TAGS = resource_type("tags", "name text cufsr", "event_stores => event_stores resource_id x")

MARKETS = resource_type(
    "markets",
    """
    number                  integer  fs
    name                    text  cufsr
    code                    text  cufs
    disabled_at             time  fs
    facebook_pixel_id              text     cuf
    checkout_url                   text     cuf
    external_prices_url            text     cuf
    external_order_validation_url  text     cuf
    private                        boolean  fs
    shipping_cost_cutoff           integer  cuf
    shared_secret                  text     -
    external_includes              list     cu
    """,
    """
    merchant                 -> merchants               -                      f
    price_list               -> price_lists             price_list_id          f
    base_price_list          -> price_lists             -                      f
    inventory_model          -> inventory_models        -                      f
    subscription_model       -> subscription_models     subscription_model_id  f
    discount_engine          -> discount_engines        -                      f
    tax_calculator           -> manual_tax_calculators  -                      f
    customer_group           -> customer_groups         -                      f
    geocoder                 -> geocoders               -                      f
    default_shipping_method  -> shipping_methods        -                      f
    default_payment_method   -> payment_methods         -                      f
    stores                   => stores                  -                      f
    price_list_schedulers    => price_list_schedulers   -                      f
    attachments              => attachments             -                      f
    events                   => events                  resource_id            f
    event_stores             => event_stores            resource_id            x
    """,
    actions="lr",
)

SUBSCRIPTION_MODELS = resource_type(
    "subscription_models",
    """
    name           text     cufs
    strategy       text     cufs
    frequencies    list     cu
    auto_activate  boolean  cufs
    auto_cancel    boolean  cufs
    """,
    """
    markets              => markets              subscription_model_id  f
    order_subscriptions  => order_subscriptions  subscription_model_id  f
    attachments          => attachments          -                      f
    event_stores         => event_stores         resource_id            x
    """,
    actions="lr",
)

RESOURCE_ERRORS = resource_type(
    "resource_errors",
    """
    name     text  fs
    code     text  fs
    message  text  fs
    """,
    """
    resource      -> orders        resource_id  f
    event_stores  => event_stores  resource_id  x
    """,
    actions="lr",
)

EVENTS = resource_type(
    "events",
    "name text fs",
    """
    webhooks              <=> webhooks         webhook_id   f  event_webhooks
    last_event_callbacks  =>  event_callbacks  event_id     f
    event_stores          =>  event_stores     resource_id  x
    """,
    triggers={"_trigger": "boolean"},
    private=("resource_type TEXT", "resource_id TEXT"),
    actions="lru",
)

EVENT_CALLBACKS = resource_type(
    "event_callbacks",
    """
    callback_url      text  fs
    payload           json  -
    response_code     text  fs
    response_message  text  fs
    """,
    """
    webhook       -> webhooks      webhook_id   f
    event         -> events        event_id     f
    event_stores  => event_stores  resource_id  x
    """,
    actions="lr",
)

WEBHOOKS = resource_type(
    "webhooks",
    """
    name                   text     cufs
    topic                  text     cufsr
    callback_url           text     cufsr
    include_resources      list     cu
    disabled_at            time     fs
    circuit_state          text     fs
    circuit_failure_count  integer  fs
    shared_secret          text     -
    """,
    """
    last_event_callbacks  => event_callbacks  webhook_id   f
    events                => events           resource_id  f
    event_stores          => event_stores     resource_id  x
    """,
    triggers={"_enable": "boolean", "_disable": "boolean", "_reset_circuit": "boolean"},
    at_create=("_enable", "_disable"),
)

EVENT_STORES = resource_type(
    "event_stores",
    """
    event           text  f
    resource_type   text  f
    resource_id     text  f
    payload         json  -
    who             json  -
    """,
    actions="l",
    by_cursor=True,
)

APPLICATION = resource_type(
    "applications",
    """
    name              text     -
    kind              text     -
    public_access     boolean  -
    redirect_uri      text     -
    scopes            text     -
    created_at        time     -
    updated_at        time     -
    reference         text     -
    reference_origin  text     -
    metadata          json     -
    """,
    actions="r",
    singleton=True,
)

ORGANIZATION = resource_type(
    "organizations",
    """
    name              text  -
    slug              text  -
    domain            text  -
    region            text  -
    can_switch_live   boolean  -
    support_phone                               text     -
    support_email                               text     -
    logo_url                                    text     -
    favicon_url                                 text     -
    primary_color                               text     -
    gtm_id                                      text     -
    gtm_id_test                                 text     -
    config                                      json     -
    api_auth_redirect                           boolean  -
    api_fragment_caching_enabled                boolean  -
    api_rules_engine                            boolean  -
    api_rules_engine_max_conditions_size        integer  -
    api_rules_engine_max_rules_size             integer  -
    api_new_auth                                boolean  -
    api_purge_single_resource                   boolean  -
    api_max_regex_length                        integer  -
    addresses_avs_check                         boolean  -
    addresses_phone_required                    boolean  -
    orders_sales_channel_guest_only             boolean  -
    orders_min_rebuild_shipments_lapse          integer  -
    orders_min_refresh_lapse                    integer  -
    orders_autorefresh_cutoff_test              integer  -
    orders_autorefresh_cutoff_live              integer  -
    orders_number_editable_test                 boolean  -
    orders_number_editable_live                 boolean  -
    orders_number_as_reference                  boolean  -
    orders_invalid_coupon_errors                boolean  -
    orders_invalid_gift_card_errors             boolean  -
    orders_validate_shipping_stock              boolean  -
    bundles_max_items_count                     integer  -
    coupons_min_code_length                     integer  -
    coupons_max_code_length                     integer  -
    gift_cards_exact_code_matching              boolean  -
    gift_cards_min_code_length                  integer  -
    gift_cards_max_code_length                  integer  -
    cleanups_max_concurrent_count               integer  -
    exports_max_concurrent_count                integer  -
    imports_max_concurrent_count                integer  -
    imports_purge_cache                         boolean  -
    imports_skip_errors                         boolean  -
    inventory_models_max_stock_locations_cutoff  integer  -
    promotions_max_concurrent_count             integer  -
    promotions_max_conditions_size              integer  -
    promotions_max_rules_size                   integer  -
    price_lists_max_conditions_size             integer  -
    price_lists_max_rules_size                  integer  -
    imports_trigger_webhooks                    integer  -
    discount_engines_enabled                    boolean  -
    discount_engines_errors                     boolean  -
    tags_max_name_length                        integer  -
    tags_max_allowed_number                     integer  -
    tax_calculators_errors                      boolean  -
    external_promotions_errors                  boolean  -
    external_prices_errors                      boolean  -
    skus_discovery                              boolean  -
    payment_gateways_transaction_on_event       boolean  -
    created_at        time  -
    updated_at        time  -
    reference         text  -
    reference_origin  text  -
    metadata          json  -
    """,
    "event_stores => event_stores resource_id x",
    actions="r",
    singleton=True,
)
