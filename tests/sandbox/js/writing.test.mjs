// Writing with the SDK: create, update, delete and triggers, and what they leave behind.

import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import { advance, connect, control, errorOf, login, newSubscription, wire } from './shop.mjs'

const DAY = 86400
let cl, subscription, order

before(async () => {
  cl = await connect()
})

// A day is longer than a token lives.
const aDayLater = async () => {
  await advance(DAY)
  cl.config({ accessToken: await login() })
}

beforeEach(async () => {
  subscription = await newSubscription({ next_run_at: '2026-03-01T06:00:00Z', frequency: 'monthly' })
  order = cl.orders.relationship(subscription.source_order_id)
  wire.length = 0
})

const newCopy = (attributes = {}) => cl.order_copies.create({ source_order: order, place_target_order: true, ...attributes })
const fail = (orderId, kind, times) => control('POST', 'failures', { order_id: orderId, kind, times })

test('a new copy is pending, and answers with what it was given', async () => {
  const copy = await newCopy({ reference: 'a', reference_origin: 'perennial', metadata: { n: 1 }, skip_errors: false })
  assert.equal(wire[0].status, 201)
  assert.equal(copy.type, 'order_copies')
  assert.equal(copy.status, 'pending')
  assert.equal(copy.place_target_order, true)
  assert.equal(copy.reuse_wallet, true)
  assert.equal(copy.skip_errors, false)
  assert.equal(copy.apply_promotions, false)
  assert.equal(copy.cancel_source_order, false)
  assert.deepEqual(copy.metadata, { n: 1 })
  assert.equal(copy.created_at, copy.updated_at)
})

test('create and update take includes', async () => {
  const copy = await cl.order_copies.create({ source_order: order }, { include: ['source_order'], fields: { orders: ['status'] } })
  assert.deepEqual(Object.keys(copy.source_order).sort(), ['id', 'status', 'type'])
  const changed = await cl.order_copies.update({ id: copy.id, reference: 'b' }, { include: ['source_order.customer'] })
  assert.equal(changed.source_order.customer.id, subscription.customer_id)
})

test('a copy runs by itself and places its target order', async () => {
  const { id } = await newCopy()
  const seen = []
  for (let seconds = 0; seconds < 10; seconds += 0.25) {
    const { status } = await cl.order_copies.retrieve(id)
    if (status !== seen.at(-1)) seen.push(status)
    await advance(0.25)
  }
  assert.deepEqual(seen, ['pending', 'in_progress', 'completed'])
  const copy = await cl.order_copies.retrieve(id, { include: ['target_order'] })
  assert.ok(copy.started_at > copy.created_at && copy.completed_at > copy.started_at)
  assert.equal(copy.target_order.status, 'placed')
  assert.equal(copy.target_order.payment_status, 'authorized')
})

test('a declined card leaves the copy failed and the order to be placed later', async () => {
  await fail(subscription.source_order_id, 'declined', 2)
  const { id } = await newCopy()
  await advance(10)
  const copy = await cl.order_copies.retrieve(id, { include: ['target_order.resource_errors'] })
  assert.equal(copy.status, 'failed')
  assert.ok(copy.failed_at)
  assert.equal(copy.errors_count, Object.values(copy.errors_log).flat().length)
  assert.match(copy.errors_log.status[0], /^cannot transition from \w+ to placed$/)
  assert.equal(copy.target_order.status, 'pending')
  assert.equal(copy.target_order.resource_errors.length, 1)

  const refused = await errorOf(cl.orders._place(copy.target_order.id))
  assert.equal(refused.status, 422)
  assert.equal(refused.first().code, 'PAYMENT_NOT_APPROVED_FOR_EXECUTION')
  const placed = await cl.orders._place(copy.target_order.id)
  assert.equal(placed.status, 'placed')
})

