// Tokens: js-auth gets, keeps, renews and revokes them; the SDK refreshes one that ran out.

import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { authenticate, getCoreApiBaseEndpoint, jwtDecode, jwtIsIntegration, jwtVerify, makeIntegration, revoke } from '@commercelayer/js-auth'
import { CommerceLayerStatic } from '@commercelayer/sdk'
import { clientId, clientSecret, connect, control, errorOf, login, organization, wire } from './shop.mjs'

const HOUR = 3600
const hoursFromNow = (hours) => new Date(Date.now() + hours * HOUR * 1000).toISOString()
const memory = () => {
  const kept = new Map()
  return {
    name: 'memory',
    getItem: async (key) => kept.get(key) ?? null,
    setItem: async (key, value) => void kept.set(key, value),
    removeItem: async (key) => void kept.delete(key),
  }
}

beforeEach(async () => {
  wire.length = 0
  await control('POST', 'tokens/revoke')
  await control('POST', 'clock', { set: hoursFromNow(0) })
})

test('client credentials become a token that says whose it is', async () => {
  const before = Date.now()
  const granted = await authenticate('client_credentials', { clientId, clientSecret })

  assert.equal(granted.errors, undefined)
  assert.equal(granted.tokenType.toLowerCase(), 'bearer')
  assert.equal(granted.scope, 'market:all')
  assert.ok(granted.expires - before > 1.9 * HOUR * 1000)
  const { header, payload } = jwtDecode(granted.accessToken)
  assert.equal(header.typ, 'JWT')
  assert.ok(jwtIsIntegration(payload))
  assert.equal(payload.organization.slug, organization)
  assert.equal(payload.test, true)
  assert.equal(payload.exp - payload.iat, 2 * HOUR)
  assert.equal(granted.createdAt, payload.iat)
  assert.equal(getCoreApiBaseEndpoint(granted.accessToken), `https://${organization}.commercelayer.io`)
})

test("a token's signature holds against the published keys", async () => {
  const token = await login()
  assert.equal((await jwtVerify(token)).payload.organization.slug, organization)

  const [header, , signature] = token.split('.')
  const forged = Buffer.from(JSON.stringify({ ...jwtDecode(token).payload, test: false })).toString('base64url')
  await assert.rejects(jwtVerify(`${header}.${forged}.${signature}`), /Invalid signature/)
})

test('the same token is handed out again with less time left', async () => {
  const first = await authenticate('client_credentials', { clientId, clientSecret })
  await control('POST', 'clock', { advance: HOUR })
  const second = await authenticate('client_credentials', { clientId, clientSecret })

  assert.equal(second.accessToken, first.accessToken)
  assert.equal(second.createdAt, first.createdAt)
  assert.equal(first.expiresIn - second.expiresIn, HOUR)
})

test('wrong credentials are an answer with errors, not an exception', async () => {
  const { errors } = await authenticate('client_credentials', { clientId, clientSecret: 'wrong' })
  assert.equal(errors[0].code, 'UNAUTHORIZED')
  assert.equal(errors[0].title, 'invalid_client')
  assert.strictEqual(errors[0].status, 401)
})

test('an integration keeps its token, and asks again when ten minutes are left', async () => {
  const integration = makeIntegration({ clientId, clientSecret }, { storage: memory() })
  // Issued an hour and 55 minutes ago by the caller's clock: five minutes are left.
  await control('POST', 'clock', { set: hoursFromNow(-115 / 60) })
  const old = await integration.getAuthorization()
  await control('POST', 'clock', { set: hoursFromNow(0) })
  const fresh = await integration.getAuthorization()
  const kept = await integration.getAuthorization()

  assert.notEqual(fresh.accessToken, old.accessToken)
  assert.equal(kept.accessToken, fresh.accessToken)
  assert.equal(wire.length, 2)
  assert.equal(JSON.parse(wire[0].body).scope, 'market:all')
})

test('a revoked token is refused, and the next one is another', async () => {
  const integration = makeIntegration({ clientId, clientSecret }, { storage: memory() })
  const { accessToken } = await integration.getAuthorization()
  assert.deepEqual(await integration.revokeAuthorization(), {})

  const cl = await connect({ accessToken })
  const error = await errorOf(cl.orders.list())
  assert.equal(error.status, 401)
  assert.equal(error.first().code, 'INVALID_TOKEN')
  assert.notEqual((await integration.getAuthorization()).accessToken, accessToken)
})

test('a token can be revoked with the credentials it was issued for, and with no others', async () => {
  const token = await login()
  const { errors } = await revoke({ clientId, clientSecret: 'wrong', token })
  assert.equal(errors[0].status, 403)
  assert.ok(await (await connect({ accessToken: token })).orders.list())
})

test('the SDK refreshes a token that has expired, once, and repeats the request', async () => {
  await control('POST', 'clock', { set: hoursFromNow(-3) })
  const expired = await login()
  await control('POST', 'clock', { set: hoursFromNow(0) })
  const refreshed = []
  const refreshToken = async (old) => {
    refreshed.push(old)
    return login()
  }
  const cl = await connect({ accessToken: expired, refreshToken })
  wire.length = 0

  assert.ok(CommerceLayerStatic.isTokenExpired(expired))
  assert.ok(Array.isArray(await cl.orders.list()))
  assert.deepEqual(refreshed, [expired])
  assert.deepEqual(wire.filter(({ url }) => url.pathname === '/api/orders').map(({ status }) => status), [401, 200])
  assert.notEqual(cl.currentAccessToken, expired)
})

test('a token that the shop refuses before its time is not refreshed', async () => {
  const refreshToken = () => assert.fail('asked for a new token')
  const cl = await connect({ refreshToken })
  await control('POST', 'clock', { advance: 3 * HOUR })

  const error = await errorOf(cl.orders.list())
  assert.equal(error.status, 401)
  assert.equal(error.first().code, 'INVALID_TOKEN')
  assert.match(error.first().detail, /has expired/)
})

test('a token of nobody is refused', async () => {
  const cl = await connect({ accessToken: 'nobody.knows.it', organization })
  const error = await errorOf(cl.orders.list())
  assert.equal(error.status, 401)
  assert.equal(error.first().title, 'Invalid token')
})
