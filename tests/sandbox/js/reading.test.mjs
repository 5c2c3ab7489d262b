// Reading with the SDK: lists, filters, sorting, sparse fields, includes, pages, counts, relationships.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { advance, connect, control, login, newSubscription, send, wire } from './shop.mjs'

const COPIES = 28
let cl, subscription, order, ids

const each = (page, name) => Array.from(page, (resource) => resource[name])

before(async () => {
  cl = await connect()
  subscription = await newSubscription({ frequency: 'monthly', reference: 'box', metadata: { perennial: { v: 1 } } })
  order = subscription.source_order_id
  ids = []
  for (let n = 0; n < COPIES; n++) {
    const copy = await cl.order_copies.create({
      source_order: cl.orders.relationship(order),
      place_target_order: true,
      reference: `period-${String(n).padStart(2, '0')}`,
      reference_origin: n < 3 ? 'elsewhere' : 'perennial',
      metadata: { n, even: n % 2 === 0, nested: { sweep: 'morning' } },
    })
    ids.push(copy.id)
    await advance(1)
  }
  await advance(60)
})

test('a list is an array with its counts', async () => {
  const page = await cl.order_copies.list()
  assert.equal(page.length, 10)
  assert.equal(page.recordCount, COPIES)
  assert.equal(page.pageCount, 3)
  assert.equal(page.meta.currentPage, 1)
  assert.equal(page.meta.recordsPerPage, 10)
  assert.ok(page.hasNextPage())
  assert.ok(!page.hasPrevPage())
  assert.equal(page.first().type, 'order_copies')
})

test('pages follow one another without gap or overlap', async () => {
  const seen = []
  for (let pageNumber = 1, page; !page || page.hasNextPage(); pageNumber++) {
    page = await cl.order_copies.list({ pageNumber, pageSize: 25, sort: ['created_at'] })
    seen.push(...each(page, 'id'))
  }
  assert.deepEqual(seen, ids)
})

test('a page behind the last one is empty and still tells the counts', async () => {
  const page = await cl.order_copies.list({ pageNumber: 9, pageSize: 25 })
  assert.equal(page.length, 0)
  assert.equal(page.recordCount, COPIES)
})

test('a keyset walk by id meets everything once', async () => {
  const seen = []
  for (let last; ; last = seen.at(-1)) {
    const filters = last ? { id_gt: last } : {}
    const page = await cl.order_copies.list({ sort: ['id'], pageSize: 25, filters })
    if (page.length === 0) break
    seen.push(...each(page, 'id'))
  }
  assert.deepEqual([...seen].sort(), [...ids].sort())
  assert.equal(new Set(seen).size, COPIES)
})

test('sorting goes by every criterion, also when one name begins like another', async () => {
  const oneByOne = (page) => Array.from(page, ({ reference_origin, reference }) => `${reference_origin} ${reference}`)
  const up = oneByOne(await cl.order_copies.list({ sort: ['reference_origin', 'reference'], pageSize: 25 }))
  assert.deepEqual(up, [...up].sort())
  const down = oneByOne(await cl.order_copies.list({ sort: ['-reference_origin', '-reference'], pageSize: 25 }))
  assert.deepEqual(down, [...down].sort().reverse())
})

test('sorting takes both directions, as text and as an object', async () => {
  const down = await cl.order_copies.list({ sort: ['-reference'], pageSize: 25 })
  assert.equal(down.first().reference, 'period-27')
  const up = await cl.order_copies.list({ sort: { reference_origin: 'asc', reference: 'desc' }, pageSize: 3 })
  assert.deepEqual(each(up, 'reference'), ['period-02', 'period-01', 'period-00'])
})

