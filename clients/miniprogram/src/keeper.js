/**
 * The record in memory and in storage, kept the same.
 *
 * A change is stored before anybody sees it. Where storing fails the change holds in memory, the previous record stays
 * in storage, and the next change of tokens first tries again: so storage never holds anything older than the previous
 * refresh token, which the service still honours for its grace window.
 */
'use strict'

var stores = require('./store')

/**
 * @typedef {import('./store').Session} Session
 * @typedef {import('./store').Stored} Stored
 * @typedef {import('./store').Out} Out
 */

/**
 * @param {object} needs
 * @param {import('./index').WxHost} needs.wx
 * @param {string} needs.key
 * @param {ReturnType<typeof import('./clock').createClock>} needs.clock
 * @param {number} needs.margin a token is no longer fresh so long before its end, ms
 * @param {() => void} needs.onUnsaved
 */
function createKeeper(needs) {
  var clock = needs.clock
  var store = stores.createStore(needs.wx, needs.key)
  var record = stores.emptyRecord()
  var isRead = false
  var isSaved = true
  /** When the access token arrived, on the clock that never goes back. */
  var bornAt = 0

  /** @param {Stored} found */
  function take(found) {
    record = found
    if (!found.session) return
    var age = clock.wall() - found.session.receivedAt
    // A negative age: the phone's clock was set back since. How old the token is cannot be known, so it counts as old.
    bornAt = age < 0 ? -Infinity : clock.now() - age
  }

  /** Read storage, until it could be read once. */
  function begin() {
    if (isRead) return
    var found = store.read()
    if (!found.ok) return
    isRead = true
    if (found.record && record.stamp === '') take(found.record)
  }

  /** @param {(next: Stored) => void} change */
  function commit(change) {
    /** @type {any} */
    var next = {}
    Object.keys(record).forEach(function (name) {
      next[name] = /** @type {any} */ (record)[name]
    })
    change(next)
    next.stamp = clock.wall().toString(36) + Math.random().toString(36).slice(2)
    var wasSaved = isSaved
    isSaved = store.write(next)
    record = next
    if (wasSaved && !isSaved) needs.onUnsaved()
  }

  begin()
  return {
    /** @returns {Session | null} */
    session: function () {
      begin()
      return record.session
    },
    /** @returns {Out | null} */
    out: function () {
      begin()
      return record.out
    },
    logouts: function () {
      return record.logouts
    },
    device: function () {
      return record.device
    },
    silentAt: function () {
      return record.silentAt
    },
    /** How long the access token is still good, by our own count of time since it arrived, ms. */
    remaining: function () {
      return record.session ? record.session.lifetime - (clock.now() - bornAt) : 0
    },
    /** Whether the access token is good for longer than the margin, which is never more than a quarter of its life. */
    isFresh: function () {
      return !!record.session && this.remaining() > Math.min(needs.margin, record.session.lifetime / 4)
    },
    /**
     * Bring memory and storage together before tokens change: store what could not be stored, or take what another copy
     * of this package (a second instance, an independent subpackage) has stored since.
     */
    settle: function () {
      begin()
      if (!isSaved) {
        isSaved = store.write(record)
        // Left there, it would be two rotations old by the next reply, and count as a stolen copy.
        if (!isSaved) store.remove()
        return
      }
      var found = store.read()
      if (found.ok && found.record && found.record.stamp !== record.stamp) take(found.record)
    },
    /** @param {string} device */
    setDevice: function (device) {
      commit(function (next) {
        next.device = device
      })
    },
    /** @param {Session} session */
    setSession: function (session) {
      var now = clock.now()
      commit(function (next) {
        next.session = session
        next.out = null
      })
      bornAt = now
    },
    /** The session is over and may be begun anew without asking. */
    dropForSilentLogin: function () {
      commit(function (next) {
        next.session = null
        next.silentAt = clock.wall()
      })
    },
    /** @param {Out} out the session is over until the user taps */
    signOut: function (out) {
      commit(function (next) {
        next.session = null
        next.out = out
      })
    },
    /** @param {Stored['logouts']} logouts */
    setLogouts: function (logouts) {
      commit(function (next) {
        next.logouts = logouts
      })
    }
  }
}

module.exports = { createKeeper: createKeeper }
