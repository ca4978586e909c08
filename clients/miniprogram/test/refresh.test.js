'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { refusal } = require('./support/edge')
const { stage, failure } = require('./support/stage')

const LOGIN = '/api/v1/login'
const REFRESH = '/api/v1/refresh'
const HOURS_2 = 7200000
const SILENT = ['EXPIRED', 'REFRESH_STALE', 'REFRESH_REUSE', 'STORE_RESTORED', 'SUPERSEDED', 'MERGED']
const TAP = ['LOGOUT', 'REPLACED', 'ADMIN', 'BLOCKED']

/** A stage with a live session. */
async function loggedIn(t, options) {
  const made = await stage(t, options)
  await made.phone.settle(made.auth.login())
  return made
}

test('ten requests after expiry: one refresh, and all ten carry the new token', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  await phone.time.advance(HOURS_2)
  const all = Array.from({ length: 10 }, (_, i) => auth.request({ url: `${edge.url}/page/${i}` }))
  const responses = await phone.settle(Promise.all(all))
  assert.deepEqual(new Set(responses.map((r) => r.data.token)), new Set(['Bearer access-2']))
  assert.equal(edge.count(REFRESH), 1)
  assert.deepEqual(edge.requests[1].body, { refresh_token: 'refresh-1' })
})

test('a token is renewed ahead of its end, and not before the margin', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  await phone.time.advance(HOURS_2 - 61000)
  await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(edge.count(REFRESH), 0)
  await phone.time.advance(2000)
  await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(edge.count(REFRESH), 1)
})

test('a token of short life is not renewed at every request', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = (request) => (request.path === LOGIN ? { body: { ...edge.byDefault(request).body, expires_in: 40 } } : undefined)
  await phone.settle(auth.login())
  await phone.time.advance(29000)
  await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(edge.count(REFRESH), 0)
  await phone.time.advance(1500)
  await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(edge.count(REFRESH), 1)
})

test('ten 401 TOKEN_INVALID: one refresh, each request once more', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = ({ path, headers }) =>
    path.startsWith('/page') && headers.authorization === 'Bearer access-1' ? refusal(401, 'TOKEN_INVALID') : undefined
  const all = Array.from({ length: 10 }, (_, i) => auth.request({ url: `/page/${i}`, method: 'POST', data: { i } }))
  const responses = await phone.settle(Promise.all(all))
  assert.ok(responses.every((r) => r.statusCode === 200))
  assert.equal(edge.count(REFRESH), 1)
  assert.equal(edge.requests.filter((r) => r.path.startsWith('/page')).length, 20)
})

test('a lost reply: the same refresh token again, the same successor, still logged in', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  let successor
  edge.script = ({ path, body }) => {
    if (path !== REFRESH) return undefined
    assert.equal(body.refresh_token, 'refresh-1')
    if (successor) return { body: successor }
    successor = edge.pair()
    return { lost: true }
  }
  await phone.time.advance(HOURS_2)
  const response = await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(response.data.token, `Bearer ${successor.access_token}`)
  assert.equal(edge.count(REFRESH), 2)
  assert.equal(phone.stored().session.refresh, successor.refresh_token)
  assert.equal(phone.logins, 1)
})

test('tokens are in storage before any request carries them', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  await phone.time.advance(HOURS_2)
  edge.script = ({ path, headers }) => {
    if (path === '/orders') assert.equal(`Bearer ${phone.stored().session.access}`, headers.authorization)
    return undefined
  }
  assert.equal((await phone.settle(auth.request({ url: '/orders' }))).statusCode, 200)
})

test('a refresh that cannot be had changes nothing while the token still lives', async (t) => {
  const { phone, edge, auth, reasons } = await loggedIn(t)
  edge.script = ({ path }) => (path === REFRESH ? { lost: true } : undefined)
  await phone.time.advance(HOURS_2 - 30000)
  const both = [auth.request({ url: '/a' }), auth.request({ url: '/b' })]
  const responses = await phone.settle(Promise.all(both))
  assert.deepEqual(responses.map((r) => r.data.token), ['Bearer access-1', 'Bearer access-1'])
  assert.equal(edge.count(REFRESH), 3)
  assert.deepEqual(reasons.map((error) => error.reason), ['NETWORK'])
})

