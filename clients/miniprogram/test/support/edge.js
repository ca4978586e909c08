/**
 * A server of our own on a real socket, scripted: every reply is decided by the test, every request is kept.
 *
 * It is for faults and orders of events that the real service gives only by chance; `live.test.js` has the real one.
 */
'use strict'

const http = require('node:http')

class Edge {
  constructor() {
    this.requests = []
    this.waiting = []
    this.counter = 0
    this.sessions = 0
    /** Replaces what a path would answer, by a function of the request; undefined goes on to the default. */
    this.script = () => undefined
  }

  async open() {
    this.server = http.createServer((request, response) => {
      const parts = []
      request.on('data', (part) => parts.push(part))
      request.on('end', () => this.take(request, response, Buffer.concat(parts).toString('utf8')))
    })
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    this.url = `http://127.0.0.1:${this.server.address().port}`
    return this
  }

  async close() {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  /** How many requests a path has had. */
  count(path) {
    return this.requests.filter((request) => request.path === path).length
  }

  paths() {
    return this.requests.map((request) => `${request.method} ${request.path}`)
  }

  /** A new pair; lifetimes in seconds. */
  pair({ expires_in = 7200 } = {}) {
    this.counter += 1
    return {
      access_token: `access-${this.counter}`,
      expires_in,
      refresh_token: `refresh-${this.counter}`,
      refresh_expires_in: 604800,
      server_time: 1700000000
    }
  }

  take(request, response, text) {
    const url = new URL(request.url, this.url)
    const body = text === '' ? undefined : parse(text)
    const seen = { method: request.method, path: url.pathname, query: url.search, headers: request.headers, body, at: this.requests.length }
    this.requests.push(seen)
    const reply = this.script(seen) || this.byDefault(seen)
    if (reply.hold) {
      // The test decides when, and what.
      this.waiting.push((late) => this.answer(response, request, late || this.byDefault(seen)))
      if (reply.held) reply.held()
      return
    }
    this.answer(response, request, reply)
  }

  answer(response, request, reply) {
    if (reply.lost) return request.socket.destroy()
    response.writeHead(reply.status || 200, { 'content-type': 'application/json', ...reply.headers })
    response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body || {}))
  }

  byDefault({ path, headers, body }) {
    if (path === '/api/v1/login') {
      this.sessions += 1
      const who = { user_id: 'user-1', session_id: `session-${this.sessions}`, openid: 'openid-1', is_new_user: true }
      return { body: { ...who, ...this.pair() } }
    }
    if (path === '/api/v1/refresh') {
      return { body: { user_id: 'user-1', session_id: `session-${this.sessions}`, ...this.pair() } }
    }
    if (path === '/api/v1/logout') return { body: { ended_sessions: 1 } }
    if (path === '/api/v1/phone') return { body: { phone_number: '+8613800000000', code: body.code } }
    return { body: { token: headers.authorization, path } }
  }
}

/** The edge's error, as authsvc/edge/replies.py writes it. */
function refusal(status, reason, { endReason, retryAfter } = {}) {
  const error = { code: 'X', reason, message: 'text', request_id: 'rid' }
  if (endReason) error.end_reason = endReason
  return { status, headers: retryAfter ? { 'retry-after': String(retryAfter) } : {}, body: { error } }
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

module.exports = { Edge, refusal }
