// sdk-utils without limits in the way: odd page sizes, bulk deletion, batches whose tasks fail.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import CommerceLayerUtils, { deleteAll, executeBatch, retrieveAll, retrievePage, tokenData } from '@commercelayer/sdk-utils'
import { connect, newSubscription } from './shop.mjs'

const COPIES = 80
let cl, source

before(async () => {
  cl = await connect()
  CommerceLayerUtils(cl)
  source = (await newSubscription()).source_order_id
  const resource = { source_order: cl.orders.relationship(source) }
  const tasks = Array.from({ length: COPIES }, (_, n) => ({
    resourceType: 'order_copies',
    operation: 'create',
    resource: { ...resource, reference: `copy-${String(n).padStart(2, '0')}` },
  }))
  await executeBatch({ tasks, options: { haltOnError: true } })
})

test('the token tells test from live', () => {
  assert.strictEqual(tokenData(cl.currentAccessToken).test, true)
})

test('retrieveAll finds everything, whatever the number of pages', async () => {
  const all = await retrieveAll('order_copies', { include: ['source_order'] })
  assert.equal(new Set(all.map(({ id }) => id)).size, COPIES)
  assert.ok(all.every((copy) => copy.source_order.id === source))
  const none = await retrieveAll('order_copies', { filters: { reference_eq: 'nobody' } })
  assert.equal(none.length, 0)
})

test('a page larger than the API allows is put together', async () => {
  const page = await retrievePage('order_copies', { pageSize: 30, pageNumber: 2, sort: ['reference'] })
  const expected = Array.from({ length: 30 }, (_, n) => `copy-${n + 30}`)
  assert.deepEqual(Array.from(page, ({ reference }) => reference), expected)
})

test('a batch tells which of its tasks failed, and goes on', async () => {
  const [{ id }] = await cl.order_copies.list({ pageSize: 1, filters: { reference_eq: 'copy-00' } })
  const tasks = [
    { resourceType: 'order_copies', operation: 'retrieve', resource: { id: 'nobodyHere', type: 'order_copies' } },
    { resourceType: 'order_copies', operation: 'update', resource: { id, reference_origin: 'batch' } },
    { resourceType: 'order_copies', operation: 'list', params: { filters: { reference_origin_eq: 'batch' } } },
  ]
  await executeBatch({ tasks })
  assert.equal(tasks[0].onFailure.error.status, 404)
  assert.equal(tasks[1].onSuccess.result.reference_origin, 'batch')
  assert.equal(tasks[2].onSuccess.result.first().id, id)
})

test('deleteAll deletes every match and nothing else', async () => {
  const done = await deleteAll('order_copies', { filters: { reference_lt: 'copy-40' } })
  assert.deepEqual([done.total, done.processed, done.errors], [40, 40, 0])
  assert.equal(await cl.order_copies.count(), COPIES - 40)
})
