/**
 * A phone that runs the mini-program: the package in a JavaScript context of its own that has what WeChat's has (`wx`,
 * timers, promises) and nothing of node's, over real sockets.
 *
 * `wx` keeps the platform's rules (facts page, section 5): at most ten requests at once; `success` for any status; JSON
 * parsed where it parses; after 5 s in the background everything fails as interrupted; storage holds copies, 1 MB per
 * key, 10 MB in all; no cookie jar; `Referer` cannot be set. What it counts, tests read: `peak`, `logins`, `sent`.
 */
'use strict'

const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const vm = require('node:vm')
const { randomFillSync } = require('node:crypto')
const { PhoneTime } = require('./time')

const ROOT = path.resolve(__dirname, '../..')
const BACKGROUND = 5000
const KEY_LIMIT = 1024 * 1024
const LIMIT = 10 * 1024 * 1024
const METHODS = ['OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT']

class Phone {
  /** @param mint called for every wx.login; resolves with a code, or rejects with the errMsg of the failure. */
  constructor({ mint, language = 'zh_CN', lacks = [] } = {}) {
    this.time = new PhoneTime()
    this.disk = new Map()
    this.mint = mint || (() => Promise.reject(new Error('login:fail no account')))
    this.language = language
    this.lacks = lacks
    this.logins = 0
    this.peak = 0
    this.sent = []
    this.brokenStorage = { read: false, write: false, remove: false }
    this.errors = []
    this.run = 0
    /** What the developer tools' npm build has put into miniprogram_npm: name → file. */
    this.modules = {}
  }

  /** Start the mini-program from what is on the disk; returns the package's exports. */
  start() {
    this.kill()
    this.run += 1
    this.live = new Set()
    this.listeners = { show: [], hide: [] }
    this.isInterrupted = false
    const run = this.run
    const time = this.time
    const guard = (task) => (...args) => {
      if (run !== this.run) return
      try {
        task(...args)
      } catch (error) {
        this.errors.push(error)
      }
    }
    const globals = {
      setTimeout: (task, ms) => time.setTimeout(guard(task), ms),
      clearTimeout: (id) => time.clearTimeout(id),
      console
    }
    this.context = vm.createContext(globals)
    vm.runInContext('(function (now) { Date.now = now })', this.context)(() => time.now())
    this.guard = guard
    this.wx = this.makeWx()
    globals.wx = this.wx
    return this.load(path.join(ROOT, 'src/index.js'))
  }

  /** End the process at once: nothing of it runs any more, its sockets are cut, storage stays. */
  kill() {
    this.run += 1
    for (const exchange of this.live || []) exchange.cut()
    this.time.timers = []
  }

  hide() {
    this.listeners.hide.forEach((listener) => listener())
    this.hiding = this.time.setTimeout(
      () => {
        this.isInterrupted = true
        for (const exchange of [...this.live]) exchange.fail('request:fail interrupted')
      },
      BACKGROUND,
      true
    )
  }

  show() {
    this.time.clearTimeout(this.hiding)
    this.isInterrupted = false
    this.listeners.show.forEach((listener) => listener())
  }

  /** Let the exchange with this path fail as the platform words it, whatever the server does. */
  fail(path, errMsg) {
    for (const exchange of [...this.live]) if (exchange.path === path) exchange.fail(errMsg)
  }

  settle(promise) {
    return this.time.settle(promise)
  }

  /** What storage holds under the package's one key. */
  stored() {
    const texts = [...this.disk.values()]
    if (texts.length > 1) throw new Error('more than one key is in use')
    return texts.length === 1 ? JSON.parse(texts[0]) : null
  }

  /** CommonJS as the developer tools' npm build leaves it: relative names inside the package. */
  load(file, cache = new Map()) {
    if (cache.has(file)) return cache.get(file).exports
    const module = { exports: {} }
    cache.set(file, module)
    const source = fs.readFileSync(file, 'utf8')
    const wrapped = vm.runInContext(`(function (module, exports, require) {${source}\n})`, this.context, { filename: file })
    wrapped(module, module.exports, (name) => {
      if (name in this.modules) return this.load(this.modules[name], cache)
      if (!name.startsWith('.')) throw new Error(`${name} is not in the mini-program`)
      return this.load(require.resolve(path.resolve(path.dirname(file), name)), cache)
    })
    return module.exports
  }

