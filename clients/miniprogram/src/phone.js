/** The phone number: the code of a getPhoneNumber button, exchanged for the number. */
'use strict'

var edges = require('./edge')
var errors = require('./errors')
var transports = require('./transport')

/** What the button itself says (errno of the event's detail). @type {Record<number, string>} */
var BUTTON = { 104: 'PRIVACY_NOT_ACCEPTED', 112: 'PRIVACY_NOT_DECLARED', 1400001: 'PHONE_QUOTA' }

/**
 * @param {object} needs
 * @param {'zh' | 'en'} needs.language
 * @param {ReturnType<typeof import('./request').createRequest>} needs.request
 * @param {import('./login').Patience} needs.patience
 * @param {number} needs.timeout
 */
function createPhone(needs) {
  /**
   * @param {string} code
   * @param {boolean} mayRepeat after a refusal that asks to wait; never after a failure that may have spent the code
   * @returns {Promise<any>} the service's body
   */
  function exchange(code, mayRepeat) {
    return needs
      .request({
        url: '/api/v1/phone',
        method: 'POST',
        data: { code: code },
        header: { 'content-type': 'application/json', 'Accept-Language': needs.language },
        timeout: needs.timeout
      })
      .then(function (response) {
        if (response.statusCode === 200) return response.data
        var error = edges.readRefusal(response, needs.language)
        if (!mayRepeat || !needs.patience.isWorthwhile(error) || error.reason === 'BAD_ANSWER') throw error
        return needs.patience.wait(error, 0).then(function () {
          return exchange(code, false)
        })
      })
  }

  /**
   * @param {any} event the button's event, or its detail
   * @returns {Promise<any>}
   */
  function getPhoneNumber(event) {
    var detail = (event && event.detail) || event || {}
    if (detail.code) return exchange(detail.code, true)
    var failure = transports.readFailure(detail)
    var reason = BUTTON[failure.errno] || 'PHONE_DECLINED'
    return Promise.reject(new errors.AuthError({ reason: reason, errMsg: failure.errMsg, errno: failure.errno }, needs.language))
  }

  return getPhoneNumber
}

module.exports = { createPhone: createPhone }
