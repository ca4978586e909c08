/** What promises of this package reject with: one class, made here only. */
'use strict'

var reasons = require('./reasons')

/**
 * @typedef {object} Facts
 * @property {string} reason
 * @property {string=} endReason
 * @property {string=} serverMessage the service's own text, for a reason that this version does not know
 * @property {number=} statusCode
 * @property {number=} retryAfter seconds
 * @property {string=} requestId
 * @property {string=} errMsg
 * @property {number=} errno
 * @property {import('./reasons').Action=} action
 */

/**
 * See index.d.ts for the meaning of its properties.
 *
 * @constructor
 * @param {Facts} facts
 * @param {'zh' | 'en'} language
 */
function AuthError(facts, language) {
  var row = reasons.find(facts.reason)
  var end = facts.endReason && reasons.has(reasons.ENDS, facts.endReason) ? reasons.ENDS[facts.endReason] : null
  var status = facts.statusCode || 0
  /** @type {import('./reasons').Action} */
  this.action = facts.action || (row ? row.action : status === 401 ? 'tap' : status === 429 || status === 503 ? 'retry' : 'show')
  this.name = 'AuthError'
  this.reason = facts.reason
  this.endReason = facts.endReason || ''
  this.message = row ? row[language] : facts.serverMessage || reasons.SERVICE.INTERNAL[language]
  this.detail = end ? end[language] : ''
  this.needsTap = this.action === 'tap'
  this.statusCode = status
  this.retryAfter = facts.retryAfter || 0
  this.requestId = facts.requestId || ''
  this.errMsg = facts.errMsg || ''
  this.errno = facts.errno || 0
  this.stack = new Error(this.reason + ': ' + this.message).stack
}
AuthError.prototype = Object.create(Error.prototype)
AuthError.prototype.constructor = AuthError

module.exports = { AuthError: AuthError }