test('no network after expiry: told as NETWORK, tokens kept, and well when the network is back', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = ({ path }) => (path === REFRESH ? { lost: true } : undefined)
  await phone.time.advance(HOURS_2)
  const error = await failure(phone, auth.request({ url: '/orders' }))
  assert.deepEqual([error.reason, error.action, error.needsTap], ['NETWORK', 'retry', false])
  assert.equal(auth.state, 'live')
  edge.script = () => undefined
  assert.equal((await phone.settle(auth.request({ url: '/orders' }))).statusCode, 200)
  assert.equal(phone.logins, 1)
})

for (const [status, reason] of [[503, 'STORE_UNAVAILABLE'], [503, 'NOT_FRESH'], [429, 'RATE_LIMITED']]) {
  test(`${reason} at refresh: waited for as told, the same token again`, async (t) => {
    const { phone, edge, auth } = await loggedIn(t)
    let refusals = 1
    edge.script = ({ path }) => (path === REFRESH && refusals-- > 0 ? refusal(status, reason, { retryAfter: 4 }) : undefined)
    await phone.time.advance(HOURS_2)
    const began = phone.time.elapsed
    await phone.settle(auth.request({ url: '/orders' }))
    assert.ok(phone.time.elapsed - began >= 4000)
    assert.equal(edge.count(REFRESH), 2)
  })

  test(`${reason} with a long Retry-After: told, and nobody asks before`, async (t) => {
    const { phone, edge, auth } = await loggedIn(t)
    edge.script = ({ path }) => (path === REFRESH ? refusal(status, reason, { retryAfter: 30 }) : undefined)
    await phone.time.advance(HOURS_2)
    for (let i = 0; i < 5; i += 1) {
      const error = await failure(phone, auth.request({ url: '/orders' }))
      assert.deepEqual([error.reason, error.retryAfter, error.action], [reason, 30, 'retry'])
    }
    assert.equal(edge.count(REFRESH), 1)
    assert.equal(auth.state, 'live')
  })
}

for (const reply of [
  { status: 500, body: { error: { reason: 'INTERNAL' } } },
  { status: 502, body: '<html>' },
  { status: 401, body: '<html>' },
  { status: 200, body: { hello: 'portal' } },
  refusal(400, 'APP_DISABLED'),
  refusal(401, 'CALLER_UNAUTHENTICATED'),
  refusal(503, 'WECHAT_MISCONFIGURED')
]) {
  test(`cannot know is never a verdict: ${reply.status} ${JSON.stringify(reply.body).slice(0, 40)}`, async (t) => {
    const { phone, edge, auth } = await loggedIn(t)
    edge.script = ({ path }) => (path === REFRESH ? reply : undefined)
    await phone.time.advance(HOURS_2)
    await failure(phone, auth.request({ url: '/orders' }))
    assert.equal(auth.state, 'live')
    assert.equal(phone.stored().session.refresh, 'refresh-1')
    assert.equal(phone.logins, 1)
  })
}

/** A phone whose refresh is refused with 401. */
async function ended(t, reason, endReason) {
  const made = await loggedIn(t)
  made.edge.script = ({ path, body }) =>
    path === REFRESH && body.refresh_token === 'refresh-1' ? refusal(401, reason, { endReason }) : undefined
  await made.phone.time.advance(HOURS_2)
  return made
}

for (const [reason, endReason] of [['REFRESH_TOKEN_INVALID', ''], ...SILENT.map((each) => ['SESSION_ENDED', each])]) {
  test(`${reason} ${endReason}: one silent re-login, which no page notices`, async (t) => {
    const { phone, edge, auth, reasons, events } = await ended(t, reason, endReason)
    const all = Array.from({ length: 10 }, (_, i) => auth.request({ url: `/page/${i}` }))
    const responses = await phone.settle(Promise.all(all))
    assert.ok(responses.every((r) => r.statusCode === 200))
    assert.deepEqual([edge.count(REFRESH), edge.count(LOGIN), phone.logins], [1, 2, 2])
    assert.deepEqual(events, ['login', 'relogin', 'login'])
    assert.deepEqual(reasons, [])
  })
}