const FILTERS = [
  [{ reference_eq: 'period-07' }, 1],
  [{ reference_not_eq: 'period-07' }, COPIES - 1],
  [{ reference_in: ['period-01', 'period-02', 'period-99'] }, 2],
  [{ reference_not_in: 'period-01,period-02' }, COPIES - 2],
  [{ reference_origin_eq: 'perennial', reference_lt: 'period-10' }, 7],
  [{ reference_start: 'period-1' }, 10],
  [{ reference_cont: '-2' }, 8],
  [{ reference_end_any: ['5', '6'] }, 6],
  [{ reference_matches: 'period-_3' }, 3],
  [{ reference_or_reference_origin_eq: 'elsewhere' }, 3],
  [{ status_eq: 'completed' }, COPIES],
  [{ status_in: 'pending,in_progress' }, 0],
  [{ completed_at_null: false }, COPIES],
  [{ failed_at_present: true }, 0],
  [{ errors_count_gt: 0 }, 0],
  [{ created_at_gteq: '2026-03-01T06:00:20Z' }, 8],
  [{ metadata_jcont: { even: true } }, 14],
  [{ metadata_jcont: { nested: { sweep: 'morning' }, n: 5 } }, 1],
  [{ target_order_status_eq: 'placed' }, COPIES],
  [{ target_order_placed_at_null: true }, 0],
]

for (const [filters, expected] of FILTERS) {
  test(`filter ${JSON.stringify(filters)} finds ${expected}`, async () => {
    assert.equal(await cl.order_copies.count({ filters }), expected)
  })
}

test('a filter reaches through relationships', async () => {
  assert.equal(await cl.order_copies.count({ filters: { source_order_id_eq: order } }), COPIES)
  assert.equal(await cl.order_copies.count({ filters: { source_order_id_eq: 'nobodyHere' } }), 0)
  const found = await cl.orders.list({ filters: { order_subscriptions_reference_eq: 'box' } })
  assert.deepEqual(each(found, 'id'), [order])
})

test('values with commas, brackets, spaces and umlauts come through', async () => {
  const reference = 'Müller & Söhne [#1]=ä?%'
  const copy = await cl.order_copies.create({ source_order: cl.orders.relationship(order), reference })
  const found = await cl.order_copies.list({ filters: { reference_eq: reference } })
  assert.deepEqual(each(found, 'id'), [copy.id])
  await cl.order_copies.delete(copy.id)
})

test('counting asks for one record on one page', async () => {
  wire.length = 0
  assert.equal(await cl.order_subscriptions.count({ filters: { status_eq: 'inactive' } }), 1)
  assert.equal(wire[0].url.searchParams.get('page[size]'), '1')
})

test('relationships stay away until they are included', async () => {
  const plain = await cl.order_copies.retrieve(ids[0])
  assert.ok(!('source_order' in plain))
  const full = await cl.order_copies.retrieve(ids[0], { include: ['source_order', 'target_order'] })
  assert.equal(full.source_order.id, order)
  assert.equal(full.target_order.type, 'orders')
  assert.equal(full.target_order.status, 'placed')
})

test('dotted includes go on, to one and to many', async () => {
  const [found] = await cl.order_subscriptions.list({ include: ['source_order.customer', 'source_order.order_copies'] })
  assert.equal(found.source_order.customer.id, subscription.customer_id)
  assert.equal(found.source_order.order_copies.length, COPIES)
})

test('an empty relationship that was included is null or an empty list', async () => {
  const copy = await cl.order_copies.retrieve(ids[0], { include: ['order_subscription'] })
  assert.strictEqual(copy.order_subscription, null)
  const found = await cl.order_subscriptions.retrieve(subscription.id, { include: ['recurring_order_copies'] })
  assert.deepEqual(found.recurring_order_copies, [])
})

test('sparse fields leave out the rest, also of what is included', async () => {
  const [copy] = await cl.order_copies.list({
    fields: { order_copies: ['status', 'target_order'], orders: ['status', 'number'] },
    include: ['target_order'],
    pageSize: 1,
  })
  assert.deepEqual(Object.keys(copy).sort(), ['id', 'status', 'target_order', 'type'])
  assert.deepEqual(Object.keys(copy.target_order).sort(), ['id', 'number', 'status', 'type'])
  const bare = await cl.order_copies.retrieve(ids[0], { fields: ['reference'] })
  assert.deepEqual(Object.keys(bare).sort(), ['id', 'reference', 'type'])
})