test('placing twice changes nothing', async () => {
  const { id } = await newCopy()
  await advance(10)
  const target = await cl.order_copies.target_order(id)
  await advance(60)
  const again = await cl.orders._place(target.id)
  assert.equal(again.placed_at, target.placed_at)
})

test('metadata is replaced as a whole', async () => {
  const { id } = await newCopy({ metadata: { a: 1, b: { c: 2 } } })
  assert.deepEqual((await cl.order_copies.update({ id, metadata: { d: 3 } })).metadata, { d: 3 })
  assert.deepEqual((await cl.order_copies.update({ id, reference: 'kept' })).metadata, { d: 3 })
})

test('a copy can be deleted, and is then not found', async () => {
  const { id } = await newCopy()
  await cl.order_copies.delete(id)
  assert.equal(wire.at(-1).status, 204)
  assert.equal((await errorOf(cl.order_copies.retrieve(id))).status, 404)
})

test('a subscription can be created, changed, relinked and deleted', async () => {
  const made = await cl.order_subscriptions.create({
    source_order: order,
    frequency: 'weekly',
    activate_by_source_order: false,
    starts_at: '2026-03-05T00:00:00Z',
    expires_at: '2027-03-05T00:00:00Z',
  })
  assert.equal(made.status, 'draft')
  assert.equal(made.starts_at, '2026-03-05T00:00:00.000Z')
  const changed = await cl.order_subscriptions.update(
    {
      id: made.id,
      frequency: 'two-month',
      next_run_at: '2026-06-01T00:00:00.000Z',
      customer_payment_source: cl.customer_payment_sources.relationship(subscription.customer_payment_source_id),
    },
    { include: ['customer_payment_source'] },
  )
  assert.equal(changed.frequency, 'two-month')
  assert.equal(changed.next_run_at, '2026-06-01T00:00:00.000Z')
  assert.equal(changed.customer_payment_source.id, subscription.customer_payment_source_id)
  const emptied = await cl.order_subscriptions.update(
    { id: made.id, customer_payment_source: cl.customer_payment_sources.relationship(null) },
    { include: ['customer_payment_source'] },
  )
  assert.strictEqual(emptied.customer_payment_source, null)
  await cl.order_subscriptions.delete(made.id)
  assert.equal(await cl.order_subscriptions.count({ filters: { id_eq: made.id } }), 0)
})

test('a subscription goes through its states by triggers', async () => {
  const { id } = subscription
  assert.equal((await cl.order_subscriptions._activate(id)).status, 'active')
  assert.equal((await cl.order_subscriptions._deactivate(id)).status, 'inactive')
  assert.equal((await cl.order_subscriptions._cancel(id)).status, 'cancelled')
  const error = await errorOf(cl.order_subscriptions._activate(id))
  assert.equal(error.status, 422)
  assert.equal(error.first().source.pointer, '/data/attributes/status')
})

test('a subscription that waits for a payment source is activated once it has one', async () => {
  const { id, customer_id } = await newSubscription({ status: 'pending', wallet: false })
  assert.equal((await cl.order_subscriptions.retrieve(id)).status, 'pending')
  const card = await cl.customer_payment_sources.create({ customer: cl.customers.relationship(customer_id) })
  await cl.order_subscriptions.update({
    id,
    customer_payment_source: cl.customer_payment_sources.relationship(card.id),
  })
  assert.equal((await cl.order_subscriptions._activate(id)).status, 'active')
  await cl.order_subscriptions._cancel(id)
})

test('a reference may be used twice', async () => {
  const twice = { reference: 'twice', reference_origin: 'perennial' }
  assert.notEqual((await newCopy(twice)).id, (await newCopy(twice)).id)
  assert.equal(await cl.order_copies.count({ filters: { reference_eq: 'twice' } }), 2)
})

