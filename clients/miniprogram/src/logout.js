/**
 * Telling the service that sessions are over. The user is out at once; what the service could not be told is kept in
 * storage and told later, so that a logout in a tunnel still ends the session.
 */
'use strict'

/** More are not kept; an older one ends by itself in the service. */
var MOST = 5

/**
 * @param {object} needs
 * @param {import('./login').Keeper} needs.keeper
 * @param {import('./login').Edge} needs.edge
 */
function createLogout(needs) {
  var keeper = needs.keeper

  /** @param {string} refresh */
  function forget(refresh) {
    keeper.setLogouts(
      keeper.logouts().filter(function (entry) {
        return entry.refresh !== refresh
      })
    )
  }

  /**
   * @param {{refresh: string, all: boolean}} entry
   * @returns {Promise<number>} how many sessions ended; rejects with an AuthError
   */
  function send(entry) {
    var body = entry.all ? { refresh_token: entry.refresh, all: true } : { refresh_token: entry.refresh }
    return needs.edge
      .post('/logout', body, function () {
        return true
      })
      .then(function (outcome) {
        if (outcome.ok) {
          forget(entry.refresh)
          return Number(outcome.body.ended_sessions) || 0
        }
        // A refusal that no waiting can change is the end of it.
        if (outcome.known && outcome.error.statusCode < 429) forget(entry.refresh)
        throw outcome.error
      })
  }

  /** Tell what is left over, one after the other; what fails stays for the next time. @returns {Promise<void>} */
  function tellAll() {
    return keeper.logouts().reduce(function (/** @type {Promise<any>} */ told, entry) {
      return told.then(function () {
        return send(entry).then(undefined, function () {
          return 0
        })
      })
    }, Promise.resolve())
  }

  return {
    tellAll: tellAll,
    /**
     * @param {string} refresh
     * @param {boolean} all
     * @returns {Promise<{endedSessions: number}>}
     */
    tell: function (refresh, all) {
      if (refresh === '') return Promise.resolve({ endedSessions: 0 })
      var entry = { refresh: refresh, all: all }
      keeper.setLogouts(keeper.logouts().concat(entry).slice(-MOST))
      return send(entry).then(function (ended) {
        return { endedSessions: ended }
      })
    },
    /** Afterwards no logout of before can end the session that now begins. @returns {Promise<void>} */
    tellBeforeLogin: function () {
      if (keeper.logouts().length === 0) return Promise.resolve()
      return tellAll().then(function () {
        if (keeper.logouts().length === 0) return
        keeper.setLogouts(
          keeper.logouts().map(function (entry) {
            return { refresh: entry.refresh, all: false }
          })
        )
      })
    }
  }
}

module.exports = { createLogout: createLogout }
