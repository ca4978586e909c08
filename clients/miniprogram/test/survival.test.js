/** The background, a killed app, and storage that fails. */
'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { refusal } = require('./support/edge')
const { stage, failure } = require('./support/stage')

const REFRESH = '/api/v1/refresh'
const HOURS_2 = 7200000

async function loggedIn(t, options) {
  const made = await stage(t, options)
  await made.phone.settle(made.auth.login())
  return made
}

/** Until the edge holds a request back; afterwards time may pass over it. */
async function held(edge, phone) {
  while (edge.waiting.length === 0) await new Promise((resolve) => setImmediate(resolve))
  phone.letHang()
}

test('a refresh interrupted in the background is repeated in the foreground with the same token', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  await phone.time.advance(HOURS_2)
  edge.script = ({ path }) => (path === REFRESH && edge.count(REFRESH) === 1 ? { hold: true } : undefined)
  const all = Array.from({ length: 10 }, (_, i) => auth.request({ url: `/page/${i}` }))
  await held(edge, phone)
  phone.hide()
  await phone.time.advance(600000)
  assert.equal(edge.count(REFRESH), 1)
  phone.show()
  const responses = await phone.settle(Promise.all(all))
  assert.ok(responses.every((r) => r.statusCode === 200))
  assert.deepEqual(edge.requests.filter((r) => r.path === REFRESH).map((r) => r.body.refresh_token), ['refresh-1', 'refresh-1'])
  assert.equal(phone.logins, 1)
})

test('a login interrupted in the background takes a new code in the foreground', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path, at }) => (path === '/api/v1/login' && at === 0 ? { hold: true } : undefined)
  const login = auth.login()
  login.catch(() => {})
  await held(edge, phone)
  phone.hide()
  await phone.time.advance(30000)
  assert.equal(phone.logins, 1)
  phone.show()
  await phone.settle(login)
  assert.deepEqual(edge.requests.map((r) => r.body.code), ['code-1', 'code-2'])
})

test('a page’s GET interrupted in the background goes again in the foreground, its POST does not', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  const waiting = new Set(['/get', '/post'])
  edge.script = ({ path }) => (waiting.delete(path) ? { hold: true } : undefined)
  const get = auth.request({ url: '/get' })
  const post = auth.request({ url: '/post', method: 'POST', data: {} })
  post.catch(() => {})
  while (edge.waiting.length < 2) await new Promise((resolve) => setImmediate(resolve))
  phone.letHang()
  phone.hide()
  await phone.time.advance(10000)
  phone.show()
  assert.equal((await phone.settle(get)).statusCode, 200)
  assert.equal((await failure(phone, post)).reason, 'INTERRUPTED')
  assert.deepEqual([edge.count('/get'), edge.count('/post')], [2, 1])
})

test('an app killed while its refresh is on the way starts from storage, and gets the same successor', async (t) => {
  const { phone, edge, auth, start } = await loggedIn(t)
  await phone.time.advance(HOURS_2)
  let successor
  edge.script = ({ path, body }) => {
    if (path !== REFRESH) return undefined
    assert.equal(body.refresh_token, 'refresh-1')
    if (successor) return { body: successor }
    successor = edge.pair()
    return { hold: true }
  }
  auth.request({ url: '/orders' })
  await held(edge, phone)
  phone.kill()
  const again = start()
  assert.equal(again.state, 'live')
  assert.equal((await phone.settle(again.request({ url: '/orders' }))).data.token, `Bearer ${successor.access_token}`)
  assert.equal(phone.logins, 1)
})

test('a restarted app uses the stored token without asking anybody', async (t) => {
  const { phone, edge, start } = await loggedIn(t)
  const again = start()
  assert.equal(again.session.userId, 'user-1')
  await phone.settle(again.request({ url: '/orders' }))
  assert.deepEqual([phone.logins, edge.count(REFRESH)], [1, 0])
})

test('storage that cannot be written: told once, everything works from memory, the previous token stays stored', async (t) => {
  const { phone, edge, auth, reasons } = await loggedIn(t)
  await phone.time.advance(HOURS_2)
  phone.brokenStorage.write = true
  assert.equal((await phone.settle(auth.request({ url: '/a' }))).data.token, 'Bearer access-2')
  assert.equal(phone.stored().session.refresh, 'refresh-1')
  assert.deepEqual(reasons.map((error) => error.reason), ['STORAGE_FAILED'])
  await phone.settle(auth.request({ url: '/b' }))
  assert.equal(edge.count(REFRESH), 1)
})

