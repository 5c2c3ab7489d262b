"""The resource types around a renewal: customers and their wallets, markets, events, webhooks, the organization."""

from __future__ import annotations

from blocks.sandbox.catalogue import resource_type

CUSTOMERS = resource_type(
    "customers",
    """
    email                      text     cufsr
    status                     text     fs
    has_password               boolean  f
    total_orders_count         integer  fs
    """,
    """
    customer_payment_sources  => customer_payment_sources  customer_id  f
    orders                    => orders                    customer_id  f
    order_subscriptions       => order_subscriptions       customer_id  f
    events                    => events                    resource_id  f
    event_stores              => event_stores              resource_id  x
    """,
)

CUSTOMER_PAYMENT_SOURCES = resource_type(
    "customer_payment_sources",
    """
    name                    text  -
    customer_token          text  cu
    payment_source_token    text  cu
    """,
    """
    customer      -> customers  customer_id  cufr
    events        => events     resource_id  f
    event_stores  => event_stores  resource_id  x
    """,
)

MARKETS = resource_type(
    "markets",
    """
    number                  text  fs
    name                    text  cufsr
    code                    text  cufs
    disabled_at             time  fs
    """,
    """
    subscription_model  -> subscription_models  subscription_model_id  f
    events              => events               resource_id            f
    event_stores        => event_stores         resource_id            x
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
    last_event_callbacks  => event_callbacks  event_id     f
    event_stores          => event_stores     resource_id  x
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
    created_at        time  -
    updated_at        time  -
    reference         text  -
    reference_origin  text  -
    metadata          json  -
    """,
    actions="r",
    singleton=True,
)
