// The sandbox as the official packages see it: every request to commercelayer.io goes to the sandbox instead.
//
// The packages have no option for another host (the SDK builds `https://{organization}.{domain}`, js-auth has no
// fetch option), hence `globalThis.fetch` is replaced. Nothing else about a request is changed.

import { authenticate } from '@commercelayer/js-auth'
import { CommerceLayer } from '@commercelayer/sdk/bundle'

const sandbox = JSON.parse(process.env.SANDBOX)
const realFetch = globalThis.fetch

/** Requests that left for the sandbox: `{method, url, headers, body, status}`, oldest first. */
export const wire = []

globalThis.fetch = async (target, options = {}) => {
  const url = new URL(target instanceof Request ? target.url : target)
  const isTheirs = url.hostname.endsWith('.commercelayer.io')
  const sent = { method: options.method ?? 'GET', url, headers: new Headers(options.headers), body: options.body }
  if (isTheirs) wire.push(sent)
  const answer = await realFetch(isTheirs ? new URL(url.pathname + url.search, sandbox.url) : target, options)
  sent.status = answer.status
  return answer
}

export const organization = sandbox.organization
export const clientId = sandbox.client_id
export const clientSecret = sandbox.client_secret

/** Pull a control of the sandbox, for example `control('POST', 'clock', {advance: 60})`. */
export async function control(method, name, body) {
  const answer = await realFetch(`${sandbox.url}/_sandbox/${name}`, { method, body: body && JSON.stringify(body) })
  const content = await answer.json()
  if (!answer.ok) throw new Error(`${method} ${name}: ${content.error}`)
  return content
}

export const advance = (seconds) => control('POST', 'clock', { advance: seconds })
export const newSubscription = (members = {}) => control('POST', 'subscriptions', members)

/** A token as js-auth gets it. */
export async function login() {
  const { accessToken } = await authenticate('client_credentials', { clientId, clientSecret })
  return accessToken
}

/** The SDK's client with every resource on it. */
export async function connect(options = {}) {
  return CommerceLayer({ accessToken: await login(), ...options })
}

/** The error that `promise` is rejected with. */
export async function errorOf(promise) {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('expected a rejection')
}

/** A plain request to the API, for what the SDK would never send. */
export async function send(method, path, { headers = {}, body, token } = {}) {
  const authorization = `Bearer ${token ?? (await login())}`
  const answer = await realFetch(`${sandbox.url}/api/${path}`, { method, headers: { authorization, ...headers }, body })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, body: text === '' ? null : JSON.parse(text) }
}

// sdk-utils paces itself by `setTimeout`. Its waits (and nobody else's: fetch has timers of its own) take no time
// here, they move the sandbox's clock instead.
const realSetTimeout = globalThis.setTimeout

/** How long sdk-utils waited so far: milliseconds, one entry for each wait. */
export const waits = []

globalThis.setTimeout = (callback, milliseconds, ...more) => {
  if (!new Error().stack.includes('/sdk-utils/')) return realSetTimeout(callback, milliseconds, ...more)
  waits.push(milliseconds)
  advance(milliseconds / 1000).then(callback)
}
