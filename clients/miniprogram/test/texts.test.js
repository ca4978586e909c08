/** The reasons and their words: the server's, and complete in both languages. */
'use strict'

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { refusal } = require('./support/edge')
const { BIN, missing } = require('./support/live')
const { ROOT } = require('./support/phone')
const { stage, failure } = require('./support/stage')
const reasons = require('../src/reasons')

/** Reasons of calls that no mini-program makes: verifiers, watchers and operators meet them. */
const ELSEWHERE = ['CURSOR_EXPIRED', 'WATCHER_TOO_SLOW', 'EXTERNAL_ID_TAKEN', 'MERGE_IMPOSSIBLE']

if (missing) console.error(`\n*** texts against the server's table: ${missing} ***\n`)

test('every reason has the server’s own words in both languages', { skip: missing || false }, () => {
  const program =
    'import json; from authsvc.status import BY_REASON\n' +
    'print(json.dumps({name: {"en": row.en, "zh": row.zh} for name, row in BY_REASON.items()}))'
  const server = JSON.parse(execFileSync(path.join(BIN, 'python'), ['-c', program], { cwd: path.resolve(ROOT, '../..'), encoding: 'utf8' }))
  for (const name of ELSEWHERE) delete server[name]
  const ours = Object.fromEntries(Object.entries(reasons.SERVICE).map(([name, { en, zh }]) => [name, { en, zh }]))
  assert.deepEqual(ours, server)
})

test('every text is there in both languages, and every README lists every reason', () => {
  const rows = [...Object.entries(reasons.SERVICE), ...Object.entries(reasons.LOCAL), ...Object.entries(reasons.ENDS)]
  for (const name of ['README.md', 'README.zh-CN.md']) {
    const text = fs.readFileSync(path.join(ROOT, name), 'utf8')
    for (const [reason, { en, zh }] of rows) {
      assert.match(en, /^[ -~]+\.$/)
      assert.match(zh, /。$/)
      assert.ok(text.includes(`\`${reason}\``), `${reason} is missing in ${name}`)
    }
  }
})

test('the language is the phone’s unless it is given; a reason that is not known here has the server’s text', async (t) => {
  for (const [phoneLanguage, given, message] of [
    ['en_US', undefined, reasons.SERVICE.RATE_LIMITED.en],
    ['zh_TW', undefined, reasons.SERVICE.RATE_LIMITED.zh],
    ['ja', undefined, reasons.SERVICE.RATE_LIMITED.zh],
    ['zh_CN', 'en', reasons.SERVICE.RATE_LIMITED.en]
  ]) {
    const { phone, edge, auth } = await stage(t, { phone: { language: phoneLanguage, mint: async () => 'c' }, auth: { language: given } })
    edge.script = () => refusal(429, 'RATE_LIMITED', { retryAfter: 60 })
    assert.equal((await failure(phone, auth.login())).message, message)
  }
  const { phone, edge, auth } = await stage(t)
  edge.script = () => refusal(403, 'OF_TOMORROW')
  const error = await failure(phone, auth.login())
  assert.deepEqual([error.reason, error.message, error.action, error.requestId], ['OF_TOMORROW', 'text', 'show', 'rid'])
})

test('no token, code or openid is in what the UI or a log may show', async (t) => {
  const { phone, edge, auth } = await stage(t)
  await phone.settle(auth.login())
  edge.script = ({ path: at }) => (at === '/api/v1/refresh' ? refusal(401, 'SESSION_ENDED', { endReason: 'ADMIN' }) : undefined)
  const shown = [JSON.stringify(auth)]
  await phone.time.advance(7200000)
  const error = await failure(phone, auth.request({ url: '/orders' }))
  shown.push(JSON.stringify(error), String(error), error.stack)
  for (const text of shown) assert.doesNotMatch(text, /access-1|refresh-1|code-1/)
})
