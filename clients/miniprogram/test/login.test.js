'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { refusal } = require('./support/edge')
const { stage, failure } = require('./support/stage')

const LOGIN = '/api/v1/login'

test('a first request logs in silently, stores the tokens, and sends the Bearer token', async (t) => {
  const { phone, edge, auth, events } = await stage(t)
  const response = await phone.settle(auth.request({ url: `${edge.url}/orders` }))
  assert.equal(response.statusCode, 200)
  assert.equal(response.data.token, 'Bearer access-1')
  assert.deepEqual(edge.paths(), [`POST ${LOGIN}`, 'GET /orders'])
  assert.equal(phone.stored().session.refresh, 'refresh-1')
  assert.deepEqual(events, ['login'])
  assert.deepEqual({ ...auth.session }, { userId: 'user-1', sessionId: 'session-1', openid: 'openid-1', isNewUser: true })
})

test('ten requests and three logins at once cost one wx.login and one login', async (t) => {
  const { phone, edge, auth } = await stage(t)
  const requests = Array.from({ length: 10 }, (_, i) => auth.request({ url: `${edge.url}/page/${i}` }))
  await phone.settle(Promise.all([...requests, auth.login(), auth.login({ tap: true }), auth.login({ silent: true })]))
  assert.equal(phone.logins, 1)
  assert.equal(edge.count(LOGIN), 1)
})

test('the login carries app, code, device and name; the device stays the same for ever', async (t) => {
  const { phone, edge, auth, start } = await stage(t, { auth: { deviceName: 'iPhone 15' } })
  await phone.settle(auth.login())
  const { body, headers } = edge.requests[0]
  assert.match(body.device_id, /^[0-9a-f]{32}$/)
  assert.deepEqual({ ...body, device_id: '' }, { app_id: 'wx00000000000000d1', code: 'code-1', device_id: '', device_name: 'iPhone 15' })
  assert.equal(headers['accept-language'], 'zh')
  const again = start()
  await phone.settle(again.login({ force: true }))
  assert.equal(edge.requests[1].body.device_id, body.device_id)
})

test('a platform without random numbers still makes a device_id', async (t) => {
  const { phone, edge, auth } = await stage(t, { phone: { lacks: ['getRandomValues', 'onAppShow', 'onAppHide', 'getAppBaseInfo'], mint: async () => 'c' } })
  await phone.settle(auth.login())
  assert.match(edge.requests[0].body.device_id, /^[0-9a-f]{32}$/)
})

test('login with a live session asks nobody; with force it logs in anew', async (t) => {
  const { phone, edge, auth } = await stage(t)
  await phone.settle(auth.login())
  await phone.settle(auth.login())
  assert.equal(edge.count(LOGIN), 1)
  await phone.settle(auth.login({ force: true }))
  assert.equal(edge.count(LOGIN), 2)
})

for (const reason of ['LOGIN_CODE_INVALID', 'LOGIN_CODE_USED', 'LOGIN_CODE_SPENT']) {
  test(`${reason}: one new code, then stop`, async (t) => {
    const { phone, edge, auth, reasons } = await stage(t)
    edge.script = ({ path }) => (path === LOGIN ? refusal(409, reason) : undefined)
    const error = await failure(phone, auth.login())
    assert.equal(error.reason, reason)
    assert.equal(error.action, 'new_code')
    assert.deepEqual(edge.requests.map((r) => r.body.code), ['code-1', 'code-2'])
    assert.equal(reasons.length, 1)
    // Pages that go on asking don't call wx.login again at once.
    assert.equal((await failure(phone, auth.request({ url: '/orders' }))).reason, reason)
    assert.equal(phone.logins, 2)
    // A person may.
    edge.script = () => undefined
    await phone.settle(auth.login())
    assert.equal(auth.state, 'live')
  })
}

test('a new code after LOGIN_CODE_SPENT is enough', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path, body }) => (path === LOGIN && body.code === 'code-1' ? refusal(409, 'LOGIN_CODE_SPENT') : undefined)
  await phone.settle(auth.login())
  assert.deepEqual(edge.requests.map((r) => r.body.code), ['code-1', 'code-2'])
})

for (const reason of ['WECHAT_UNAVAILABLE', 'STORE_UNAVAILABLE']) {
  test(`${reason}: the code was not sent, so the same code goes again after Retry-After`, async (t) => {
    const { phone, edge, auth } = await stage(t)
    edge.script = ({ path, at }) => (path === LOGIN && at === 0 ? refusal(503, reason, { retryAfter: 2 }) : undefined)
    const began = phone.time.elapsed
    await phone.settle(auth.login())
    assert.deepEqual(edge.requests.map((r) => r.body.code), ['code-1', 'code-1'])
    assert.equal(phone.logins, 1)
    assert.ok(phone.time.elapsed - began >= 2000)
  })
}

test('a throttled login waits as told and takes a new code', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path, at }) => (path === LOGIN && at === 0 ? refusal(429, 'WECHAT_THROTTLED', { retryAfter: 3 }) : undefined)
  await phone.settle(auth.login())
  assert.deepEqual(edge.requests.map((r) => r.body.code), ['code-1', 'code-2'])
  assert.ok(phone.time.elapsed >= 3000)
})

