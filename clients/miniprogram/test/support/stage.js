/** One phone and one scripted edge for a test, closed with it. */
'use strict'

const { Edge } = require('./edge')
const { Phone } = require('./phone')

/**
 * @returns {Promise<{edge, phone, auth, reasons, events, start}>} `start` begins the mini-program (again) from its storage
 */
async function stage(t, { phone: phoneOptions = {}, auth: authOptions = {} } = {}) {
  const edge = await new Edge().open()
  let codes = 0
  const phone = new Phone({ mint: () => Promise.resolve(`code-${(codes += 1)}`), ...phoneOptions })
  t.after(async () => {
    phone.kill()
    await edge.close()
  })
  const made = { edge, phone, reasons: [], events: [] }
  made.start = () => {
    const { createAuth } = phone.start()
    made.auth = createAuth({
      baseUrl: edge.url,
      appId: 'wx00000000000000d1',
      onReason: (error) => made.reasons.push(error),
      ...authOptions
    })
    for (const name of ['login', 'refresh', 'relogin', 'signedOut']) made.auth.on(name, () => made.events.push(name))
    return made.auth
  }
  made.start()
  return made
}

/** The rejection of a promise, which must not resolve. */
async function failure(phone, promise) {
  try {
    await phone.settle(promise)
  } catch (error) {
    return error
  }
  throw new Error('it should have been rejected')
}

module.exports = { stage, failure }
