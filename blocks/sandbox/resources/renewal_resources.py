"""The resource types that renewals use beside orders: copies and subscriptions."""

from __future__ import annotations

from blocks.sandbox.resources.definitions import TAG_TRIGGERS, resource_type

_COPY_ATTRIBUTES = """
    type                   text     fs
    status                 text     fs
    started_at             time     fs
    completed_at           time     fs
    failed_at              time     fs
    errors_log             json     -
    errors_count           integer  fs
    place_target_order     boolean  c
    reuse_wallet           boolean  c
"""

_COPY_RELATIONSHIPS = """
    source_order  -> orders        source_order_id  crf
    target_order  -> orders        target_order_id  f
    events        => events        resource_id      f
    event_stores  => event_stores  resource_id      x
"""

_COPY_PRIVATE = ("_due_at TEXT",)

ORDER_COPIES = resource_type(
    "order_copies",
    _COPY_ATTRIBUTES
    + """
    cancel_source_order    boolean  c
    apply_promotions       boolean  c
    skip_errors            boolean  c
    ignore_invalid_coupon  boolean  c
    """,
    _COPY_RELATIONSHIPS + "order_subscription -> order_subscriptions order_subscription_id fs",
    private=_COPY_PRIVATE,
)

RECURRING_ORDER_COPIES = resource_type(
    "recurring_order_copies",
    _COPY_ATTRIBUTES,
    _COPY_RELATIONSHIPS + "order_subscription -> order_subscriptions order_subscription_id crfs",
    private=_COPY_PRIVATE,
    actions="lr",
)

ORDER_FACTORIES = resource_type(
    "order_factories",
    _COPY_ATTRIBUTES,
    _COPY_RELATIONSHIPS + "order_subscription -> order_subscriptions order_subscription_id fs",
    actions="lr",
    is_view=True,
)

ORDER_SUBSCRIPTIONS = resource_type(
    "order_subscriptions",
    """
    number                    text     fs
    status                    text     fs
    frequency                 text     cufsr
    activate_by_source_order  boolean  cu
    place_target_order        boolean  cu
    renewal_alert_period      integer  cu
    customer_email            text     f
    starts_at                 time     cfs
    expires_at                time     cufs
    last_run_at               time     fs
    next_run_at               time     ufs
    occurrencies              integer  fs
    errors_count              integer  fs
    succeeded_on_last_run     boolean  fs
    """,
    """
    market                    ->  markets                   market_id                   cf
    subscription_model        ->  subscription_models       subscription_model_id       f
    source_order              ->  orders                    source_order_id             crf
    customer                  ->  customers                 customer_id                 f
    customer_payment_source   ->  customer_payment_sources  customer_payment_source_id  uf
    order_subscription_items  =>  order_subscription_items  order_subscription_id       f
    order_factories           =>  order_factories           order_subscription_id       f
    order_copies              =>  order_copies              order_subscription_id       f
    recurring_order_copies    =>  recurring_order_copies    order_subscription_id       f
    orders                    =>  orders                    order_subscription_id       f
    tags                      <=> tags                      tag_id                      cuf
    events                    =>  events                    resource_id                 f
    event_stores              =>  event_stores              resource_id                 x
    """,
    triggers={
        "_activate": "boolean",
        "_deactivate": "boolean",
        "_cancel": "boolean",
        "_convert": "boolean",
        **TAG_TRIGGERS,
    },
    private=("_anchor_day INTEGER", "_alerted_for TEXT", "_running_copy_id TEXT"),
)

# Those of a subscription that Commerce Layer made from an order: its source order's lines.
ORDER_SUBSCRIPTION_ITEMS = resource_type(
    "order_subscription_items",
    """
    sku_code      text     f
    bundle_code   text     f
    quantity      integer  fs
    unit_amount   money    fs
    total_amount  money    f
    """,
    """
    order_subscription  -> order_subscriptions  order_subscription_id  f
    item                -> skus                 sku_id                 f
    sku                 -> skus                 sku_id                 f
    bundle              -> bundles              -                      f
    adjustment          -> adjustments          -                      f
    source_line_item    -> line_items           source_line_item_id    f
    event_stores        => event_stores         resource_id            x
    """,
    actions="lr",
    is_view=True,
)
