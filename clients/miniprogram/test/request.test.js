'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { refusal } = require('./support/edge')
const { stage, failure } = require('./support/stage')

async function loggedIn(t, options) {
  const made = await stage(t, options)
  await made.phone.settle(made.auth.login())
  made.edge.requests.length = 0
  return made
}

test('options and callbacks are those of wx.request, for any status', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = ({ path }) => (path === '/orders' ? { status: 404, body: { none: true } } : undefined)
  const called = []
  const response = await phone.settle(
    auth.request({
      url: `${edge.url}/orders`,
      method: 'POST',
      data: { a: 1 },
      header: { 'X-Trace': 't', authorization: 'Basic mine' },
      success: (result) => called.push(['success', result.statusCode]),
      fail: () => called.push(['fail']),
      complete: (result) => called.push(['complete', result.statusCode])
    })
  )
  assert.deepEqual([response.statusCode, response.data.none], [404, true])
  assert.deepEqual(called, [['success', 404], ['complete', 404]])
  const [{ headers, body }] = edge.requests
  assert.deepEqual([headers['x-trace'], headers.authorization, body.a], ['t', 'Bearer access-1', 1])
})

test('a failure reaches fail and complete with the errMsg of the platform', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = () => ({ lost: true })
  const called = []
  const error = await failure(
    phone,
    auth.request({
      url: '/orders',
      method: 'POST',
      fail: (e) => called.push(['fail', e.errMsg]),
      complete: (e) => called.push(['complete', e.reason])
    })
  )
  assert.match(error.errMsg, /^request:fail /)
  assert.deepEqual(called, [['fail', error.errMsg], ['complete', 'NETWORK']])
})

for (const data of [{ pay: 1 }, undefined]) {
  test(`a POST ${data ? 'with' : 'without'} a body is not repeated when nobody knows what became of it`, async (t) => {
    const { phone, edge, auth } = await loggedIn(t)
    edge.script = () => ({ lost: true })
    await failure(phone, auth.request({ url: '/orders', method: 'POST', data }))
    assert.equal(edge.count('/orders'), 1)
  })
}

for (const method of ['GET', 'PUT', 'DELETE', 'get']) {
  test(`${method} is repeated once`, async (t) => {
    const { phone, edge, auth } = await loggedIn(t)
    edge.script = ({ at }) => (at === 0 ? { lost: true } : undefined)
    const response = await phone.settle(auth.request({ url: '/orders', method }))
    assert.equal(response.statusCode, 200)
    assert.equal(edge.count('/orders'), 2)
    edge.script = () => ({ lost: true })
    await failure(phone, auth.request({ url: '/orders', method }))
    assert.equal(edge.count('/orders'), 4)
  })
}

test('a request refused with 401 was not carried out, so a POST goes again', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = ({ headers, path }) => (path === '/pay' && headers.authorization === 'Bearer access-1' ? { status: 401, body: 'no' } : undefined)
  assert.equal((await phone.settle(auth.request({ url: '/pay', method: 'POST', data: { pay: 1 } }))).statusCode, 200)
  assert.equal(edge.count('/pay'), 2)
})

for (const [status, reason] of [[403, 'TOKEN_INSUFFICIENT'], [401, 'CALLER_UNAUTHENTICATED'], [503, 'NOT_FRESH']]) {
  test(`${status} ${reason} is the page’s to handle: no refresh`, async (t) => {
    const { phone, edge, auth } = await loggedIn(t)
    edge.script = () => refusal(status, reason)
    assert.equal((await phone.settle(auth.request({ url: '/orders' }))).statusCode, status)
    assert.deepEqual(edge.paths(), ['GET /orders'])
  })
}

test('a 401 whose refresh cannot be had is told as that, not as a 401 that looks like a logout', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = ({ path }) => (path === '/orders' ? refusal(401, 'TOKEN_INVALID') : refusal(503, 'STORE_UNAVAILABLE', { retryAfter: 60 }))
  assert.equal((await failure(phone, auth.request({ url: '/orders' }))).reason, 'STORE_UNAVAILABLE')
  assert.equal(auth.state, 'live')
})

