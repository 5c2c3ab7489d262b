"""The catalogue: SKUs, their prices and their stock."""

from __future__ import annotations

from blocks.sandbox.resources.definitions import TAG_TRIGGERS, resource_type

SKUS = resource_type(
    "skus",
    """
    code              text     cufsr
    name              text     cufsr
    description       text     cuf
    image_url         text     cuf
    pieces_per_pack   integer  cuf
    weight            decimal  cuf
    unit_of_weight    text     cuf
    hs_tariff_number  text     cuf
    do_not_ship       boolean  cufs   DEFAULT 0
    do_not_track      boolean  cufs   DEFAULT 0
    inventory         json     -      = NULL
    jwt_custom_claim  json     -      = NULL
    """,
    """
    shipping_category    ->  shipping_categories  -            f
    prices               =>  prices               sku_id       f
    stock_items          =>  stock_items          sku_id       f
    stock_reservations   =>  stock_reservations   -            f
    delivery_lead_times  =>  delivery_lead_times  -            f
    sku_options          =>  sku_options          -            f
    sku_list_items       =>  sku_list_items       -            f
    sku_lists            =>  sku_lists            -            f
    attachments          =>  attachments          -            f
    links                =>  links                -            f
    tags                 <=> tags                 tag_id       cuf
    events               =>  events               resource_id  f
    jwt_customer         ->  customers            -            f
    jwt_markets          =>  markets              -            f
    jwt_stock_locations  =>  stock_locations      -            f
    event_stores         =>  event_stores         resource_id  x
    """,
    triggers=TAG_TRIGGERS,
)

PRICE_LISTS = resource_type(
    "price_lists",
    """
    name              text     cufsr
    code              text     cufs
    currency_code     text     cufsr
    tax_included      boolean  cufs   DEFAULT 0
    rule_outcomes     json     -      = NULL
    rules             json     -      = NULL
    resource_payload  json     -      = NULL
    """,
    """
    prices                 => prices                 price_list_id  f
    price_list_schedulers  => price_list_schedulers  -              f
    attachments            => attachments            -              f
    event_stores           => event_stores           resource_id    x
    """,
)

PRICES = resource_type(
    "prices",
    """
    currency_code      text   f
    sku_code           text   cuf
    amount             money  cufsr
    original_amount    money  f      = amount_cents
    compare_at_amount  money  cufs
    rule_outcomes      json   -      = NULL
    processed_at       time   -      = NULL
    rules              json   -      = NULL
    resource_payload   json   -      = NULL
    jwt_custom_claim   json   -      = NULL
    """,
    """
    price_list             -> price_lists            price_list_id  cufr
    sku                    -> skus                   sku_id         cuf
    price_tiers            => price_tiers            -              f
    price_volume_tiers     => price_volume_tiers     -              f
    price_frequency_tiers  => price_frequency_tiers  -              f
    attachments            => attachments            -              f
    jwt_customer           -> customers              -              f
    jwt_markets            => markets                -              f
    jwt_stock_locations    => stock_locations        -              f
    event_stores           => event_stores           resource_id    x
    """,
)

STOCK_LOCATIONS = resource_type(
    "stock_locations",
    """
    number        integer  fs
    name          text     cufsr
    code          text     cufs
    label_format  text     cuf
    suppress_etd  boolean  cu     DEFAULT 0
    """,
    """
    address                     -> addresses                   address_id         cuf
    inventory_stock_locations   => inventory_stock_locations   -                  f
    inventory_return_locations  => inventory_return_locations  -                  f
    stock_items                 => stock_items                 stock_location_id  f
    stock_transfers             => stock_transfers             -                  f
    stores                      => stores                      -                  f
    attachments                 => attachments                 -                  f
    event_stores                => event_stores                resource_id        x
    """,
)

STOCK_ITEMS = resource_type(
    "stock_items",
    """
    sku_code  text     cuf
    quantity  integer  cufsr
    """,
    """
    stock_location      -> stock_locations     stock_location_id  cufr
    sku                 -> skus                sku_id             cuf
    reserved_stock      -> reserved_stocks     -                  f
    stock_reservations  => stock_reservations  -                  f
    attachments         => attachments         -                  f
    event_stores        => event_stores        resource_id        x
    """,
)
