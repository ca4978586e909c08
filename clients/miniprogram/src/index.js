/**
 * authsvc for WeChat mini-programs: `createAuth`, and what it is made of.
 *
 * ES5 and promises only, so that no compiler option of the developer tools matters; base library 2.11 and later.
 * The types and their meaning are in index.d.ts.
 */
'use strict'

var clocks = require('./clock')
var edges = require('./edge')
var errors = require('./errors')
var keepers = require('./keeper')
var languages = require('./language')
var logins = require('./login')
var logouts = require('./logout')
var patiences = require('./patience')
var phones = require('./phone')
var requests = require('./request')
var sessions = require('./session')
var transports = require('./transport')

/**
 * @param {import('./index').AuthOptions} options
 * @returns {import('./index').Auth}
 */
function createAuth(options) {
  if (!options || !/^https?:\/\/[^/?#]+/i.test(options.baseUrl)) throw new TypeError('authsvc: baseUrl must be an http(s) URL')
  if (!options.appId) throw new TypeError('authsvc: appId is required')
  var host = options.wx || /** @type {any} */ (wx)
  var baseUrl = options.baseUrl.replace(/\/+$/, '')
  var language = options.language || languages.ofPhone(host)
  var timeout = options.timeout || 20000
  /** @type {Record<string, ((value: any) => void)[]>} */
  var listeners = {}

  /** @param {string} name @param {unknown} value */
  function emit(name, value) {
    var called = (listeners[name] || []).slice()
    if (name === 'reason' && options.onReason) called.unshift(options.onReason)
    called.forEach(function (listener) {
      try {
        listener(value)
      } catch (error) {
        // A listener's mistake reaches App.onError and stops nothing here.
        setTimeout(function () {
          throw error
        }, 0)
      }
    })
  }

  var clock = clocks.createClock()
  var transport = transports.createTransport(host)
  var patience = patiences.createPatience({ transport: transport, clock: clock, maxWait: options.maxWait || 5000 })
  var edge = edges.createEdge({ transport: transport, baseUrl: baseUrl, language: language, timeout: timeout })
  var keeper = keepers.createKeeper({
    wx: host,
    key: (options.storagePrefix || 'authsvc') + ':' + options.appId,
    clock: clock,
    margin: options.refreshAhead || 60000,
    onUnsaved: function () {
      emit('reason', new errors.AuthError({ reason: 'STORAGE_FAILED' }, language))
    }
  })
  var logout = logouts.createLogout({ keeper: keeper, edge: edge })
  var login = logins.createLogin({
    wx: host,
    appId: options.appId,
    deviceName: options.deviceName || '',
    language: language,
    timeout: timeout,
    keeper: keeper,
    transport: transport,
    edge: edge,
    clock: clock,
    patience: patience
  })
  var session = sessions.createSession({
    language: language,
    keeper: keeper,
    edge: edge,
    clock: clock,
    patience: patience,
    login: login,
    tellLogouts: logout.tellBeforeLogin,
    disown: function (refresh) {
      logout.tell(refresh, false)
    },
    emit: emit
  })
  var origins = options.sendTokenTo && options.sendTokenTo.map(requests.originOf)
  var request = requests.createRequest({
    language: language,
    baseUrl: baseUrl,
    origins: origins,
    transport: transport,
    clock: clock,
    session: session
  })
  var getPhoneNumber = phones.createPhone({ language: language, request: request, patience: patience, timeout: timeout })

  /** @param {any} info @param {any} body what a login answered */
  function withPhone(info, body) {
    if (body && body.phone_number !== undefined) info.phoneNumber = body.phone_number
    if (body && body.phone_error !== undefined) info.phoneError = body.phone_error
    return info
  }

  /** @param {import('./index').LoginOptions} wish */
  function enter(wish) {
    var isJoined = session.isBusy()
    return session.login(wish.phoneCode || '').then(function (body) {
      return isJoined ? present(wish) : withPhone(session.info(), body)
    })
  }

  /**
   * Somebody is logged in; a phone code that no login has carried is sent by itself.
   *
   * @param {import('./index').LoginOptions} wish
   * @returns {any}
   */
  function present(wish) {
    if (!wish.phoneCode) return session.info()
    return getPhoneNumber({ detail: { code: wish.phoneCode, errMsg: 'getPhoneNumber:ok' } }).then(
      function (body) {
        return withPhone(session.info(), body)
      },
      function (error) {
        return withPhone(session.info(), { phone_error: error.reason })
      }
    )
  }

  var auth = {
    /** @param {import('./index').LoginOptions} [given] */
    login: function (given) {
      var wish = given || {}
      if (keeper.out() && !session.isBusy()) return wish.silent ? Promise.reject(session.outError()) : enter(wish)
      if (wish.force && !session.isBusy()) return enter(wish)
      if (!keeper.session() && !session.isBusy()) return enter(wish)
      return session.ensure().then(
        function () {
          return present(wish)
        },
        function (error) {
          if (wish.tap && keeper.out()) return enter(wish)
          throw error
        }
      )
    },
    request: request,
    /** @param {{all?: boolean}} [given] */
    logout: function (given) {
      var before = keeper.session()
      // Stored first: an app that is killed in between has still to tell the service.
      var told = logout.tell(before ? before.refresh : '', !!(given && given.all))
      session.leave()
      return told
    },
    getPhoneNumber: getPhoneNumber,
    /** @param {string} name @param {(value: any) => void} listener */
    on: function (name, listener) {
      listeners[name] = (listeners[name] || []).concat(listener)
      return function () {
        listeners[name] = listeners[name].filter(function (other) {
          return other !== listener
        })
      }
    },
    serverTime: function () {
      var current = keeper.session()
      return clock.wall() + (current ? current.offset : 0)
    }
  }
  Object.defineProperty(auth, 'session', { enumerable: true, get: session.info })
  Object.defineProperty(auth, 'state', {
    enumerable: true,
    get: function () {
      if (keeper.out()) return 'signedOut'
      return keeper.session() ? 'live' : 'none'
    }
  })
  Object.defineProperty(auth, 'signedOut', {
    enumerable: true,
    get: function () {
      return keeper.out() ? session.outError() : null
    }
  })
  logout.tellAll()
  return /** @type {any} */ (auth)
}

module.exports = { createAuth: createAuth, AuthError: errors.AuthError }