test('before memory is two rotations ahead, what is stored is removed: an old copy would look stolen', async (t) => {
  const { phone, edge, auth, start } = await loggedIn(t)
  phone.brokenStorage.write = true
  for (let i = 0; i < 2; i += 1) {
    await phone.time.advance(HOURS_2)
    await phone.settle(auth.request({ url: '/a' }))
  }
  assert.equal(phone.stored(), null)
  phone.brokenStorage.write = false
  await phone.settle(start().request({ url: '/b' }))
  assert.deepEqual(edge.requests.filter((r) => r.path === REFRESH).map((r) => r.body.refresh_token), ['refresh-1', 'refresh-2'])
  assert.equal(phone.logins, 2)
})

test('storage that works again is written before the next rotation', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  await phone.time.advance(HOURS_2)
  phone.brokenStorage.write = true
  await phone.settle(auth.request({ url: '/a' }))
  phone.brokenStorage.write = false
  await phone.time.advance(HOURS_2)
  edge.script = ({ path }) => {
    if (path === REFRESH) assert.equal(phone.stored().session.refresh, 'refresh-2')
    return undefined
  }
  await phone.settle(auth.request({ url: '/b' }))
  assert.equal(phone.stored().session.refresh, 'refresh-3')
})

test('storage that cannot be read at the start is read as soon as it can be', async (t) => {
  const { phone, edge, start } = await loggedIn(t)
  phone.brokenStorage.read = true
  const again = start()
  assert.equal(again.state, 'none')
  phone.brokenStorage.read = false
  await phone.settle(again.request({ url: '/orders' }))
  assert.deepEqual([phone.logins, edge.count(REFRESH)], [1, 0])
})

test('storage that never works at all: one login, then everything from memory', async (t) => {
  const { phone, auth } = await stage(t)
  phone.brokenStorage = { read: true, write: true, remove: true }
  for (let i = 0; i < 3; i += 1) assert.equal((await phone.settle(auth.request({ url: '/orders' }))).statusCode, 200)
  assert.equal(phone.logins, 1)
})

for (const rubbish of ['text', 5, [], {}, { v: 2, session: {} }, { v: 1, session: { access: '', refresh: 1 }, logouts: 'x', out: [] }, { v: 1, session: { access: 'a', refresh: 'r', lifetime: 'x', info: {} } }]) {
  test(`rubbish in storage is no session: ${JSON.stringify(rubbish)}`, async (t) => {
    const { phone, start } = await stage(t)
    phone.disk.set('authsvc:wx00000000000000d1', JSON.stringify(rubbish))
    const auth = start()
    assert.equal(auth.state, 'none')
    assert.equal((await phone.settle(auth.request({ url: '/orders' }))).statusCode, 200)
  })
}

test('an application that clears all storage is not logged out, and what is needed is stored again', async (t) => {
  const { phone, auth } = await loggedIn(t)
  phone.disk.clear()
  assert.equal((await phone.settle(auth.request({ url: '/orders' }))).statusCode, 200)
  await phone.time.advance(HOURS_2)
  await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(phone.stored().session.refresh, 'refresh-2')
  assert.equal(phone.logins, 1)
})

test('a second copy of the package takes over the tokens that the first has stored', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  const path = require('node:path')
  const { createAuth } = phone.load(path.join(__dirname, '../src/index.js'))
  const second = createAuth({ baseUrl: edge.url, appId: 'wx00000000000000d1' })
  await phone.time.advance(HOURS_2)
  await phone.settle(auth.request({ url: '/a' }))
  await phone.settle(second.request({ url: '/b' }))
  assert.equal(edge.count(REFRESH), 1)
  assert.equal(edge.requests.at(-1).headers.authorization, 'Bearer access-2')
  // And an end that one has seen is one for the other.
  edge.script = ({ path: at }) => (at === REFRESH ? refusal(401, 'SESSION_ENDED', { endReason: 'REPLACED' }) : undefined)
  await phone.time.advance(HOURS_2)
  await failure(phone, auth.request({ url: '/a' }))
  assert.equal((await failure(phone, second.request({ url: '/b' }))).endReason, 'REPLACED')
  assert.deepEqual([edge.count(REFRESH), phone.logins], [2, 1])
})
