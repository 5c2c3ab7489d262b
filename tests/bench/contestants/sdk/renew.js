// The official SDK with its utilities' batch helper, which spaces requests by the limit that the headers tell.
// Copies are created one after the other, then polled one by one; then their orders are placed, and then the
// subscriptions are changed, as the documentation shows.

import { authenticate } from '@commercelayer/js-auth'
import CommerceLayer, { order_copies, order_subscriptions, orders } from '@commercelayer/sdk'
import CommerceLayerUtils, { executeBatch } from '@commercelayer/sdk-utils'

const ticket = JSON.parse(process.env.BENCH_TICKET)
const FINAL = new Set(['completed', 'failed', 'aborted'])
const FULL_PAGE = 25
const MONTH = 30 * 24 * 3600 * 1000
const pollSeconds = Math.max(0.1, ticket.copy_seconds / 3)
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

// Both packages build their own https:// addresses; this leads them to the shop of this round.
const theFetch = globalThis.fetch
globalThis.fetch = (url, init) => {
  const { pathname, search } = new URL(url)
  const base = pathname.startsWith('/oauth') ? ticket.auth_url.replace('/oauth/token', '') : ticket.api_url.replace(/\/api$/, '')
  return theFetch(base + pathname + search, init)
}

const { accessToken } = await authenticate('client_credentials', {
  clientId: ticket.client_id,
  clientSecret: ticket.client_secret
})
const client = CommerceLayer({ organization: ticket.organization, accessToken })
CommerceLayerUtils(client, [order_copies, order_subscriptions, orders])

async function due() {
  const found = []
  for (;;) {
    const filters = { status_eq: 'inactive', next_run_at_lteq: new Date().toISOString() }
    if (found.length > 0) filters.id_gt = found.at(-1).id
    const page = await order_subscriptions.list({ filters, sort: { id: 'asc' }, pageSize: FULL_PAGE, include: ['source_order'] })
    found.push(...page)
    if (page.length < FULL_PAGE) return found
  }
}

const draft = (subscription) => ({
  reference: subscription.id,
  place_target_order: false,
  reuse_wallet: true,
  source_order: { type: 'orders', id: subscription.source_order.id }
})

const placement = (subscription, orderId) => ({ id: orderId, _place: true, reference: subscription.id })

const change = (subscription, orderId) => ({
  id: subscription.id,
  metadata: { ...subscription.metadata, renewal: orderId },
  next_run_at: new Date(Date.now() + MONTH).toISOString()
})

async function orderOf(copyId) {
  for (;;) {
    try {
      const copy = await order_copies.retrieve(copyId, { include: ['target_order'] })
      if (FINAL.has(copy.status)) return copy.target_order.id
      await sleep(pollSeconds)
    } catch (error) {
      if (error.status !== 429) throw error
      await sleep(ticket.window_scale * 60)
    }
  }
}

async function paced(subscriptions) {
  const copies = []
  const creations = subscriptions.map((subscription) => ({
    resourceType: 'order_copies',
    operation: 'create',
    resource: draft(subscription),
    onSuccess: { callback: (copy) => { copies.push([subscription, copy.id]) } }
  }))
  await executeBatch({ tasks: creations })
  const placements = []
  const changes = []
  for (const [subscription, copyId] of copies) {
    const orderId = await orderOf(copyId)
    placements.push({ resourceType: 'orders', operation: 'update', resource: placement(subscription, orderId) })
    changes.push({ resourceType: 'order_subscriptions', operation: 'update', resource: change(subscription, orderId) })
  }
  await executeBatch({ tasks: placements })
  await executeBatch({ tasks: changes })
}

async function unpaced(subscriptions) {
  const copies = []
  for (const subscription of subscriptions) {
    copies.push([subscription, (await order_copies.create(draft(subscription))).id])
  }
  for (const [subscription, copyId] of copies) {
    const orderId = await orderOf(copyId)
    await orders.update(placement(subscription, orderId))
    await order_subscriptions.update(change(subscription, orderId))
  }
}

const began = performance.now()
const cpuBefore = process.cpuUsage()
const subscriptions = await due()
await (ticket.limited ? paced(subscriptions) : unpaced(subscriptions))
const { user, system } = process.cpuUsage(cpuBefore)
console.log(JSON.stringify({
  seconds: (performance.now() - began) / 1000,
  cpu_seconds: (user + system) / 1e6,
  peak_megabytes: process.resourceUsage().maxRSS / 1024
}))