for (const [reason, endReason] of [...TAP.map((each) => ['SESSION_ENDED', each]), ['SESSION_ENDED', ''], ['SESSION_ENDED', 'SOMETHING_NEW'], ['SOMETHING_NEW', ''], ['USER_BLOCKED', '']]) {
  test(`${reason} ${endReason}: told once, and nothing happens before a tap, over restarts too`, async (t) => {
    const { phone, edge, auth, start, reasons, events } = await ended(t, reason, endReason)
    const all = Array.from({ length: 10 }, (_, i) => auth.request({ url: `/page/${i}` }))
    const results = await phone.settle(Promise.allSettled(all))
    for (const { reason: error } of results) assert.deepEqual([error.reason, error.endReason, error.needsTap], [reason, endReason, true])
    assert.deepEqual(reasons.map((error) => error.endReason), [endReason])
    assert.deepEqual(events, ['login', 'signedOut'])
    const sent = edge.requests.length
    const again = start()
    assert.equal(again.state, 'signedOut')
    assert.deepEqual([again.signedOut.reason, again.signedOut.endReason], [reason, endReason])
    await failure(phone, again.request({ url: '/orders' }))
    await failure(phone, again.login({ silent: true }))
    assert.deepEqual([edge.requests.length, phone.logins], [sent, 1])
    await phone.settle(again.login({ tap: true }))
    assert.equal((await phone.settle(again.request({ url: '/orders' }))).statusCode, 200)
    assert.equal(phone.logins, 2)
  })
}

test('a session that ends again right after a silent re-login is not begun a third time silently', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = ({ path }) => {
    if (path === REFRESH) return refusal(401, 'SESSION_ENDED', { endReason: 'SUPERSEDED' })
    return path === '/orders' ? refusal(401, 'TOKEN_INVALID') : undefined
  }
  await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(phone.logins, 2)
  await phone.time.advance(31000)
  for (let i = 0; i < 20; i += 1) await phone.settle(Promise.allSettled([auth.request({ url: '/orders' })]))
  assert.equal(phone.logins, 2)
  assert.deepEqual([auth.state, auth.signedOut.endReason], ['signedOut', 'SUPERSEDED'])
})

test('an API that refuses every token gets no storm of refreshes', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = ({ path }) => (path === '/orders' ? refusal(401, 'TOKEN_INVALID') : undefined)
  for (let i = 0; i < 20; i += 1) assert.equal((await phone.settle(auth.request({ url: '/orders' }))).statusCode, 401)
  assert.equal(edge.count(REFRESH), 1)
  await phone.time.advance(31000)
  await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(edge.count(REFRESH), 2)
})

test('a tap goes on to log in where the session turns out to be over', async (t) => {
  const { phone, edge, auth } = await ended(t, 'SESSION_ENDED', 'ADMIN')
  await phone.settle(auth.login({ tap: true }))
  assert.equal(edge.count(LOGIN), 2)
})

test('a phone clock set years ahead or back while running costs at most one refresh', async (t) => {
  for (const wall of [4000000000000, 1000000000000]) {
    const { phone, edge, auth } = await loggedIn(t)
    phone.time.setWall(wall)
    for (let i = 0; i < 5; i += 1) assert.equal((await phone.settle(auth.request({ url: '/orders' }))).statusCode, 200)
    assert.ok(edge.count(REFRESH) <= 1, `${edge.count(REFRESH)} refreshes`)
    await phone.time.advance(HOURS_2)
    await phone.settle(auth.request({ url: '/orders' }))
    assert.ok(edge.count(REFRESH) >= 1)
  }
})

test('a phone clock that is years wrong from the start does not matter, and serverTime is right', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  assert.equal(auth.serverTime(), 1700000000000)
  await phone.time.advance(3600000)
  await phone.settle(auth.request({ url: '/orders' }))
  assert.equal(edge.count(REFRESH), 0)
  assert.equal(auth.serverTime(), 1700003600000)
})

test('a clock set back while the app was dead: the token counts as old', async (t) => {
  const { phone, edge, start } = await loggedIn(t)
  phone.time.setWall(1500000000000)
  await phone.settle(start().request({ url: '/orders' }))
  assert.equal(edge.count(REFRESH), 1)
})
