/**
 * The application's own requests: wx.request with the Bearer token, as a promise and with the callbacks.
 *
 * Sent once. Once more after a 401, because a refused request was not carried out; and once more after a failure that
 * leaves open what became of it, where the method is idempotent (RFC 9110 section 9.2.2).
 */
'use strict'

var errors = require('./errors')
var transports = require('./transport')

var IDEMPOTENT = { GET: true, HEAD: true, OPTIONS: true, PUT: true, DELETE: true, TRACE: true }
/** A token that was refused although it was new is not exchanged again within this time, ms. */
var VAIN = 30000

/**
 * @typedef {import('./index').RequestOptions} RequestOptions
 * @typedef {import('./index').Response} Response
 */

/**
 * Tell whether a reply means that the access token was not accepted, so that a new one may help: the reason TOKEN_INVALID,
 * or a 401 in the application's own words. Another reason of authsvc is somebody else's business.
 *
 * @param {Response} response
 */
function isRefused(response) {
  if (response.statusCode !== 401) return false
  var data = /** @type {any} */ (response.data)
  var reason = data && typeof data === 'object' && data.error && data.error.reason
  return typeof reason !== 'string' || reason === 'TOKEN_INVALID'
}

/** @param {string} url */
function originOf(url) {
  var match = /^https?:\/\/[^/?#]+/i.exec(url)
  return match ? match[0].toLowerCase() : ''
}

/**
 * @param {object} needs
 * @param {'zh' | 'en'} needs.language
 * @param {string} needs.baseUrl
 * @param {string[] | undefined} needs.origins
 * @param {import('./login').Transport} needs.transport
 * @param {import('./login').Clock} needs.clock
 * @param {ReturnType<typeof import('./session').createSession>} needs.session
 */
function createRequest(needs) {
  /** A token that was new and refused all the same. */
  var vain = { token: '', until: 0 }

  /** @param {string} url */
  function address(url) {
    var whole = url.charAt(0) === '/' ? needs.baseUrl + url : url
    if (needs.origins && needs.origins.concat(originOf(needs.baseUrl)).indexOf(originOf(whole)) < 0) {
      throw new TypeError('authsvc: ' + originOf(whole) + ' is not among sendTokenTo')
    }
    return whole
  }

  /** @param {RequestOptions} options @param {string} token */
  function withToken(options, token) {
    /** @type {any} */
    var copy = {}
    Object.keys(options).forEach(function (name) {
      copy[name] = /** @type {any} */ (options)[name]
    })
    /** @type {any} */
    var header = {}
    Object.keys(options.header || {}).forEach(function (name) {
      if (name.toLowerCase() !== 'authorization') header[name] = /** @type {any} */ (options.header)[name]
    })
    header.Authorization = 'Bearer ' + token
    copy.header = header
    copy.url = address(options.url)
    delete copy.success
    delete copy.fail
    return copy
  }

  /** @param {() => void} task */
  function callBack(task) {
    try {
      task()
    } catch (error) {
      // The application's own mistake reaches its App.onError, and does not change what this request came to.
      setTimeout(function () {
        throw error
      }, 0)
    }
  }

  /**
   * @param {RequestOptions} options
   * @returns {import('./index').RequestPromise}
   */
  function request(options) {
    var isAborted = false
    /** @type {(() => void) | null} */
    var abortSent = null
    var mayRepeat = String(options.method || 'GET').toUpperCase() in IDEMPOTENT
    var mayReplace = true
    address(options.url)

    /** @param {{errMsg: string, errno: number}} failure */
    function failed(failure) {
      var reason = transports.reasonOf(failure)
      return new errors.AuthError({ reason: reason, errMsg: failure.errMsg, errno: failure.errno }, needs.language)
    }

    /** @param {string} token @returns {Promise<Response>} */
    function send(token) {
      if (isAborted) return Promise.reject(failed({ errMsg: 'request:fail abort', errno: 0 }))
      var exchange = needs.transport.send(withToken(options, token), false)
      abortSent = exchange.abort
      return exchange.promise.then(
        function (response) {
          return answered(response, token)
        },
        function (failure) {
          var error = failed(failure)
          if (!mayRepeat || error.reason === 'ABORTED') throw error
          mayRepeat = false
          return needs.transport.whenShown().then(needs.session.ensure).then(send)
        }
      )
    }

    /** @param {Response} response @param {string} token @returns {Response | Promise<Response>} */
    function answered(response, token) {
      if (!isRefused(response)) return response
      var now = needs.clock.now()
      if (!mayReplace) vain = { token: token, until: now + VAIN }
      if (!mayReplace || (token === vain.token && now < vain.until)) return response
      mayReplace = false
      return needs.session.replace(token).then(send)
    }

    var promise = /** @type {any} */ (needs.session.ensure().then(send))
    promise.then(
      function (/** @type {Response} */ response) {
        callBack(function () {
          if (options.success) options.success(response)
        })
        callBack(function () {
          if (options.complete) options.complete(response)
        })
      },
      function (/** @type {import('./errors').AuthError} */ error) {
        callBack(function () {
          if (options.fail) options.fail(error)
        })
        callBack(function () {
          if (options.complete) options.complete(error)
        })
      }
    )
    promise.abort = function () {
      isAborted = true
      if (abortSent) abortSent()
    }
    return promise
  }

  return request
}

module.exports = { createRequest: createRequest, originOf: originOf }
