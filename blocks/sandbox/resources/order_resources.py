"""Orders and their line items."""

from __future__ import annotations

from blocks.sandbox.resources.definitions import TAG_TRIGGERS, resource_type
from blocks.sandbox.resources.derived_ids import derived_id_sql

_METHOD = derived_id_sql("market_id", "payment_methods")  # the only one of the market

ORDERS = resource_type(
    "orders",
    """
    number                         text     fs
    affiliate_code                 text     cufs
    autorefresh                    boolean  cu    DEFAULT 1
    place_async                    boolean  cufs
    status                         text     fs
    payment_status                 text     fs
    fulfillment_status             text     fs
    guest                          boolean  fs
    editable                       boolean  f     AS (status IN ('draft', 'pending'))
    customer_email                 text     cufs
    customer_type                  text     -     = NULL
    language_code                  text     cufs
    currency_code                  text     fs
    tax_included                   boolean  fs    = 0
    tax_rate                       decimal  fs    = 0
    freight_taxable                boolean  cu
    payment_method_taxable         boolean  cu
    adjustment_taxable             boolean  cu
    gift_card_taxable              boolean  cu
    requires_billing_info          boolean  -     = 0
    country_code                   text     fs    = NULL
    shipping_country_code_lock     text     cufs
    coupon_code                    text     cufs
    gift_card_code                 text     cufs
    subtotal_amount                money    fs
    shipping_amount                money    fs
    payment_method_amount          money    fs    DEFAULT 0
    discount_amount                money    fs
    adjustment_amount              money    fs    DEFAULT 0
    gift_card_amount               money    fs    = 0
    total_tax_amount               money    fs
    subtotal_tax_amount            money    fs    = total_tax_amount_cents
    shipping_tax_amount            money    f     = 0
    payment_method_tax_amount      money    f     = 0
    adjustment_tax_amount          money    f     = 0
    total_amount                   money    fs
    total_taxable_amount           money    f     = total_amount_cents
    subtotal_taxable_amount        money    f     = subtotal_amount_cents
    shipping_taxable_amount        money    f     = shipping_amount_cents
    payment_method_taxable_amount  money    f     = payment_method_amount_cents
    adjustment_taxable_amount      money    f     = adjustment_amount_cents
    total_amount_with_taxes        money    fs
    fees_amount                    money    fs    = 0
    duty_amount                    money    fs    = 0
    place_total_amount             money    f
    skus_count                     integer  fs
    line_item_options_count        integer  f     = 0
    shipments_count                integer  f     AS (skus_count > 0 AND shipping_address_id IS NOT NULL)
    tax_calculations_count         integer  f     = 0
    validations_count              integer  f     = 0
    errors_count                   integer  f
    payment_source_details         json     -
    token                          text     f
    cart_url                       text     cu
    return_url                     text     cu
    terms_url                      text     cu
    privacy_url                    text     cu
    checkout_url                   text     -     = NULL
    placed_at                      time     fs
    approved_at                    time     fs
    cancelled_at                   time     fs
    payment_updated_at             time     fs
    fulfillment_updated_at         time     fs
    refreshed_at                   time     fs
    archived_at                    time     fs
    subscription_created_at        time     fs
    expires_at                     time     cufs
    expiration_info                json     cu
    circuit_state                  text     fs
    circuit_failure_count          integer  fs
    """,
    """
    market                              ->  markets                   market_id              cuf
    customer                            ->  customers                 customer_id            cuf
    shipping_address                    ->  addresses                 shipping_address_id    cuf
    billing_address                     ->  addresses                 billing_address_id     cuf
    store                               ->  stores                    -                      f
    default_shipping_method             ->  shipping_methods          -                      f
    default_payment_method              ->  payment_methods           -                      f
    available_payment_methods           <=> payment_methods           payment_method_id      f    order_payment_methods
    available_customer_payment_sources  <=> customer_payment_sources  card_id                f    order_wallets
    available_free_skus                 =>  skus                      -                      f
    available_free_bundles              =>  bundles                   -                      f
    payment_method                      ->  payment_methods           payment_method_id      f
    payment_source                      ->  stripe_payments           payment_source_id      f
    discount_engine_item                ->  discount_engine_items     -                      f
    line_items                          =>  line_items                order_id               f
    line_item_options                   =>  line_item_options         -                      f
    stock_reservations                  =>  stock_reservations        -                      f
    stock_line_items                    =>  stock_line_items          -                      f
    stock_transfers                     =>  stock_transfers           -                      f
    shipments                           =>  shipments                 order_id               f
    payment_options                     =>  payment_options           -                      f
    transactions                        =>  transactions              order_id               f
    authorizations                      =>  authorizations            order_id               f
    captures                            =>  captures                  order_id               f
    voids                               =>  voids                     order_id               f
    refunds                             =>  refunds                   order_id               f
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
        f"payment_method_id TEXT AS (CASE WHEN payment_source_id IS NOT NULL THEN {_METHOD} END)",
        "_source_order_id TEXT",
        "_customer_payment_source_id TEXT",
        "_ignored_failure TEXT",
        "_placing_until TEXT",
        "_has_lines INTEGER",
    ),
)

# An order has the line that its amounts imply, which is not stored, until one of its lines is written.
LINE_ITEMS = resource_type(
    "line_items",
    """
    sku_code               text     cuf
    bundle_code            text     f
    quantity               integer  cufsr
    _external_price        boolean  cu
    currency_code          text     fs
    unit_amount            money    cufs
    compare_at_amount      money    cufs
    options_amount         money    ufs    DEFAULT 0
    discount               money    fs     DEFAULT 0
    total_amount           money    fs
    tax_amount             money    fs     DEFAULT 0
    name                   text     cufs
    image_url              text     cu
    discount_breakdown     json     -
    tax_rate               decimal  f      DEFAULT 0.0
    tax_breakdown          json     -
    item_type              text     cfs
    frequency              text     cuf
    coupon_code            text     f
    rule_outcomes          json     -
    circuit_state          text     fs     DEFAULT 'closed'
    circuit_failure_count  integer  fs     DEFAULT 0
    """,
    """
    order               ->  orders              order_id     crf
    item                ->  skus                sku_id       f
    sku                 ->  skus                sku_id       f
    bundle              ->  bundles             -            f
    adjustment          ->  adjustments         -            f
    gift_card           ->  gift_cards          -            f
    shipment            ->  shipments           -            f
    payment_method      ->  payment_methods     -            f
    line_item_options   =>  line_item_options   -            f
    return_line_items   =>  return_line_items   -            f
    stock_reservations  =>  stock_reservations  -            f
    stock_line_items    =>  stock_line_items    -            f
    stock_transfers     =>  stock_transfers     -            f
    notifications       =>  notifications       -            f
    tags                <=> tags                tag_id       cuf
    events              =>  events              resource_id  f
    event_stores        =>  event_stores        resource_id  x
    """,
    triggers={**TAG_TRIGGERS, "_reset_circuit": "boolean"},
    private=("_listed INTEGER DEFAULT 0",),
    rows="stored_line_items",
)
