/** The login service's edge: JSON in, an outcome out. What an outcome means is not judged here. */
'use strict'

var errors = require('./errors')
var transport = require('./transport')

/**
 * @typedef {{ok: true, body: any}} Answer
 * @typedef {{ok: false, known: boolean, error: import('./errors').AuthError}} Refusal
 *   `known` is whether the service itself said so, with a reason; otherwise nobody knows what became of the request
 */

/** @param {any} header @param {string} name @returns {string} */
function headerOf(header, name) {
  var found = ''
  Object.keys(header || {}).forEach(function (key) {
    if (key.toLowerCase() === name) found = String(header[key])
  })
  return found
}

/**
 * Return the seconds of Retry-After, 0 where there are none. (A date, which our service never sends, is none.)
 *
 * @param {any} header
 */
function retryAfterOf(header) {
  var text = headerOf(header, 'retry-after')
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : 0
}

/** @param {any} value */
function textOf(value) {
  return typeof value === 'string' ? value : ''
}

/**
 * Return the error of a reply that is not the expected 200.
 *
 * @param {import('./index').Response} response
 * @param {'zh' | 'en'} language
 */
function readRefusal(response, language) {
  var data = /** @type {any} */ (response.data)
  var error = data && typeof data === 'object' && data.error && typeof data.error === 'object' ? data.error : {}
  var reason = textOf(error.reason)
  return new errors.AuthError(
    {
      reason: reason || 'BAD_ANSWER',
      endReason: textOf(error.end_reason),
      serverMessage: textOf(error.message),
      statusCode: response.statusCode,
      retryAfter: retryAfterOf(response.header),
      requestId: textOf(error.request_id) || headerOf(response.header, 'x-request-id')
    },
    language
  )
}

/**
 * @param {object} options
 * @param {ReturnType<typeof transport.createTransport>} options.transport
 * @param {string} options.baseUrl
 * @param {'zh' | 'en'} options.language
 * @param {number} options.timeout
 */
function createEdge(options) {
  var language = options.language

  /**
   * Post *body* to the path under /api/v1, once. Never rejects.
   *
   * @param {string} path
   * @param {object} body
   * @param {(body: any) => boolean} isGood whether a 200 is what was asked for; a captive portal's page is not
   * @returns {Promise<Answer | Refusal>}
   */
  function post(path, body, isGood) {
    var exchange = options.transport.send(
      {
        url: options.baseUrl + '/api/v1' + path,
        method: 'POST',
        data: body,
        header: { 'content-type': 'application/json', 'Accept-Language': language },
        timeout: options.timeout
      },
      true
    )
    return exchange.promise.then(
      function (response) {
        return read(response, isGood)
      },
      function (failure) {
        return {
          ok: false,
          known: false,
          error: new errors.AuthError(
            { reason: transport.reasonOf(failure), errMsg: failure.errMsg, errno: failure.errno },
            language
          )
        }
      }
    )
  }

  /**
   * @param {import('./index').Response} response
   * @param {(body: any) => boolean} isGood
   * @returns {Answer | Refusal}
   */
  function read(response, isGood) {
    if (response.statusCode === 200) {
      if (response.data && typeof response.data === 'object' && isGood(response.data)) return { ok: true, body: response.data }
      var unreadable = new errors.AuthError({ reason: 'BAD_ANSWER', statusCode: 200 }, language)
      return { ok: false, known: false, error: unreadable }
    }
    var error = readRefusal(response, language)
    return { ok: false, known: error.reason !== 'BAD_ANSWER', error: error }
  }

  return { post: post, read: read }
}

module.exports = { createEdge: createEdge, readRefusal: readRefusal }
