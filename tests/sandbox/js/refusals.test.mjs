// What the SDK makes of a refusal, and of an answer that never came.

import assert from 'node:assert/strict'
import { afterEach, before, test } from 'node:test'
import { connect, control, errorOf, login, newSubscription, send } from './shop.mjs'

const JSON_API = 'application/vnd.api+json'
let cl, subscription, order

before(async () => {
  cl = await connect()
  subscription = await newSubscription()
  order = cl.orders.relationship(subscription.source_order_id)
})

afterEach(() => control('DELETE', 'faults'))

const refused = async (promise, status, code) => {
  const error = await errorOf(promise)
  assert.ok(cl.isApiError(error), String(error))
  assert.equal(error.name, 'ApiError')
  assert.equal(error.type, 'response')
  assert.strictEqual(error.status, status)
  assert.strictEqual(error.code, String(status))
  const first = error.first()
  assert.strictEqual(first.status, String(status))
  assert.equal(first.code, code)
  assert.ok(first.title && first.detail)
  return first
}

test('what is not there is a 404, in the words of the API', async () => {
  const first = await refused(cl.order_copies.retrieve('nobodyHere'), 404, 'RECORD_NOT_FOUND')
  assert.equal(first.title, 'Record not found')
  assert.equal(first.detail, 'The requested resource was not found. Please double-check the resource id.')
  await refused(cl.order_copies.update({ id: 'nobodyHere', reference: 'x' }), 404, 'RECORD_NOT_FOUND')
  await refused(cl.order_copies.delete('nobodyHere'), 404, 'RECORD_NOT_FOUND')
  await refused(cl.order_copies.target_order('nobodyHere'), 404, 'RECORD_NOT_FOUND')
  await refused(cl.imports.list(), 404, 'RECORD_NOT_FOUND')
})

test('a copy without a source order is refused with a pointer to the relationship', async () => {
  const first = await refused(cl.order_copies.create({}), 422, 'VALIDATION_ERROR')
  assert.deepEqual(first.source, { pointer: '/data/relationships/source_order' })
  assert.equal(first.meta.error, 'blank')
  assert.match(first.detail, /^source_order - /)
})

test('a blank attribute is refused with a pointer to the attribute', async () => {
  const first = await refused(cl.webhooks.create({ topic: 'orders.place' }), 422, 'VALIDATION_ERROR')
  assert.deepEqual(first.source, { pointer: '/data/attributes/callback_url' })
  assert.equal(first.meta.error, 'blank')
})

test('a frequency that does not exist and a run in the past are refused', async () => {
  const frequency = cl.order_subscriptions.update({ id: subscription.id, frequency: 'now and then' })
  assert.equal((await refused(frequency, 422, 'VALIDATION_ERROR')).source.pointer, '/data/attributes/frequency')
  const past = cl.order_subscriptions.update({ id: subscription.id, next_run_at: '2020-01-01T00:00:00Z' })
  assert.equal((await refused(past, 422, 'VALIDATION_ERROR')).source.pointer, '/data/attributes/next_run_at')
})

test('what may not be written is refused', async () => {
  await refused(cl.order_copies.create({ source_order: order, status: 'completed' }), 400, 'PARAM_NOT_ALLOWED')
  const copy = await cl.order_copies.create({ source_order: order })
  await refused(cl.order_copies.update({ id: copy.id, skip_errors: true }), 400, 'PARAM_NOT_ALLOWED')
})

test('a link to a resource of another type is refused', async () => {
  const wrong = { source_order: cl.customers.relationship(subscription.customer_id) }
  await refused(cl.order_copies.create(wrong), 400, 'TYPE_MISMATCH')
})

const QUERIES = [
  [{ filters: { colour_eq: 'red' } }, 'FILTER_NOT_ALLOWED'],
  [{ filters: { created_at_gt: 'yesterday' } }, 'INVALID_FILTER_VALUE'],
  [{ sort: ['errors_log'] }, 'INVALID_SORT_CRITERIA'],
  [{ include: ['nobody'] }, 'INVALID_INCLUDE'],
  [{ include: ['event_stores'] }, 'INVALID_INCLUDE'],
  [{ fields: ['colour'] }, 'INVALID_FIELD'],
]

