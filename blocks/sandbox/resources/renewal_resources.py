"""The resource types that renewals use: copies, subscriptions, orders."""

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
    order_subscription_items  =>  order_subscription_items  -                           f
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

ORDERS = resource_type(
    "orders",
    """
    number                         text     fs
    status                         text     fs
    payment_status                 text     fs
    fulfillment_status             text     fs
    place_async                    boolean  cu
    guest                          boolean  f
    customer_email                 text     cufs
    language_code                  text     cu
    currency_code                  text     fs
    coupon_code                    text     cuf
    gift_card_code                 text     cuf
    subtotal_amount_cents          integer  fs
    discount_amount_cents          integer  fs
    shipping_amount_cents          integer  fs
    total_tax_amount_cents         integer  fs
    total_amount_cents             integer  fs
    total_amount_with_taxes_cents  integer  fs
    place_total_amount_cents       integer  -
    skus_count                     integer  fs
    payment_source_details         json     -
    token                          text     f
    placed_at                      time     fs
    approved_at                    time     fs
    cancelled_at                   time     fs
    payment_updated_at             time     fs
    fulfillment_updated_at         time     fs
    archived_at                    time     fs
    refreshed_at                   time     fs
    subscription_created_at        time     fs
    circuit_state                  text     fs
    circuit_failure_count          integer  fs
    errors_count                   integer  -
    """,
    """
    market                              ->  markets                   market_id              cuf
    customer                            ->  customers                 customer_id            cuf
    shipping_address                    ->  addresses                 -                      f
    billing_address                     ->  addresses                 -                      f
    store                               ->  stores                    -                      f
    default_shipping_method             ->  shipping_methods          -                      f
    default_payment_method              ->  payment_methods           -                      f
    available_payment_methods           =>  payment_methods           -                      f
    available_customer_payment_sources  <=> customer_payment_sources  card_id                f    order_wallets
    available_free_skus                 =>  skus                      -                      f
    available_free_bundles              =>  bundles                   -                      f
    payment_method                      ->  payment_methods           -                      f
    payment_source                      ->  stripe_payments           payment_source_id      f
    discount_engine_item                ->  discount_engine_items     -                      f
    line_items                          =>  line_items                -                      f
    line_item_options                   =>  line_item_options         -                      f
    stock_reservations                  =>  stock_reservations        -                      f
    stock_line_items                    =>  stock_line_items          -                      f
    stock_transfers                     =>  stock_transfers           -                      f
    shipments                           =>  shipments                 -                      f
    payment_options                     =>  payment_options           -                      f
    transactions                        =>  transactions              -                      f
    authorizations                      =>  authorizations            -                      f
    captures                            =>  captures                  -                      f
    voids                               =>  voids                     -                      f
    refunds                             =>  refunds                   -                      f
    returns                             =>  returns                   -                      f
    order_subscription                  ->  order_subscriptions       order_subscription_id  f
    order_subscriptions                 =>  order_subscriptions       source_order_id        f
    order_factories                     =>  order_factories           source_order_id        f
    order_copies                        =>  order_copies              source_order_id        f
    recurring_order_copies              =>  recurring_order_copies    source_order_id        f
    attachments                         =>  attachments               -                      f
    notifications                       =>  notifications             -                      f
    links                               =>  links                     -                      f
    resource_errors                     =>  resource_errors           resource_id            f
    tags                                <=> tags                      tag_id                 cuf
    events                              =>  events                    resource_id            f
    event_stores                        =>  event_stores              resource_id            x
    """,
    triggers={
        "_place": "boolean",
        "_cancel": "boolean",
        "_approve": "boolean",
        "_capture": "boolean",
        "_approve_and_capture": "boolean",
        "_refund": "boolean",
        "_archive": "boolean",
        "_unarchive": "boolean",
        "_reset_circuit": "boolean",
        "_customer_payment_source_id": "text",
        "_nullify_payment_source": "boolean",
        "_authorize": "boolean",
        "_refresh": "boolean",
        "_validate": "boolean",
        "_save_payment_source_to_customer_wallet": "boolean",
        "_fix_payment_source": "boolean",
        "_create_subscriptions": "boolean",
        **TAG_TRIGGERS,
    },
    private=(
        "_source_order_id TEXT",
        "_customer_payment_source_id TEXT",
        "_ignored_failure TEXT",
        "_placing_until TEXT",
    ),
)
