// Rate limits as the official packages meet them: headers, the odd 429, and the helpers that stay below it.
// The sandbox's limits follow its clock, which only moves when a test (or a helper that waits) moves it.

import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { authenticate } from '@commercelayer/js-auth'
import CommerceLayerUtils, { executeBatch, headerRateLimits, retrieveAll, updateAll } from '@commercelayer/sdk-utils'
import { advance, clientId, clientSecret, connect, control, errorOf, login, newSubscription, waits } from './shop.mjs'

const AVERAGE = 100 // test mode, a minute over all endpoints
const BURST = 25 // test mode, ten seconds for each endpoint

let cl

beforeEach(async () => {
  await control('DELETE', 'limits')
  await control('DELETE', 'faults')
  cl = await connect()
  await control('DELETE', 'counters')
  waits.length = 0
})

const many = (count, ask) => Array.from({ length: count }, (_, n) => ask(n))
const throttled = async () => (await control('GET', 'counters')).throttled

test('every answer tells the average limit and what is left of it', async () => {
  const reader = cl.addRawResponseReader({ headers: true })
  await cl.orders.list()
  assert.deepEqual(headerRateLimits(reader.headers), { interval: 60, limit: AVERAGE, remaining: AVERAGE - 1 })
  await cl.order_copies.list()
  assert.equal(headerRateLimits(reader.headers).remaining, AVERAGE - 2)
  await cl.markets.list()
  assert.deepEqual(headerRateLimits(reader.headers), { interval: 60, limit: 500, remaining: 499 })
  await cl.customers.create({ email: 'first@example.com' })
  assert.deepEqual(headerRateLimits(reader.headers), { interval: 60, limit: AVERAGE, remaining: AVERAGE - 1 })
})

test('an error answer tells the limit too', async () => {
  const reader = cl.addRawResponseReader({ headers: true })
  await errorOf(cl.orders.retrieve('nobodyHere'))
  await cl.orders.list()
  assert.equal(headerRateLimits(reader.headers).remaining, AVERAGE - 2)
})

test('a burst on one endpoint is refused with an object for errors', async () => {
  await Promise.all(many(BURST, () => cl.orders.list()))
  const error = await errorOf(cl.orders.list())
  assert.ok(cl.isApiError(error))
  assert.strictEqual(error.status, 429)
  assert.strictEqual(error.code, '429')
  assert.deepEqual(error.errors, { title: 'Too Many Requests', code: 'THROTTLED', status: 429 })
  assert.strictEqual(error.first(), undefined)

  assert.ok(await cl.order_copies.list(), 'another endpoint has a burst of its own')
  await advance(10.001)
  assert.ok(await cl.orders.list())
})

test('all endpoints together have the average limit', async () => {
  const endpoints = ['orders', 'order_copies', 'order_subscriptions', 'customers']
  for (const name of endpoints) await Promise.all(many(AVERAGE / endpoints.length, () => cl[name].list()))
  assert.equal((await errorOf(cl.webhooks.list())).status, 429)
  assert.ok(await cl.markets.list(), 'what can be cached is counted apart')
  assert.ok(await cl.customers.create({ email: 'second@example.com' }), 'so are writes')
  await advance(60.001)
  assert.ok(await cl.webhooks.list())
})

test('a refused write was not carried out', async () => {
  await Promise.all(many(BURST, (n) => cl.customers.create({ email: `burst-${n}@example.com` })))
  assert.equal((await errorOf(cl.customers.create({ email: 'refused@example.com' }))).status, 429)
  assert.equal(await cl.customers.count({ filters: { email_eq: 'refused@example.com' } }), 0)
})

test('js-auth turns the odd 429 into a list', async () => {
  const grants = await Promise.all(many(30, () => authenticate('client_credentials', { clientId, clientSecret })))
  const { errors } = grants.find((grant) => grant.errors)
  assert.deepEqual(errors, [{ title: 'Too Many Requests', code: 'THROTTLED', status: 429 }])
})

test('retrieveAll walks a long list by its own pace without being refused', async () => {
  const { subscription_ids: seeded } = await control('POST', 'seed', { subscriptions: 650 })
  CommerceLayerUtils(cl)
  const found = await retrieveAll('order_subscriptions', { fields: ['status'], filters: { status_eq: 'inactive' } })

  assert.equal(found.length, seeded.length)
  assert.deepEqual(new Set(found.map(({ id }) => id)), new Set(seeded))
  assert.deepEqual([...new Set(waits)], [(10 * 1000) / BURST])
  assert.equal(await throttled(), 0)
})

test('retrieveAll stops at a limit', async () => {
  CommerceLayerUtils(cl)
  assert.equal((await retrieveAll('order_subscriptions', { limit: 30 })).length, 30)
})

test('updateAll changes every match once', async () => {
  for (let n = 0; n < 30; n++) await newSubscription({ reference: `update-${n}` })
  CommerceLayerUtils(cl)
  const filters = { reference_start: 'update-' }
  const done = await updateAll('order_subscriptions', { reference_origin: 'bulk' }, { filters })

  assert.deepEqual([done.total, done.processed, done.errors], [30, 30, 0])
  assert.equal(await cl.order_subscriptions.count({ filters: { reference_origin_eq: 'bulk' } }), 30)
  assert.equal(await throttled(), 0)
})

test('a batch of creations keeps below both limits', async () => {
  const { source_order_id: source } = await newSubscription()
  CommerceLayerUtils(cl)
  const tasks = many(AVERAGE + 20, (n) => ({
    resourceType: 'order_copies',
    operation: 'create',
    resource: { source_order: cl.orders.relationship(source), reference: `batch-${n}` },
  }))
  // A token lives for longer than this takes, but nobody has to count on it.
  await executeBatch({ tasks, options: { haltOnError: true, refreshToken: login } })

  assert.deepEqual([...new Set(waits)], [(60 * 1000) / AVERAGE])
  assert.equal(await throttled(), 0)
  assert.equal(await cl.order_copies.count({ filters: { reference_start: 'batch-' } }), AVERAGE + 20)
})

test('a batch asks for a new token when its own is refused', async () => {
  CommerceLayerUtils(cl)
  await control('POST', 'tokens/revoke')
  const refused = []
  const refreshToken = async (error) => {
    refused.push(error.cause.first().code)
    return login()
  }
  const task = { resourceType: 'customers', operation: 'create', resource: { email: 'third@example.com' } }
  await executeBatch({ tasks: [task], options: { refreshToken } })

  assert.deepEqual(refused, ['INVALID_TOKEN'])
  assert.equal(await cl.customers.count({ filters: { email_eq: 'third@example.com' } }), 1)
})
