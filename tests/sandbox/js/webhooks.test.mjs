// Webhooks as a shop's own server receives them, checked and read by sdk-utils.

import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { checkSignature, denormalizePayload, webhooks } from '@commercelayer/sdk-utils'
import { advance, connect, newSubscription } from './shop.mjs'

let cl, server, url, subscription, source
const received = []
const waiting = []

/** The next call: `{headers, body}`. */
const nextCall = () => received.shift() ?? new Promise((resolve) => waiting.push(resolve))

before(async () => {
  server = createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    response.end()
    const call = { headers: request.headers, body: Buffer.concat(chunks).toString('utf8') }
    const next = waiting.shift()
    if (next) next(call)
    else received.push(call)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${server.address().port}/hook`
  cl = await connect()
})

after(() => server.close())

beforeEach(async () => {
  for (const { id } of await cl.webhooks.list()) await cl.webhooks.delete(id)
  received.length = 0
  subscription = await newSubscription({ reference: 'Größe' })
  source = cl.orders.relationship(subscription.source_order_id)
})

const subscribe = (topic, more = {}) => cl.webhooks.create({ topic, callback_url: url, ...more })
const newCopy = (more = {}) => cl.order_copies.create({ source_order: source, place_target_order: true, ...more })

test('a new webhook is enabled, closed and has a secret', async () => {
  const webhook = await subscribe('order_copies.create', { include_resources: ['source_order'] })
  assert.match(webhook.shared_secret, /^[0-9a-f]{32}$/)
  assert.equal(webhook.name, `Webhook ${webhook.id}`)
  assert.deepEqual(webhook.include_resources, ['source_order'])
  assert.equal(webhook.circuit_state, 'closed')
  assert.ok(webhook.disabled_at == null)
  assert.equal((await cl.webhooks.retrieve(webhook.id)).shared_secret, webhook.shared_secret)
})

test('a call carries a signature that sdk-utils accepts, and rejects once a byte is changed', async () => {
  const webhook = await subscribe('order_copies.create')
  const { id } = await newCopy({ reference: 'Größe 1', metadata: { text: 'a/b <c> "d"' } })
  const { headers, body } = await nextCall()
  await cl.order_copies.delete(id) // or its end would be announced in the middle of a later test

  const checked = checkSignature(body, headers, webhook.shared_secret)
  assert.deepEqual(checked, { ok: true, topic: 'order_copies.create', message: 'Signature successfully checked' })
  assert.equal(checkSignature(body.replace('Größe', 'Grösse'), headers, webhook.shared_secret).ok, false)
  assert.equal(checkSignature(body, headers, 'f'.repeat(32)).ok, false)
})

test('the payload is the resource, with what was to be included', async () => {
  await subscribe('order_copies.complete', { include_resources: ['target_order', 'source_order'] })
  const { id } = await newCopy({ reference: 'Größe 2' })
  await advance(10)
  const { body } = await nextCall()

  const copy = webhooks.parse.order_copies(body)
  assert.equal(copy.id, id)
  assert.equal(copy.status, 'completed')
  assert.equal(copy.reference, 'Größe 2')
  assert.equal(copy.source_order.id, subscription.source_order_id)
  assert.equal(copy.target_order.status, 'placed')
  assert.equal(JSON.parse(body).data.links.self, `/api/order_copies/${id}`)
})

test('an order that was placed is announced with its customer', async () => {
  await subscribe('orders.place', { include_resources: ['customer'] })
  await newCopy()
  await advance(10)
  const { headers, body } = await nextCall()

  assert.equal(headers['x-commercelayer-topic'], 'orders.place')
  const order = webhooks.parse.orders(body)
  assert.equal(order.status, 'placed')
  assert.equal(order.customer.id, subscription.customer_id)
  assert.throws(() => webhooks.parse.order_copies(body), /Invalid resource type/)
})

test('a subscription tells what became of its run', async () => {
  await subscribe('order_subscriptions.deactivate')
  await cl.order_subscriptions._activate(subscription.id)
  await cl.order_subscriptions._deactivate(subscription.id)
  const found = denormalizePayload((await nextCall()).body)
  assert.equal(found.type, 'order_subscriptions')
  assert.equal(found.status, 'inactive')
})

test('a disabled webhook is silent until it is enabled', async () => {
  const { id } = await subscribe('order_copies.create')
  assert.ok((await cl.webhooks._disable(id)).disabled_at)
  await newCopy({ reference: 'unheard' })
  assert.ok((await cl.webhooks._enable(id)).disabled_at == null)
  await newCopy({ reference: 'heard' })
  assert.equal(denormalizePayload((await nextCall()).body).reference, 'heard')
})

test('calls are kept, and an event can be fired again', async () => {
  const webhook = await subscribe('order_copies.create')
  const { id } = await newCopy()
  const first = await nextCall()
  const [event] = await cl.order_copies.events(id)
  await cl.events._trigger(event.id)
  assert.equal((await nextCall()).body, first.body)

  let callbacks
  do callbacks = await cl.webhooks.last_event_callbacks(webhook.id)
  while (callbacks.length < 2)
  assert.deepEqual(Array.from(callbacks, ({ response_code }) => response_code), ['200', '200'])
  assert.equal((await cl.event_callbacks.webhook(callbacks[0].id)).id, webhook.id)
  assert.equal((await cl.events.last_event_callbacks(event.id)).length, 2)
  assert.equal(callbacks[0].callback_url, url)
  assert.equal(callbacks[0].payload.data.id, id)
})
