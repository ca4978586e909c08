'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { refusal } = require('./support/edge')
const { stage, failure } = require('./support/stage')

const PHONE = '/api/v1/phone'
const ok = { detail: { code: 'phone-code', errMsg: 'getPhoneNumber:ok' } }

test('the code of the button becomes a number, after a login where there was none', async (t) => {
  const { phone, edge, auth } = await stage(t)
  const result = await phone.settle(auth.getPhoneNumber(ok))
  assert.deepEqual([result.phone_number, result.code], ['+8613800000000', 'phone-code'])
  assert.deepEqual(edge.paths(), ['POST /api/v1/login', `POST ${PHONE}`])
  assert.equal(edge.requests[1].headers.authorization, 'Bearer access-1')
  assert.equal((await phone.settle(auth.getPhoneNumber({ code: 'detail-alone' }))).code, 'detail-alone')
})

for (const [detail, reason, action] of [
  [{ errMsg: 'getPhoneNumber:fail user deny' }, 'PHONE_DECLINED', 'new_phone_code'],
  [{ errMsg: 'getPhoneNumber:fail', errno: 1400001 }, 'PHONE_QUOTA', 'show'],
  [{ errMsg: 'getPhoneNumber:fail', errno: 104 }, 'PRIVACY_NOT_ACCEPTED', 'new_phone_code'],
  [{ errMsg: 'getPhoneNumber:fail', errno: 112 }, 'PRIVACY_NOT_DECLARED', 'show']
]) {
  test(`a button that gives no code says ${reason}, and nobody is asked`, async (t) => {
    const { phone, edge, auth } = await stage(t)
    const error = await failure(phone, auth.getPhoneNumber({ detail }))
    assert.deepEqual([error.reason, error.action, error.errMsg], [reason, action, detail.errMsg])
    assert.equal(edge.requests.length, 0)
  })
}

test('a spent code asks for another tap on the button', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path }) => (path === PHONE ? refusal(400, 'PHONE_CODE_INVALID') : undefined)
  const error = await failure(phone, auth.getPhoneNumber(ok))
  assert.deepEqual([error.reason, error.action], ['PHONE_CODE_INVALID', 'new_phone_code'])
  assert.equal(edge.count(PHONE), 1)
})

test('UNAVAILABLE is waited for once; a lost reply is not repeated, the code may be spent', async (t) => {
  const { phone, edge, auth } = await stage(t)
  edge.script = ({ path }) => (path === PHONE && edge.count(PHONE) === 1 ? refusal(503, 'WECHAT_UNAVAILABLE', { retryAfter: 1 }) : undefined)
  assert.equal((await phone.settle(auth.getPhoneNumber(ok))).phone_number, '+8613800000000')
  assert.equal(edge.count(PHONE), 2)
  edge.script = ({ path }) => (path === PHONE ? { lost: true } : undefined)
  assert.equal((await failure(phone, auth.getPhoneNumber(ok))).reason, 'NETWORK')
  assert.equal(edge.count(PHONE), 3)
})