for (const [query, code] of QUERIES) {
  test(`the query ${JSON.stringify(query)} is ${code}`, () => refused(cl.order_copies.list(query), 400, code))
}

test('pages beyond 25 are refused', async () => {
  const headers = { accept: JSON_API }
  for (const query of ['page[size]=26', 'page[size]=0', 'page[number]=0', 'page[size]=many']) {
    const { status, body } = await send('GET', `order_copies?${query}`, { headers })
    assert.equal(status, 400, query)
    assert.equal(body.errors[0].code, 'INVALID_PAGE_VALUE')
  }
})

test('another media type is 406 or 415', async () => {
  const accept = await send('GET', 'orders', { headers: { accept: 'text/html' } })
  assert.equal(accept.status, 406)
  assert.equal(accept.body.errors[0].code, 'NOT_ACCEPTABLE')
  const body = JSON.stringify({ data: { type: 'webhooks', attributes: {} } })
  const type = await send('POST', 'webhooks', { headers: { accept: JSON_API, 'content-type': 'application/json' }, body })
  assert.equal(type.status, 415)
  assert.equal(type.body.errors[0].code, 'UNSUPPORTED_MEDIA_TYPE')
  assert.equal(type.headers.get('content-type'), `${JSON_API}; charset=utf-8`)
})

test('a method that a resource has not is 405', async () => {
  const headers = { accept: JSON_API, 'content-type': JSON_API }
  for (const path of ['events', 'recurring_order_copies', 'order_factories', 'resource_errors']) {
    assert.equal((await send('POST', path, { headers, body: '{}' })).status, 405, path)
  }
  assert.equal((await send('DELETE', 'application', { headers })).status, 405)
})

test('an order that others depend on cannot be deleted', async () => {
  await refused(cl.orders.delete(subscription.source_order_id), 423, 'LOCKED')
})

test('a server fault is an ApiError, with or without JSON', async () => {
  await control('POST', 'faults', { action: 'status', status: 500, body: 'json', times: 1 })
  const json = await errorOf(cl.orders.list())
  assert.equal(json.status, 500)
  await control('POST', 'faults', { action: 'status', status: 503, body: 'html', times: 1 })
  const html = await errorOf(cl.orders.list())
  assert.equal(html.status, 503)
  assert.deepEqual(html.errors, [])
})

test('a connection that breaks is a client error, and the write may have happened', async () => {
  await control('POST', 'faults', { action: 'reset', when: 'after', method: 'POST', path: '/api/order_copies', times: 1 })
  const error = await errorOf(cl.order_copies.create({ source_order: order, reference: 'lost answer' }))
  assert.ok(!cl.isApiError(error))
  assert.equal(error.type, 'client')
  assert.equal(await cl.order_copies.count({ filters: { reference_eq: 'lost answer' } }), 1)
})

test('an answer that comes too late is a timeout, and the write happened', async () => {
  const impatient = await connect({ timeout: 300 })
  const late = { action: 'delay', when: 'after', seconds: 1, method: 'POST', path: '/api/order_copies', times: 1 }
  await control('POST', 'faults', late)
  const error = await errorOf(impatient.order_copies.create({ source_order: order, reference: 'late answer' }))
  assert.equal(error.type, 'timeout')
  assert.equal(await cl.order_copies.count({ filters: { reference_eq: 'late answer' } }), 1)
})

test('an answer that is not JSON is a parse error', async () => {
  await control('POST', 'faults', { action: 'malformed', method: 'GET', path: '/api/orders', times: 1 })
  assert.equal((await errorOf(cl.orders.list())).type, 'parse')
})

test('without a token nothing is told', async () => {
  const answer = await send('GET', 'orders', { headers: { accept: JSON_API, authorization: '' } })
  assert.equal(answer.status, 401)
  assert.equal(answer.body.errors[0].code, 'INVALID_TOKEN')
  assert.ok(await login())
})