test('thirty pages: never more than ten at the platform, nothing fails, and a login does not queue behind them', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  let isHolding = true
  edge.script = ({ path }) => (isHolding && path.startsWith('/slow') ? { hold: true } : undefined)
  const slow = Array.from({ length: 30 }, (_, i) => auth.request({ url: `/slow/${i}` }))
  while (edge.waiting.length < 9) await new Promise((resolve) => setImmediate(resolve))
  phone.letHang()
  await phone.settle(auth.login({ force: true }))
  assert.deepEqual([edge.waiting.length, phone.live.size], [9, 9])
  isHolding = false
  phone.resume()
  edge.waiting.forEach((answer) => answer())
  const responses = await phone.settle(Promise.all(slow))
  assert.ok(responses.every((response) => response.statusCode === 200))
  assert.equal(phone.peak, 10)
})

test('even login and logout keep to the ten: an eleventh request waits', async (t) => {
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = () => ({ hold: true })
  for (let i = 0; i < 9; i += 1) auth.request({ url: `/slow/${i}`, fail: () => {} })
  auth.login({ force: true }).catch(() => {})
  while (edge.waiting.length < 10) await new Promise((resolve) => setImmediate(resolve))
  phone.letHang()
  const out = auth.logout()
  await phone.time.advance(0)
  assert.equal(phone.live.size, 10)
  edge.script = () => undefined
  phone.resume()
  edge.waiting.forEach((answer) => answer())
  assert.equal((await phone.settle(out)).endedSessions, 1)
  assert.equal(phone.peak, 10)
})

test('abort: a waiting request is never sent, a sent one ends, both say ABORTED', async (t) => {
  const { phone, edge, auth } = await stage(t)
  const early = auth.request({ url: '/never' })
  early.abort()
  assert.equal((await failure(phone, early)).reason, 'ABORTED')
  assert.equal(edge.count('/never'), 0)
  edge.script = ({ path }) => (path === '/slow' ? { hold: true, held: () => sent.abort() } : undefined)
  const sent = auth.request({ url: '/slow' })
  assert.equal((await failure(phone, sent)).reason, 'ABORTED')
  assert.equal(edge.count('/slow'), 1)
})

test('a mistake in a page’s callback surfaces as its own and spoils nothing', async (t) => {
  const { phone, auth } = await loggedIn(t)
  const mistake = new Error('page')
  await phone.settle(
    auth.request({
      url: '/orders',
      success: () => {
        throw mistake
      }
    })
  )
  await phone.time.advance(1)
  assert.deepEqual(phone.errors, [mistake])
})

test('callers that use callbacks only leave no unhandled rejection', async (t) => {
  const unhandled = []
  const listener = (error) => unhandled.push(error)
  process.on('unhandledRejection', listener)
  t.after(() => process.off('unhandledRejection', listener))
  const { phone, edge, auth } = await loggedIn(t)
  edge.script = () => ({ lost: true })
  await phone.settle(new Promise((resolve) => auth.request({ url: '/orders', complete: resolve })))
  await phone.time.advance(10)
  assert.deepEqual(unhandled, [])
})

test('sendTokenTo keeps the token from other origins', async (t) => {
  const { phone, edge, auth } = await stage(t, { auth: { sendTokenTo: ['https://api.example.com/x'] } })
  assert.throws(() => auth.request({ url: 'https://evil.example.com/' }), { name: 'TypeError' })
  assert.throws(() => auth.request({ url: 'https://api.example.com.evil.com/' }), { name: 'TypeError' })
  assert.throws(() => auth.request({ url: 'http://api.example.com/' }), { name: 'TypeError' })
  assert.equal((await phone.settle(auth.request({ url: `${edge.url}/orders` }))).statusCode, 200)
})

test('createAuth without baseUrl or appId is refused at once', async (t) => {
  const { phone } = await stage(t)
  const { createAuth } = phone.start()
  for (const options of [undefined, {}, { baseUrl: 'login.example.com', appId: 'wx1' }, { baseUrl: 'https://x' }]) {
    assert.throws(() => createAuth(options), /authsvc: /)
  }
})