  makeWx() {
    const copy = (text) => vm.runInContext('JSON.parse', this.context)(text)
    const later = (task) => setImmediate(this.guard(task))
    const wx = {
      login: (options) => {
        this.logins += 1
        this.time.open += 1
        this.mint().then(
          (code) => {
            this.time.open -= 1
            later(() => options.success && options.success({ errMsg: 'login:ok', code }))
          },
          (error) => {
            this.time.open -= 1
            later(() => options.fail && options.fail({ errMsg: error.message, errno: 0 }))
          }
        )
      },
      request: (options) => this.request(options, copy, later),
      getStorageSync: (key) => {
        if (this.brokenStorage.read) throw new Error('getStorageSync:fail')
        return this.disk.has(key) ? copy(this.disk.get(key)) : ''
      },
      setStorageSync: (key, data) => {
        if (this.brokenStorage.write) throw new Error('setStorageSync:fail')
        const text = JSON.stringify(data)
        const others = [...this.disk].reduce((sum, [name, held]) => sum + (name === key ? 0 : held.length), 0)
        if (text.length > KEY_LIMIT || others + text.length > LIMIT) {
          throw new Error('setStorageSync:fail exceed storage max size 10Mb')
        }
        this.disk.set(key, text)
      },
      removeStorageSync: (key) => {
        if (this.brokenStorage.remove) throw new Error('removeStorageSync:fail')
        this.disk.delete(key)
      },
      getRandomValues: ({ length, success }) => {
        const buffer = vm.runInContext(`new ArrayBuffer(${Number(length)})`, this.context)
        randomFillSync(new Uint8Array(buffer))
        later(() => success({ errMsg: 'getRandomValues:ok', randomValues: buffer }))
      },
      onAppShow: (listener) => this.listeners.show.push(this.guard(listener)),
      onAppHide: (listener) => this.listeners.hide.push(this.guard(listener)),
      getAppBaseInfo: () => ({ language: this.language }),
      getAccountInfoSync: () => ({ miniProgram: { appId: 'wx00000000000000d1' } }),
      showToast: () => {}
    }
    this.lacks.forEach((name) => delete wx[name])
    return wx
  }

  request(options, copy, later) {
    const { task, exchange } = this.send(options, copy)
    const end = (name, result) => {
      if (!this.live.delete(exchange)) return
      this.time.clearTimeout(exchange.timer)
      this.time.open -= exchange.hangs ? 0 : 1
      later(() => {
        if (options[name]) options[name](result)
        if (options.complete) options.complete(result)
      })
    }
    exchange.succeed = (result) => end('success', { errMsg: 'request:ok', cookies: [], ...result })
    exchange.fail = (errMsg) => {
      exchange.cut()
      end('fail', { errMsg, errno: 600001 })
    }
    exchange.timer = this.time.setTimeout(() => exchange.fail('request:fail timeout'), options.timeout || 60000, true)
    this.live.add(exchange)
    this.time.open += 1
    this.peak = Math.max(this.peak, this.live.size)
    if (this.live.size > 10) setImmediate(() => exchange.fail('request:fail exceed max task count'))
    else if (this.isInterrupted) setImmediate(() => exchange.fail('request:fail interrupted'))
    else exchange.begin()
    return task
  }

  send(options, copy) {
    const method = (options.method || 'GET').toUpperCase()
    if (!METHODS.includes(method)) throw new Error(`request:fail invalid method ${method}`)
    const url = new URL(options.url)
    const headers = { 'content-type': 'application/json' }
    for (const [name, value] of Object.entries(options.header || {})) headers[name.toLowerCase()] = String(value)
    headers.referer = 'https://servicewechat.com/wx0/0/page-frame.html'
    let body = ''
    if (typeof options.data === 'string') body = options.data
    else if (options.data && method !== 'GET' && method !== 'HEAD') {
      body = headers['content-type'].includes('urlencoded')
        ? new URLSearchParams(options.data).toString()
        : JSON.stringify(options.data)
    } else if (options.data) {
      for (const [name, value] of Object.entries(options.data)) url.searchParams.set(name, String(value))
    }
    this.sent.push({ method, url: url.href, headers, body })
    const exchange = { path: url.pathname, hangs: false, cut: () => {} }
    exchange.begin = () => {
      const request = http.request(url, { method, headers, agent: false })
      exchange.cut = () => request.destroy()
      request.on('response', (response) => {
        const parts = []
        response.on('data', (part) => parts.push(part))
        response.on('error', () => exchange.fail('request:fail net::ERR_CONNECTION_RESET'))
        response.on('end', () => {
          const text = Buffer.concat(parts).toString('utf8').replace(/^\uFEFF/, '')
          exchange.succeed({ statusCode: response.statusCode, header: response.headers, data: parse(text, options, copy) })
        })
      })
      request.on('error', (error) => exchange.fail(`request:fail ${error.code === 'ECONNREFUSED' ? 'net::ERR_CONNECTION_REFUSED' : 'net::ERR_CONNECTION_RESET'}`))
      request.end(body)
    }
    return { exchange, task: { abort: () => exchange.fail('request:fail abort') } }
  }

  /** Exchanges that hung may go on: they are waited for again. */
  resume() {
    for (const exchange of this.live) {
      if (exchange.hangs) {
        exchange.hangs = false
        this.time.open += 1
      }
    }
  }

  /** From now on exchanges that are on the wire count as hanging: time may pass over them. */
  letHang() {
    for (const exchange of this.live) {
      if (!exchange.hangs) {
        exchange.hangs = true
        this.time.open -= 1
      }
    }
  }
}

function parse(text, options, copy) {
  if ((options.dataType || 'json') !== 'json') return text
  try {
    return copy(text)
  } catch {
    return text
  }
}

module.exports = { Phone, ROOT }
