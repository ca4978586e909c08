/**
 * One login: a code of wx.login, exchanged. At most two codes, and the same code again only where the service says that it
 * was not sent to WeChat.
 */
'use strict'

var errors = require('./errors')
var devices = require('./device')

var UNSENT = { WECHAT_UNAVAILABLE: true, STORE_UNAVAILABLE: true }
var CODE_GONE = { LOGIN_CODE_INVALID: true, LOGIN_CODE_USED: true, LOGIN_CODE_SPENT: true }
var CODES = 2
var WAITS = 2

/**
 * @typedef {ReturnType<typeof import('./keeper').createKeeper>} Keeper
 * @typedef {ReturnType<typeof import('./transport').createTransport>} Transport
 * @typedef {ReturnType<typeof import('./edge').createEdge>} Edge
 * @typedef {ReturnType<typeof import('./clock').createClock>} Clock
 * @typedef {ReturnType<typeof import('./patience').createPatience>} Patience
 */

/**
 * Tell whether a 200 carries tokens.
 *
 * @param {any} body
 */
function hasTokens(body) {
  return (
    typeof body.access_token === 'string' &&
    body.access_token !== '' &&
    typeof body.refresh_token === 'string' &&
    body.refresh_token !== '' &&
    typeof body.expires_in === 'number' &&
    typeof body.server_time === 'number'
  )
}

/**
 * @param {object} needs
 * @param {import('./index').WxHost} needs.wx
 * @param {string} needs.appId
 * @param {string} needs.deviceName
 * @param {'zh' | 'en'} needs.language
 * @param {number} needs.timeout
 * @param {Keeper} needs.keeper
 * @param {Transport} needs.transport
 * @param {Edge} needs.edge
 * @param {Clock} needs.clock
 * @param {Patience} needs.patience
 */
function createLogin(needs) {
  /** @returns {Promise<string>} a fresh code; rejects with WX_LOGIN_FAILED */
  function askCode() {
    return new Promise(function (resolve, reject) {
      // A platform that never answers would hold up every page for ever.
      var callOff = needs.clock.after(needs.timeout + 5000, function () {
        fail({ errMsg: 'login:fail timeout' })
      })
      /** @param {any} failure */
      function fail(failure) {
        callOff()
        var errMsg = (failure && failure.errMsg) || 'login:fail'
        reject(new errors.AuthError({ reason: 'WX_LOGIN_FAILED', errMsg: errMsg, errno: failure && failure.errno }, needs.language))
      }
      needs.wx.login({
        timeout: needs.timeout,
        success: function (result) {
          if (!result || !result.code) return fail(result)
          callOff()
          resolve(result.code)
        },
        fail: fail
      })
    })
  }

  /** @returns {Promise<string>} */
  function getCode() {
    return askCode().then(undefined, function (error) {
      if (!/interrupted/.test(error.errMsg)) throw error
      return needs.transport.whenShown().then(askCode)
    })
  }

  /** @returns {Promise<void>} */
  function haveDevice() {
    if (needs.keeper.device() !== '') return Promise.resolve()
    return devices.makeDeviceId(needs.wx).then(function (device) {
      needs.keeper.setDevice(device)
    })
  }

  /**
   * @param {string} phoneCode
   * @param {() => boolean} isWanted asked before every further step
   * @returns {Promise<any>} the service's body; rejects with an AuthError
   */
  function login(phoneCode, isWanted) {
    var codes = CODES
    var waits = WAITS

    /** @returns {Promise<any>} */
    function withNewCode() {
      codes -= 1
      return getCode().then(exchange)
    }

    /** @param {string} code @returns {Promise<any>} */
    function exchange(code) {
      /** @type {any} */
      var body = { app_id: needs.appId, code: code, device_id: needs.keeper.device() }
      if (needs.deviceName) body.device_name = needs.deviceName
      if (phoneCode) body.phone_code = phoneCode
      return needs.edge.post('/login', body, hasTokens).then(function (outcome) {
        if (outcome.ok) return outcome.body
        var error = outcome.error
        if (!isWanted()) throw error
        if (error.reason in CODE_GONE) {
          if (codes > 0) return withNewCode()
          throw error
        }
        if (error.reason in UNSENT) {
          return again(error, function () {
            return exchange(code)
          })
        }
        // Somebody asks to wait, or nobody knows what became of the code: only a new one can do.
        if (codes > 0 && (!outcome.known || needs.patience.isWorthwhile(error))) return again(error, withNewCode)
        throw error
      })
    }

    /** @param {import('./errors').AuthError} error @param {() => Promise<any>} next */
    function again(error, next) {
      if (waits === 0) throw error
      waits -= 1
      return needs.patience.wait(error, WAITS - 1 - waits).then(function () {
        if (!isWanted()) throw error
        return next()
      })
    }

    return haveDevice().then(withNewCode)
  }

  return login
}

module.exports = { createLogin: createLogin, hasTokens: hasTokens }