test('related resources have addresses of their own, which sort and filter', async () => {
  assert.equal((await cl.order_copies.source_order(ids[0])).id, order)
  assert.equal((await cl.order_copies.target_order(ids[0], { include: ['customer'] })).customer.id, subscription.customer_id)
  const copies = await cl.orders.order_copies(order, { sort: ['-reference'], filters: { reference_lt: 'period-05' } })
  assert.deepEqual(each(copies, 'reference').slice(0, 2), ['period-04', 'period-03'])
  assert.equal(copies.recordCount, 5)
})

test('a related resource that is not there is null', async () => {
  assert.strictEqual(await cl.order_copies.order_subscription(ids[0]), null)
})

test('the events of a copy tell its story', async () => {
  const events = await cl.order_copies.events(ids[0], { sort: ['created_at'] })
  assert.deepEqual(each(events, 'name'), ['create', 'start', 'complete'].map((what) => `order_copies.${what}`))
})

test('singletons are read without an id', async () => {
  const application = await cl.application.retrieve()
  assert.equal(application.type, 'applications')
  assert.equal(application.kind, 'integration')
  const organization = await cl.organization.retrieve()
  assert.equal(organization.type, 'organizations')
  assert.equal(organization.slug, cl.currentOrganization)
})

test('times are UTC with milliseconds, ids have ten letters', async () => {
  const copy = await cl.order_copies.retrieve(ids[0])
  for (const name of ['created_at', 'updated_at', 'started_at', 'completed_at']) {
    assert.match(copy[name], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  }
  assert.match(copy.id, /^[A-Za-z]{10}$/)
})

test('numbers of orders and subscriptions are text, as the typings say', async () => {
  const found = await cl.order_subscriptions.retrieve(subscription.id, { include: ['source_order'] })
  assert.equal(typeof found.number, 'string')
  assert.equal(typeof found.source_order.number, 'string')
})

test('each resource says where it is, and the address answers', async () => {
  const headers = { accept: 'application/vnd.api+json' }
  const { body } = await send('GET', `order_copies/${ids[0]}`, { headers })
  const { data } = body
  assert.equal(data.meta.mode, 'test')
  for (const link of [data.links.self, data.relationships.source_order.links.related]) {
    const answer = await fetch(link, { headers: { ...headers, authorization: `Bearer ${await login()}` } })
    assert.equal(answer.status, 200)
    assert.match(answer.headers.get('content-type'), /^application\/vnd\.api\+json/)
  }
})

test('the links of a page lead to its neighbours', async () => {
  const headers = { accept: 'application/vnd.api+json', authorization: `Bearer ${await login()}` }
  const { body } = await send('GET', 'order_copies?page[number]=2&page[size]=10&filter[q][status_eq]=completed', { headers })
  assert.deepEqual(Object.keys(body.links), ['first', 'prev', 'next', 'last'])
  const next = await (await fetch(body.links.next, { headers })).json()
  assert.equal(next.data.length, COPIES - 20)
  assert.ok(!('next' in next.links))
})

test('a subscription is a full account of itself', async () => {
  const found = await cl.order_subscriptions.retrieve(subscription.id, { include: ['customer_payment_source', 'market'] })
  assert.equal(found.status, 'inactive')
  assert.equal(found.frequency, 'monthly')
  assert.deepEqual(found.metadata, { perennial: { v: 1 } })
  assert.equal(found.customer_payment_source.id, subscription.customer_payment_source_id)
  assert.equal(found.market.type, 'markets')
})

test('what the sandbox counts is what the SDK sent', async () => {
  await control('DELETE', 'counters')
  await cl.order_copies.list()
  await cl.order_copies.retrieve(ids[0])
  const { requests } = await control('GET', 'counters')
  assert.deepEqual(requests, { 'GET /api/order_copies': 1, 'GET /api/order_copies/{id}': 1 })
})
