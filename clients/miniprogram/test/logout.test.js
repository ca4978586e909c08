'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { refusal } = require('./support/edge')
const { stage, failure } = require('./support/stage')

const LOGOUT = '/api/v1/logout'

async function loggedIn(t) {
  const made = await stage(t)
  await made.phone.settle(made.auth.login())
  made.edge.requests.length = 0
  return made
}

test('logout ends the session here and there, and nothing logs in before a tap', async (t) => {
  const { phone, edge, auth, start, events } = await loggedIn(t)
  assert.equal((await phone.settle(auth.logout())).endedSessions, 1)
  assert.deepEqual(edge.requests[0].body, { refresh_token: 'refresh-1' })
  assert.deepEqual([auth.state, auth.session, auth.signedOut.endReason], ['signedOut', null, 'LOGOUT'])
  assert.deepEqual(events, ['login', 'signedOut'])
  assert.equal((await failure(phone, start().request({ url: '/orders' }))).needsTap, true)
  assert.ok(!JSON.stringify(phone.stored()).includes('refresh-1'))
})

test('logout everywhere asks for all', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  await phone.settle(auth.logout({ all: true }))
  assert.deepEqual(edge.requests[0].body, { refresh_token: 'refresh-1', all: true })
})

test('logout without a session asks nobody and still stands', async (t) => {
  const { phone, edge, auth } = await stage(t)
  assert.equal((await phone.settle(auth.logout())).endedSessions, 0)
  assert.equal(edge.requests.length, 0)
  assert.equal(auth.state, 'signedOut')
})

test('a logout in a tunnel: out at once, told to the caller as not known there, and told to the service at the next start', async (t) => {
  const { phone, edge, auth, start } = await loggedIn(t)
  edge.script = () => ({ lost: true })
  assert.equal((await failure(phone, auth.logout())).reason, 'NETWORK')
  assert.equal(auth.state, 'signedOut')
  edge.script = () => undefined
  start()
  await phone.time.advance(0)
  assert.deepEqual(edge.requests.at(-1).body, { refresh_token: 'refresh-1' })
  assert.equal(phone.stored().logouts.length, 0)
  start()
  await phone.time.advance(0)
  assert.equal(edge.count(LOGOUT), 2)
})

test('a logout everywhere that could not be told never ends the session that comes after it', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = ({ path }) => (path === LOGOUT ? refusal(503, 'STORE_UNAVAILABLE', { retryAfter: 1 }) : undefined)
  await failure(phone, auth.logout({ all: true }))
  await phone.settle(auth.login())
  assert.deepEqual(edge.requests.map((r) => [r.path, r.body.all]), [[LOGOUT, true], [LOGOUT, true], ['/api/v1/login', undefined]])
  assert.deepEqual(phone.stored().logouts, [{ refresh: 'refresh-1', all: false }])
})

test('logout while ten pages wait for a refresh: they are told at once, and its late reply changes nothing', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  await phone.time.advance(7200000)
  edge.script = ({ path }) => (path === '/api/v1/refresh' ? { hold: true } : undefined)
  const all = Array.from({ length: 10 }, () => auth.request({ url: '/orders' }).catch((error) => error))
  while (edge.waiting.length === 0) await new Promise((resolve) => setImmediate(resolve))
  phone.letHang()
  const out = auth.logout()
  for (const error of await phone.settle(Promise.all(all))) assert.deepEqual([error.endReason, error.needsTap], ['LOGOUT', true])
  await phone.settle(out)
  phone.resume()
  edge.waiting[0]()
  await phone.time.advance(0)
  assert.equal(auth.state, 'signedOut')
  assert.equal(phone.stored().session, null)
})

test('a login whose reply comes after the logout is given back', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path }) => (path === '/api/v1/login' ? { hold: true } : undefined)
  const login = auth.login().catch((error) => error)
  while (edge.waiting.length === 0) await new Promise((resolve) => setImmediate(resolve))
  phone.letHang()
  await phone.settle(auth.logout())
  assert.equal((await login).endReason, 'LOGOUT')
  phone.resume()
  edge.waiting[0]()
  await phone.time.advance(0)
  assert.deepEqual(edge.requests.at(-1).body, { refresh_token: 'refresh-1' })
  assert.equal(auth.state, 'signedOut')
  assert.equal(phone.stored().logouts.length, 0)
})