test('an active subscription runs by itself, an inactive one does not', async () => {
  const active = await newSubscription({ status: 'active', next_run_at: '2026-03-02T00:00:00Z', frequency: 'weekly' })
  await aDayLater()
  const after = await cl.order_subscriptions.retrieve(active.id, { include: ['order_copies', 'orders'] })
  assert.equal(after.status, 'active')
  assert.equal(after.order_copies.length, 1)
  assert.equal(after.orders.length, 1)
  assert.equal(after.next_run_at, '2026-03-09T00:00:00.000Z')
  assert.equal(after.succeeded_on_last_run, true)
  const [copy] = await cl.order_factories.list({ filters: { source_order_id_eq: active.source_order_id } })
  assert.equal(copy.type, 'order_copies')
  const left = await cl.order_subscriptions.retrieve(subscription.id, { include: ['order_copies'] })
  assert.equal(left.order_copies.length, 0)
  await cl.order_subscriptions._cancel(active.id)
})

test('an automatic subscription runs with recurring copies', async () => {
  const made = await newSubscription({ status: 'active', automatic: true, next_run_at: '2026-03-03T00:00:00Z' })
  await aDayLater()
  const [copy] = await cl.order_subscriptions.recurring_order_copies(made.id)
  const found = await cl.recurring_order_copies.retrieve(copy.id, { include: ['order_subscription', 'target_order'] })
  assert.equal(found.type, 'recurring_order_copies')
  assert.equal(found.order_subscription.id, made.id)
  assert.equal((await cl.orders.order_subscription(found.target_order.id)).id, made.id)
  assert.equal((await cl.order_subscriptions.subscription_model(made.id)).type, 'subscription_models')
  await cl.order_subscriptions._cancel(made.id)
})

test('an order is approved, captured, refunded, archived and tagged with a reference', async () => {
  const { id } = await newCopy()
  await advance(10)
  const target = (await cl.order_copies.target_order(id)).id
  assert.equal((await cl.orders._approve(target)).status, 'approved')
  assert.equal((await cl.orders._capture(target)).payment_status, 'paid')
  assert.equal((await cl.orders._refund(target)).payment_status, 'refunded')
  assert.ok((await cl.orders._archive(target)).archived_at)
  assert.strictEqual((await cl.orders._unarchive(target)).archived_at, null)
  assert.equal((await cl.orders.update({ id: target, reference: 'r', metadata: { m: 1 } })).reference, 'r')
})

test('an order is cancelled, and cannot be placed any more', async () => {
  const { id } = await newCopy()
  await advance(10)
  const target = (await cl.order_copies.target_order(id)).id
  const cancelled = await cl.orders._cancel(target)
  assert.equal(cancelled.status, 'cancelled')
  assert.ok(cancelled.cancelled_at)
  const error = await errorOf(cl.orders._place(target))
  assert.match(error.first().detail, /cannot transition from cancelled to placed/)
})

test('a new card heals an order that was declined', async () => {
  await fail(subscription.source_order_id, 'declined', null)
  const { id } = await newCopy()
  await advance(10)
  const target = (await cl.order_copies.target_order(id)).id
  assert.equal((await errorOf(cl.orders._place(target))).status, 422)
  const card = await cl.customer_payment_sources.create({ customer: cl.customers.relationship(subscription.customer_id) })
  await cl.orders._customer_payment_source_id(target, card.id)
  assert.equal((await cl.orders._place(target)).status, 'placed')
})

test('a customer is unique by email', async () => {
  const email = `${subscription.id}@example.com`
  const customer = await cl.customers.create({ email })
  assert.equal(customer.status, 'prospect')
  const error = await errorOf(cl.customers.create({ email }))
  assert.equal(error.first().meta.error, 'taken')
  await cl.customers.delete(customer.id)
})

test('an order placed asynchronously is placing first', async () => {
  const { id } = await newCopy({ place_target_order: false })
  await advance(10)
  const target = (await cl.order_copies.target_order(id)).id
  await cl.orders.update({ id: target, place_async: true })
  assert.equal((await cl.orders._place(target)).status, 'placing')
  await advance(10)
  assert.equal((await cl.orders.retrieve(target)).status, 'placed')
})
