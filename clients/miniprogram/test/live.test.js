/** Against the real service: authsvc as it is in this repository, with its WeChat sandbox. */
'use strict'

const assert = require('node:assert/strict')
const { after, before, describe, test } = require('node:test')
const { Service, missing } = require('./support/live')
const { Phone } = require('./support/phone')
const { Proxy } = require('./support/proxy')

const APP = 'wx00000000000000d1'
const NO_GRACE = 'wx00000000000000d2'
const PLAIN = 'wx00000000000000d3'
const HOURS_2 = 7200000
const SESSION = { url: '/api/v1/session' }
if (missing) console.error(`\n*** live tests of the mini-program client: ${missing} ***\n`)

describe('live', { skip: missing || false }, () => {
  let service
  let people = 0

  before(async () => {
    service = await Service.start()
  })

  after(async () => {
    if (service) await service.stop()
  })

  /** A person's phone behind a counting proxy, not logged in. */
  async function makePhone(t, { http = service.strict.http, app = APP, user = `person-${(people += 1)}` } = {}) {
    const phone = new Phone({ mint: service.mint(user, app) })
    const proxy = await new Proxy(http).open()
    t.after(async () => {
      phone.kill()
      await proxy.close()
    })
    const made = { phone, proxy, user, reasons: [] }
    made.start = () => {
      made.auth = phone.start().createAuth({ baseUrl: proxy.url, appId: app, onReason: (error) => made.reasons.push(error) })
      return made.auth
    }
    made.start()
    return made
  }

  async function loggedIn(t, options) {
    const made = await makePhone(t, options)
    await made.phone.settle(made.auth.login())
    return made
  }

  const tenPages = (auth) => Promise.all(Array.from({ length: 10 }, () => auth.request(SESSION)))

  test('ten requests on a new phone: one wx.login, one login, ten answers', async (t) => {
    const { phone, proxy, auth } = await makePhone(t, { http: service.dev.http })
    const responses = await phone.settle(tenPages(auth))
    assert.ok(responses.every((response) => response.statusCode === 200))
    assert.equal(responses[0].data.session.user_id, auth.session.userId)
    assert.deepEqual([phone.logins, proxy.count('/api/v1/login'), proxy.count('/api/v1/refresh')], [1, 1, 0])
  })

  test('ten parallel page requests after expiry: exactly one refresh reaches the edge', async (t) => {
    const { phone, proxy, auth } = await loggedIn(t, { http: service.dev.http })
    await phone.time.advance(HOURS_2)
    const responses = await phone.settle(tenPages(auth))
    assert.ok(responses.every((response) => response.statusCode === 200))
    assert.deepEqual([proxy.count('/api/v1/refresh'), phone.logins], [1, 1])
  })

  test('the same with the refresh’s reply lost: still logged in, in the same session', async (t) => {
    const { phone, proxy, auth } = await loggedIn(t, { http: service.dev.http })
    const { sessionId } = auth.session
    await phone.time.advance(HOURS_2)
    proxy.loses = (path) => path === '/api/v1/refresh' && proxy.count(path) === 1
    const responses = await phone.settle(tenPages(auth))
    assert.ok(responses.every((response) => response.statusCode === 200 && response.data.session.session_id === sessionId))
    assert.deepEqual([proxy.count('/api/v1/refresh'), phone.logins], [2, 1])
    // And the successor that is stored is the one that the service knows.
    await phone.time.advance(HOURS_2)
    assert.equal((await phone.settle(auth.request(SESSION))).statusCode, 200)
    assert.equal(phone.logins, 1)
  })

  test('killed between the service’s rotation and its reply: the next start is still logged in', async (t) => {
    const { phone, proxy, auth, start } = await loggedIn(t)
    const { sessionId } = auth.session
    await phone.time.advance(HOURS_2)
    proxy.loses = (path) => {
      if (path === '/api/v1/refresh') phone.kill()
      return path === '/api/v1/refresh'
    }
    auth.request(SESSION)
    while (proxy.count('/api/v1/refresh') === 0 || phone.live.size > 0) await new Promise((resolve) => setImmediate(resolve))
    proxy.loses = () => false
    phone.time.open = 0
    const response = await phone.settle(start().request(SESSION))
    assert.equal(response.data.session.session_id, sessionId)
    assert.equal(phone.logins, 1)
  })

  test('two devices and a cap of one session: exactly one eviction, then peace until a tap', async (t) => {
    const one = await loggedIn(t)
    const two = await makePhone(t, { user: one.user })
    await two.phone.settle(two.auth.login())
    for (let round = 0; round < 3; round += 1) {
      for (const device of [one, two]) {
        await device.phone.time.advance(HOURS_2)
        await device.phone.settle(Promise.allSettled([tenPages(device.auth)]))
        if (round === 1) device.start()
      }
    }
    assert.deepEqual([one.phone.logins, two.phone.logins], [1, 1])
    assert.deepEqual([one.auth.state, one.auth.signedOut.endReason], ['signedOut', 'REPLACED'])
    assert.deepEqual([two.auth.state, two.reasons.length], ['live', 0])
    assert.equal(one.reasons.length, 1)
    const sessions = service.authsvc('sessions', 'list', '--all', '--grpc-target', service.strict.grpc, '--user', two.auth.session.userId)
    assert.equal(sessions.match(/"SESSION_END_REASON_REPLACED"/g).length, 1)
    assert.equal(sessions.trim().split('\n').length, 2)
    await one.phone.settle(one.auth.login({ tap: true }))
    assert.equal((await one.phone.settle(one.auth.request(SESSION))).statusCode, 200)
  })

  const stored = (phone) => phone.stored().session.refresh
  /** What brings each end about. A number is written into the record: nobody can bring that end about in a minute. */
  const ends = {
    LOGOUT: { by: ({ phone }) => service.post('logout', { refresh_token: stored(phone) }) },
    REPLACED: { by: async ({ user }) => service.post('login', { app_id: APP, code: await service.mint(user, APP)() }) },
    ADMIN: { by: ({ auth }) => service.authsvc('sessions', 'revoke', '--grpc-target', service.strict.grpc, '--session', auth.session.sessionId) },
    BLOCKED: { number: 5 },
    EXPIRED: { number: 8 },
    REFRESH_STALE: { app: NO_GRACE, by: ({ phone }) => service.post('refresh', { refresh_token: stored(phone) }) },
    REFRESH_REUSE: {
      app: PLAIN,
      by: async ({ phone }) => {
        const next = await service.post('refresh', { refresh_token: stored(phone) })
        return service.post('refresh', { refresh_token: next.body.refresh_token })
      }
    },
    STORE_RESTORED: {
      app: PLAIN,
      by: async ({ phone, auth }) => {
        await phone.time.advance(HOURS_2)
        await phone.settle(auth.request(SESSION))
        return service.sql('UPDATE sessions SET counter = 0 WHERE session_id = ?', auth.session.sessionId)
      }
    },
    SUPERSEDED: {
      app: PLAIN,
      by: async ({ phone, auth, user }) => {
        // A session younger than a minute is not superseded; created_at is in microseconds.
        service.sql('UPDATE sessions SET created_at = created_at - 120000000 WHERE session_id = ?', auth.session.sessionId)
        const code = await service.mint(user, PLAIN)()
        return service.post('login', { app_id: PLAIN, code, device_id: phone.stored().device })
      }
    },
    MERGED: { number: 9 }
  }
  const TAP = ['LOGOUT', 'REPLACED', 'ADMIN', 'BLOCKED']

  for (const [endReason, { by, number, app = APP }] of Object.entries(ends)) {
    const needsTap = TAP.includes(endReason)
    test(`${endReason}: ${needsTap ? 'told, and a tap' : 'one silent re-login that no page notices'}`, async (t) => {
      const made = await loggedIn(t, { app })
      const { phone, auth } = made
      const before = auth.session
      if (by) await by(made)
      else {
        const ended = 'UPDATE sessions SET ended_at = created_at, end_reason = ?, ended_by = ? WHERE session_id = ?'
        assert.equal(service.sql(ended, number, 'test', before.sessionId), 1)
      }
      const relogins = []
      auth.on('relogin', (error) => relogins.push(error.endReason))
      await phone.time.advance(HOURS_2)
      if (needsTap) {
        const error = await phone.settle(tenPages(auth).then(() => assert.fail('a page got in'), (reason) => reason))
        assert.deepEqual([error.reason, error.endReason, error.action], ['SESSION_ENDED', endReason, 'tap'])
        assert.equal(made.reasons.length, 1)
        assert.equal(phone.logins, 1)
        await phone.settle(auth.login())
      } else {
        const responses = await phone.settle(tenPages(auth))
        assert.ok(responses.every((response) => response.statusCode === 200))
        assert.deepEqual([relogins, made.reasons], [[endReason], []])
      }
      assert.equal(phone.logins, 2)
      assert.equal(auth.session.userId, before.userId)
      assert.notEqual(auth.session.sessionId, before.sessionId)
    })
  }

  test('logout, and a code that was used before, are what they are', async (t) => {
    const { phone, auth, user } = await loggedIn(t)
    const refresh = stored(phone)
    assert.equal((await phone.settle(auth.logout())).endedSessions, 1)
    assert.equal((await service.post('refresh', { refresh_token: refresh })).body.error.end_reason, 'LOGOUT')
    const used = await service.mint(user, APP)()
    const codes = [used, await service.mint(user, APP)()]
    await service.post('login', { app_id: APP, code: used })
    phone.mint = async () => codes.shift()
    await phone.settle(auth.login())
    assert.equal(codes.length, 0)
    assert.equal(auth.state, 'live')
  })

  test('a phone number', async (t) => {
    const document = await (await fetch(`${service.dev.http}/openapi.json`)).json()
    if (!document.paths['/api/v1/phone']) {
      console.error('\n*** live test of getPhoneNumber: NOT RUN: this service has no /api/v1/phone yet ***\n')
      t.skip('this service has no /api/v1/phone yet')
      return
    }
    const { phone, auth, user } = await loggedIn(t, { http: service.dev.http })
    const body = JSON.stringify({ app_id: APP, user, phone: '13900001234' })
    const minted = await (await fetch(`${service.dev.sandbox}/sandbox/v1/phone-codes`, { method: 'POST', body })).json()
    const number = await phone.settle(auth.getPhoneNumber({ detail: { code: minted.code, errMsg: 'getPhoneNumber:ok' } }))
    assert.match(number.phone_number, /13900001234$/)
    const error = await phone.settle(auth.getPhoneNumber({ detail: { code: 'no-such-code', errMsg: 'getPhoneNumber:ok' } }).then(() => null, (reason) => reason))
    assert.deepEqual([error.reason, error.action], ['PHONE_CODE_INVALID', 'new_phone_code'])
  })
})