test('a long Retry-After fails at once, and nobody, not even a tap, asks again before it is over', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path }) => (path === LOGIN ? refusal(429, 'RATE_LIMITED', { retryAfter: 60 }) : undefined)
  const error = await failure(phone, auth.login())
  assert.deepEqual([error.reason, error.action, error.retryAfter, error.statusCode], ['RATE_LIMITED', 'retry', 60, 429])
  assert.equal((await failure(phone, auth.login({ tap: true }))).reason, 'RATE_LIMITED')
  assert.equal((await failure(phone, auth.request({ url: '/orders' }))).reason, 'RATE_LIMITED')
  assert.equal(edge.count(LOGIN), 1)
  await phone.time.advance(60000)
  edge.script = () => undefined
  await phone.settle(auth.login())
  assert.equal(edge.count(LOGIN), 2)
})

test('an absurd Retry-After holds for five minutes and no longer', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path, at }) => (path === LOGIN && at === 0 ? refusal(429, 'RATE_LIMITED', { retryAfter: 999999 }) : undefined)
  await failure(phone, auth.login())
  await phone.time.advance(300000)
  await phone.settle(auth.login())
  assert.equal(auth.state, 'live')
})

test('a lost reply may have spent the code: one new code', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path, at }) => (path === LOGIN && at === 0 ? { lost: true } : undefined)
  await phone.settle(auth.login())
  assert.deepEqual(edge.requests.map((r) => r.body.code), ['code-1', 'code-2'])
})

test('a 503 that is not the service’s own takes a new code, not the old one', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path, at }) => (path === LOGIN && at === 0 ? { status: 503, body: '<html>' } : undefined)
  await phone.settle(auth.login())
  assert.deepEqual(edge.requests.map((r) => r.body.code), ['code-1', 'code-2'])
})

test('a captive portal’s page is no login', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path }) => (path === LOGIN ? { status: 200, body: '<html>welcome</html>' } : undefined)
  assert.equal((await failure(phone, auth.login())).reason, 'BAD_ANSWER')
  assert.equal(auth.state, 'none')
})

for (const [status, reason] of [[503, 'WECHAT_MISCONFIGURED'], [400, 'UNKNOWN_APP'], [400, 'APP_DISABLED'], [400, 'INVALID_FIELD'], [500, 'INTERNAL']]) {
  test(`${reason} at login is told once and not tried again`, async (t) => {
    const { phone, edge, auth, reasons } = await stage(t)
    edge.script = ({ path }) => (path === LOGIN ? refusal(status, reason) : undefined)
    assert.equal((await failure(phone, auth.login())).action, 'show')
    assert.equal(edge.count(LOGIN), 1)
    assert.deepEqual(reasons.map((error) => error.reason), [reason])
  })
}

for (const reason of ['USER_BLOCKED', 'WECHAT_USER_BLOCKED']) {
  test(`${reason} stands, over a restart too, until the user taps`, async (t) => {
    const { phone, edge, auth, start } = await stage(t)
    edge.script = ({ path }) => (path === LOGIN ? refusal(403, reason) : undefined)
    const error = await failure(phone, auth.request({ url: '/orders' }))
    assert.deepEqual([error.reason, error.action, error.needsTap], [reason, 'show', true])
    const again = start()
    assert.equal(again.state, 'signedOut')
    assert.equal((await failure(phone, again.request({ url: '/orders' }))).reason, reason)
    assert.equal(edge.requests.length, 1)
    edge.script = () => undefined
    await phone.settle(again.login())
    assert.equal(again.state, 'live')
    assert.equal(again.signedOut, null)
  })
}

test('a failing wx.login is a reason of its own', async (t) => {
  const { phone, edge, auth } = await stage(t, { phone: { mint: () => Promise.reject(new Error('login:fail system error')) } })
  const error = await failure(phone, auth.login())
  assert.deepEqual([error.reason, error.errMsg, error.action], ['WX_LOGIN_FAILED', 'login:fail system error', 'retry'])
  assert.equal(edge.requests.length, 0)
})

test('a wx.login that never answers holds nobody up for ever', async (t) => {
  const { phone, auth } = await stage(t, { phone: { lacks: ['getRandomValues'] } })
  phone.wx.login = () => {}
  assert.equal((await failure(phone, auth.login())).errMsg, 'login:fail timeout')
})

test('a phone code goes along with the login', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = (request) => {
    if (request.path !== LOGIN) return undefined
    const reply = edge.byDefault(request)
    return { body: { ...reply.body, phone_number: `+86-${request.body.phone_code}` } }
  }
  const first = await phone.settle(auth.login({ tap: true, phoneCode: 'p1' }))
  assert.equal(first.phoneNumber, '+86-p1')
  // Nobody has to log in for the second code, so it goes by itself.
  const second = await phone.settle(auth.login({ tap: true, phoneCode: 'p2' }))
  assert.equal(second.phoneNumber, '+8613800000000')
  assert.deepEqual(edge.paths(), [`POST ${LOGIN}`, 'POST /api/v1/phone'])
})

test('login by App.onLaunch with silent never undoes somebody’s decision', async (t) => {
  const { phone, edge, auth, start } = await stage(t)
  await phone.settle(auth.login())
  edge.script = ({ path }) => (path === '/api/v1/refresh' ? refusal(401, 'SESSION_ENDED', { endReason: 'REPLACED' }) : undefined)
  await phone.time.advance(7200000)
  for (let launch = 0; launch < 3; launch += 1) {
    const error = await failure(phone, start().login({ silent: true }))
    assert.deepEqual([error.endReason, error.needsTap], ['REPLACED', true])
  }
  assert.equal(edge.count(LOGIN), 1)
  assert.equal(edge.count('/api/v1/refresh'), 1)
})
