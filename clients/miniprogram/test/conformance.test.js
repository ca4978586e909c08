/** The shared cases of clients/conformance/client-behaviour.json; its README says what each member means. */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { Edge } = require('./support/edge')
const { Phone } = require('./support/phone')

const FILE = path.resolve(__dirname, '../../conformance/client-behaviour.json')
const suite = JSON.parse(fs.readFileSync(FILE, 'utf8'))

test('the file is of the format that is run here, and whole', () => {
  assert.equal(suite.format, 1)
  assert.ok(suite.count >= 61)
  assert.equal(suite.cases.length, suite.count)
})

for (const each of suite.cases) {
  test(`${each.id}: ${each.description}`, async (t) => {
    const runner = await Runner.begin(t, each.stored)
    for (const call of each.calls) await runner.run(call)
  })
}

class Runner {
  static async begin(t, stored) {
    const runner = new Runner()
    runner.edge = await new Edge().open()
    let codes = 0
    runner.phone = new Phone({ mint: () => Promise.resolve(`code-${(codes += 1)}`) })
    t.after(async () => {
      runner.phone.kill()
      await runner.edge.close()
    })
    await runner.store(stored)
    return runner
  }

  async store(stored) {
    assert.ok(['none', 'fresh', 'access_expired'].includes(stored), stored)
    this.start()
    if (stored === 'none') return
    const { edge, phone } = this
    edge.script = (request) => ({ body: { ...edge.byDefault(request).body, expires_in: 3600 } })
    await phone.settle(this.auth.login())
    edge.script = () => undefined
    this.start()
    if (stored === 'access_expired') await phone.time.advance(3660000)
  }

  start() {
    this.auth = this.phone.start().createAuth({ baseUrl: this.edge.url, appId: 'wx00000000000000d1' })
  }

  async run(call) {
    known(call, ['call', 'parallel', 'restart', 'exchanges', 'same_body', 'expect'])
    known(call.expect, ['outcome', 'wx_login_calls', 'stored'])
    const { edge, phone } = this
    if (call.restart) this.start()
    edge.requests.length = 0
    edge.script = (request) => this.reply(request, call.exchanges[edge.requests.length - 1])
    const before = { refresh: this.refreshStored(), logins: phone.logins }
    const made = Array.from({ length: call.parallel || 1 }, () => this.make(call.call).then(outcomeOf, outcomeOf))
    const outcomes = await phone.settle(Promise.all(made))
    await phone.time.advance(0)

    for (const outcome of outcomes) assert.deepEqual(outcome, expected(call.expect.outcome))
    assert.deepEqual(edge.paths(), call.exchanges.map((exchange) => exchange.request))
    for (const [one, other] of call.same_body || []) assert.deepEqual(edge.requests[one].body, edge.requests[other].body)
    assert.equal(phone.logins - before.logins, call.expect.wx_login_calls)
    const wanted = { none: null, same: before.refresh, new: this.newest }
    known(wanted, ['none', 'same', 'new'])
    assert.ok(call.expect.stored in wanted)
    assert.equal(this.refreshStored(), wanted[call.expect.stored])
    if (call.expect.stored !== 'none') assert.ok(wanted[call.expect.stored])
  }

  refreshStored() {
    const stored = this.phone.stored()
    return stored && stored.session ? stored.session.refresh : null
  }

  make(name) {
    const { auth } = this
    if (name === 'login') return auth.login({ tap: true })
    if (name === 'request') return auth.request({ url: '/orders' })
    if (name === 'logout') return auth.logout()
    assert.equal(name, 'phone')
    return auth.getPhoneNumber({ detail: { code: 'phone-code', errMsg: 'getPhoneNumber:ok' } })
  }

  reply(request, exchange) {
    const { edge, phone } = this
    if (!exchange) return { status: 500, body: 'nothing more may be sent' }
    const reply = exchange.reply
    if (reply === 'lost') return { hold: true, held: () => phone.fail(request.path, 'request:fail timeout') }
    if (reply === 'interrupted') {
      const held = () => {
        phone.hide()
        phone.fail(request.path, 'request:fail interrupted')
        setImmediate(() => phone.show())
      }
      return { hold: true, held }
    }
    known(reply, ['status', 'headers', 'body'])
    if (reply.body !== '$TOKENS') return reply
    const { body } = edge.byDefault(request)
    this.newest = body.refresh_token
    return { status: reply.status, headers: reply.headers, body }
  }
}

/** A member that is not known here must not be passed over. */
function known(object, names) {
  for (const name of Object.keys(object)) assert.ok(names.includes(name), `unknown member ${name}`)
}

function expected(outcome) {
  if (outcome === 'ok') return outcome
  known(outcome, ['status', 'reason', 'action', 'end_reason', 'retry_after_s'])
  return outcome
}

/** What the client came to, in the words of the file. */
function outcomeOf(result) {
  if (result && result.name === 'AuthError') {
    const outcome = { reason: result.reason, action: result.action }
    if (result.endReason) outcome.end_reason = result.endReason
    if (result.retryAfter) outcome.retry_after_s = result.retryAfter
    return outcome
  }
  if (result instanceof Error) return String(result)
  return result && result.statusCode && result.statusCode !== 200 ? { status: result.statusCode } : 'ok'
}
