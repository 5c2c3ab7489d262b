// How much of what the SDK knows the sandbox has: every attribute and relationship, and of the triggers of orders those
// that are listed here. docs/sandbox.md tells the same in words.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { advance, connect, control, newSubscription, send } from './shop.mjs'

const typings = (() => {
  const folder = new URL('.', import.meta.resolve('@commercelayer/sdk/bundle'))
  const files = readdirSync(fileURLToPath(folder)).filter((name) => /^api-.*\.d\.ts$/.test(name))
  return files.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n')
})()

/** The members that the typings declare in an interface: `attributes` and `relationships`. */
function declared(name) {
  const body = new RegExp(`\\ninterface ${name} extends[^{]*\\{([^]*?)\\n\\}`).exec(typings)[1].replace(/\/\*\*[^]*?\*\//g, '')
  const members = [...body.matchAll(/^\s*(?:readonly )?(\w+)\??: (.*);$/gm)]
  const isRelationship = (type) => /^(Array<)?[A-Z]\w+(\[\])?( \| ([A-Z]\w+(\[\])?|null))*>?( \| null)?$/.test(type) && !/Type$|Record/.test(type)
  return {
    attributes: members.filter(([, , type]) => !isRelationship(type)).map(([, member]) => member),
    relationships: members.filter(([, , type]) => isRelationship(type)).map(([, member]) => member),
  }
}

// What the sandbox has beyond the typings: older versions of the API show it, too.
const MORE = { organization: ['region', 'can_switch_live'], prices: ['original_amount_float'] }

const TYPE_NAMES = {
  order_copies: 'OrderCopy',
  recurring_order_copies: 'RecurringOrderCopy',
  order_factories: 'OrderFactory',
  order_subscriptions: 'OrderSubscription',
  subscription_models: 'SubscriptionModel',
  webhooks: 'Webhook',
  events: 'Event',
  event_callbacks: 'EventCallback',
  resource_errors: 'ResourceError',
  customer_payment_sources: 'CustomerPaymentSource',
  customers: 'Customer',
  orders: 'Order',
  line_items: 'LineItem',
  order_subscription_items: 'OrderSubscriptionItem',
  addresses: 'Address',
  customer_addresses: 'CustomerAddress',
  shipments: 'Shipment',
  payment_methods: 'PaymentMethod',
  authorizations: 'Authorization',
  captures: 'Capture',
  voids: 'Void',
  refunds: 'Refund',
  skus: 'Sku',
  prices: 'Price',
  price_lists: 'PriceList',
  stock_locations: 'StockLocation',
  stock_items: 'StockItem',
  tags: 'Tag',
  markets: 'Market',
  stripe_payments: 'StripePayment',
  organization: 'Organization',
  application: 'Application',
}

let cl, subscription

before(async () => {
  cl = await connect()
  await cl.webhooks.create({ topic: 'order_copies.create', callback_url: 'http://127.0.0.1:1/' })
  await cl.tags.create({ name: 'vip' })
  const automatic = await newSubscription({ status: 'active', automatic: true, next_run_at: '2026-03-01T06:00:30Z' })
  await advance(60)
  subscription = await newSubscription()
  await control('POST', 'failures', { order_id: subscription.source_order_id, kind: 'declined' })
  await cl.order_copies.create({ source_order: cl.orders.relationship(subscription.source_order_id), place_target_order: true })
  await cl.order_subscriptions._deactivate(automatic.id)
  await fillTheCatalogue()
  await cl.orders._cancel(automatic.source_order_id)
  const paid = await newSubscription()
  await cl.orders._capture(paid.source_order_id)
  await cl.orders._refund(paid.source_order_id)
  await advance(60)
  while ((await cl.event_callbacks.count()) === 0);
})

/** A price of 5.00 and two pieces of a SKU. */
async function fillTheCatalogue() {
  const sku = cl.skus.relationship((await cl.skus.create({ code: 'TEA', name: 'Tea' })).id)
  const price_list = cl.price_lists.relationship((await cl.price_lists.list()).first().id)
  const stock_location = cl.stock_locations.relationship((await cl.stock_locations.create({ name: 'Milan' })).id)
  await cl.prices.create({ amount_cents: 500, sku, price_list })
  await cl.stock_items.create({ quantity: 2, sku, stock_location })
}

for (const [type, name] of Object.entries(TYPE_NAMES)) {
  test(`${type} have every attribute and relationship of the typings`, async () => {
    const headers = { accept: 'application/vnd.api+json' }
    const { body } = await send('GET', type.endsWith('s') ? `${type}?page[size]=1` : type, { headers })
    const [{ attributes, relationships = {} }] = [body.data].flat()
    const { attributes: theirs, relationships: related } = declared(name)
    const known = ['type', 'created_at', 'updated_at', 'reference', 'reference_origin', 'metadata', ...theirs]
    const missing = [
      ...theirs.filter((attribute) => attribute !== 'type' && !(attribute in attributes)),
      ...related.filter((relationship) => !(relationship in relationships)),
    ]
    assert.deepEqual(missing, [])
    assert.deepEqual(Object.keys(attributes).filter((attribute) => !known.includes(attribute)), MORE[type] ?? [])
  })
}

/** The relationship methods of a resource's client. */
const relationshipsOf = (client) =>
  Object.getOwnPropertyNames(Object.getPrototypeOf(client)).filter(
    (name) => !/^(_|is[A-Z]|constructor$|create$|update$|delete$|type$|relationship)/.test(name),
  )

const triggersOf = (client) => Object.getOwnPropertyNames(Object.getPrototypeOf(client)).filter((name) => /^_/.test(name))

// Of the triggers of orders the sandbox has those that a renewal needs.
const ORDER_TRIGGERS = [
  '_add_tags',
  '_approve',
  '_approve_and_capture',
  '_archive',
  '_authorize',
  '_cancel',
  '_capture',
  '_create_subscriptions',
  '_customer_payment_source_id',
  '_fix_payment_source',
  '_nullify_payment_source',
  '_place',
  '_refresh',
  '_refund',
  '_remove_tags',
  '_reset_circuit',
  '_save_payment_source_to_customer_wallet',
  '_unarchive',
  '_validate',
]

test('of the triggers of orders the sandbox has those that a renewal needs', async () => {
  const pulls = []
  for (const name of triggersOf(cl.orders)) {
    const answer = await cl.orders.update({ id: subscription.source_order_id, [name]: false }).catch((error) => error)
    if (answer.status !== 400) pulls.push(name)
    else assert.equal(answer.first().code, 'PARAM_NOT_ALLOWED')
  }
  assert.deepEqual(pulls.sort(), ORDER_TRIGGERS)
})

test('of the triggers of transactions the sandbox has those of the dashboard', async () => {
  const made = await newSubscription()
  const order = () => cl.orders.retrieve(made.source_order_id, { include: ['authorizations', 'captures', 'refunds'] })
  const [authorization] = (await order()).authorizations
  const known = { authorizations: ['_capture', '_void'], captures: ['_refund', '_refund_amount_cents'] }
  await cl.authorizations._capture(authorization.id)
  const [capture] = (await order()).captures
  for (const [type, id] of [['authorizations', authorization.id], ['captures', capture.id]]) {
    const accepted = []
    for (const name of triggersOf(cl[type])) {
      const answer = await cl[type].update({ id, [name]: name.endsWith('_cents') ? 1 : false }).catch((error) => error)
      if (answer.status !== 400) accepted.push(name)
    }
    assert.deepEqual(accepted.sort(), known[type])
  }
  await cl.captures.update({ id: capture.id, _refund: true, _refund_amount_cents: 100 })
  const { payment_status, refunds } = await order()
  assert.deepEqual([payment_status, refunds[0].amount_cents], ['partially_refunded', 100])
})

for (const [type, id] of [['order_subscriptions', () => subscription.id], ['customers', () => subscription.customer_id]]) {
  test(`${type} have every trigger`, async () => {
    for (const name of triggersOf(cl[type])) {
      const answer = await cl[type].update({ id: id(), [name]: name.endsWith('_tags') ? 'vip' : false })
      assert.equal(answer.id, id(), name)
    }
  })
}

test('customers, subscriptions and orders are tagged as the SDK tags them', async () => {
  const tag = await cl.tags.create({ name: 'box' })
  for (const [type, id] of [
    ['order_subscriptions', subscription.id],
    ['customers', subscription.customer_id],
    ['orders', subscription.source_order_id],
  ]) {
    await cl[type]._add_tags(id, 'box,nobody made this one')
    assert.deepEqual(Array.from(await cl[type].tags(id), ({ name }) => name), ['box'])
    assert.deepEqual(Array.from(await cl[type].list({ filters: { tags_id_in: [tag.id] } }), (one) => one.id), [id])
    assert.equal((await cl[type].retrieve(id, { include: ['tags'] })).tags[0].name, 'box')
    await cl[type]._remove_tags(id, 'box')
    assert.equal((await cl[type].tags(id)).length, 0)
    const replaced = await cl[type].update({ id, tags: [cl.tags.relationship(tag.id)] }, { include: ['tags'] })
    assert.deepEqual(replaced.tags.map((one) => one.id), [tag.id])
  }
})

test('an order is filled with lines as the SDK fills it', async () => {
  const market = cl.markets.relationship((await cl.markets.list()).first().id)
  const address = await cl.addresses.create({ last_name: 'Doe', line_1: '1 Main St', city: 'York', country_code: 'GB', phone: '1' })
  const order = await cl.orders.create({ market, billing_address: cl.addresses.relationship(address.id) })
  await cl.line_items.create({ sku_code: 'TEA', quantity: 2, order: cl.orders.relationship(order.id) })
  const filled = await cl.orders.retrieve(order.id, { include: ['line_items.sku', 'billing_address'] })
  assert.equal(filled.formatted_total_amount, '€10,00')
  assert.deepEqual(filled.line_items.map(({ sku, quantity }) => [sku.code, quantity]), [['TEA', 2]])
  assert.equal(filled.billing_address.full_name, 'Doe')
})

test('webhooks have every trigger', async () => {
  const webhook = await cl.webhooks.create({ topic: 'orders.place', callback_url: 'http://127.0.0.1:1/' })
  for (const name of triggersOf(cl.webhooks)) assert.equal((await cl.webhooks[name](webhook.id)).id, webhook.id)
})

for (const type of ['orders', 'line_items', 'skus', 'order_copies', 'order_subscriptions', 'webhooks', 'customer_payment_sources', 'customers', 'markets', 'events']) {
  test(`every relationship of ${type} has an address, and all but event_stores can be included`, async () => {
    const { id } = (await cl[type].list({ pageSize: 1 })).first()
    for (const name of relationshipsOf(cl[type])) {
      assert.notEqual(await cl[type][name](id), undefined)
      const included = await cl[type].retrieve(id, { include: [name] }).catch((error) => error)
      if (name === 'event_stores') assert.equal(included.first().code, 'INVALID_INCLUDE')
      else assert.ok(name in included, name)
    }
  })
}

test('statuses are those that the typings declare', async () => {
  const statuses = /interface OrderCopy extends[^]*?\n\s*status: ([^;]*);/.exec(typings)[1]
  const known = [...statuses.matchAll(/'(\w+)'/g)].map(([, status]) => status)
  assert.deepEqual(known.sort(), ['aborted', 'completed', 'failed', 'in_progress', 'pending'])
  for (const { status } of await cl.order_copies.list()) assert.ok(known.includes(status), status)
})
