/**
 * The session: who is logged in, renewed by at most one exchange at a time, however many pages ask.
 *
 * What it does about each refusal is CONTRACT.md's table ("Reasons → gRPC code → HTTP"): silent re-login at most once,
 * and never after an end that somebody decided.
 */
'use strict'

var errors = require('./errors')
var reasons = require('./reasons')
var logins = require('./login')

/** A refresh is sent at most so often for one renewal, always with the same token: the grace window makes that safe. */
var REFRESHES = 3
/** A session that ends again within this time after a silent re-login is not silently begun once more, ms. */
var SILENT_PAUSE = 60000
/** After the service has refused an automatic login or refresh, the next one has to wait, ms. */
var PAUSE = 5000

/**
 * @typedef {import('./errors').AuthError} AuthError
 * @typedef {{promise: Promise<any>, cancel: (error: AuthError) => void}} Flight
 */

/** @param {any} body what login or refresh answered @param {any} previous */
function readInfo(body, previous) {
  /** @type {any} */
  var info = {}
  Object.keys(previous || {}).forEach(function (name) {
    info[name] = previous[name]
  })
  var names = {
    userId: 'user_id',
    sessionId: 'session_id',
    openid: 'openid',
    unionid: 'unionid',
    isNewUser: 'is_new_user',
    previousUserIds: 'previous_user_ids',
    externalId: 'external_id'
  }
  Object.keys(names).forEach(function (name) {
    var value = body[/** @type {any} */ (names)[name]]
    if (value !== undefined) info[name] = value
  })
  return info
}

/**
 * @param {object} needs
 * @param {'zh' | 'en'} needs.language
 * @param {import('./login').Keeper} needs.keeper
 * @param {import('./login').Edge} needs.edge
 * @param {import('./login').Clock} needs.clock
 * @param {import('./login').Patience} needs.patience
 * @param {ReturnType<typeof logins.createLogin>} needs.login
 * @param {() => Promise<void>} needs.tellLogouts
 * @param {(refresh: string) => void} needs.disown
 * @param {(name: string, value?: unknown) => void} needs.emit
 */
function createSession(needs) {
  var keeper = needs.keeper
  var patience = needs.patience
  /** @type {Flight | null} */
  var flight = null
  /** Grows when the user logs out: whatever was on its way then is not wanted any more. */
  var epoch = 0

  /** @returns {AuthError} */
  function outError() {
    var out = keeper.out() || { reason: 'SESSION_ENDED', endReason: 'LOGOUT' }
    var error = new errors.AuthError({ reason: out.reason, endReason: out.endReason, statusCode: 401 }, needs.language)
    error.needsTap = true
    return error
  }

  /** @param {AuthError} error @returns {AuthError} */
  function signOut(error) {
    keeper.signOut({ reason: error.reason, endReason: error.endReason })
    error.needsTap = true
    needs.emit('signedOut', error)
    return error
  }

  /** @param {any} body @param {any} info */
  function keep(body, info) {
    var wall = needs.clock.wall()
    keeper.setSession({
      info: info,
      access: body.access_token,
      refresh: body.refresh_token,
      lifetime: body.expires_in * 1000,
      receivedAt: wall,
      offset: body.server_time * 1000 - wall
    })
    patience.release()
  }

  /**
   * Run *job* as the one exchange, or join the one that runs.
   *
   * @param {(isWanted: () => boolean) => Promise<any>} job
   * @returns {Promise<any>}
   */
  function fly(job) {
    if (flight) return flight.promise
    var mine = epoch
    /** @type {any} */
    var running = {}
    running.promise = new Promise(function (resolve, reject) {
      running.cancel = reject
      function land() {
        if (flight === running) flight = null
      }
      Promise.resolve()
        .then(function () {
          return job(function () {
            return mine === epoch
          })
        })
        .then(
          function (value) {
            land()
            resolve(value)
          },
          function (error) {
            land()
            if (mine === epoch) needs.emit('reason', error)
            reject(error)
          }
        )
    })
    flight = running
    return running.promise
  }

  /** @param {string} phoneCode @param {() => boolean} isWanted @returns {Promise<any>} the login's body */
  function enter(phoneCode, isWanted) {
    return needs
      .tellLogouts()
      .then(function () {
        return needs.login(phoneCode, isWanted)
      })
      .then(
        function (body) {
          if (!isWanted()) {
            needs.disown(body.refresh_token)
            throw outError()
          }
          keep(body, readInfo(body, null))
          needs.emit('login', info())
          return body
        },
        function (error) {
          if (!isWanted()) throw outError()
          if (error.reason === 'USER_BLOCKED' || error.reason === 'WECHAT_USER_BLOCKED') throw signOut(error)
          patience.hold(error, error.reason === 'NETWORK' || error.reason === 'INTERRUPTED' ? 0 : PAUSE)
          throw error
        }
      )
  }

  /** @param {() => boolean} isWanted @returns {Promise<any>} */
  function renew(isWanted) {
    var before = keeper.session()
    keeper.settle()
    var session = keeper.session()
    if (keeper.out()) return Promise.reject(outError())
    if (!session) return enter('', isWanted)
    // Another copy of this package has been quicker.
    if (before && session.access !== before.access && keeper.isFresh()) return Promise.resolve()
    return refresh(session, 1, isWanted)
  }

  /**
   * @param {import('./store').Session} session
   * @param {number} tried
   * @param {() => boolean} isWanted
   * @returns {Promise<any>}
   */
  function refresh(session, tried, isWanted) {
    return needs.edge.post('/refresh', { refresh_token: session.refresh }, logins.hasTokens).then(function (outcome) {
      if (!isWanted()) throw outError()
      if (outcome.ok) {
        keep(outcome.body, readInfo(outcome.body, session.info))
        needs.emit('refresh', info())
        return undefined
      }
      var error = outcome.error
      var verdict = outcome.known ? reasons.judgeRefresh(error) : 'keep'
      if (verdict === 'tap') throw signOut(error)
      if (verdict === 'silent') return enterSilently(error, isWanted)
      return later(outcome, tried).then(function () {
        if (!isWanted()) throw outError()
        return refresh(session, tried + 1, isWanted)
      })
    })
  }

  /**
   * Wait until the refresh may be sent again; rejects with its error where it should not be.
   *
   * @param {import('./edge').Refusal} refusal
   * @param {number} tried
   * @returns {Promise<void>}
   */
  function later(refusal, tried) {
    var error = refusal.error
    var helps = tried < REFRESHES && (!refusal.known || patience.isWorthwhile(error))
    return (helps ? patience.wait(error, tried - 1) : Promise.reject(error)).then(undefined, function () {
      patience.hold(error, refusal.known ? PAUSE : 0)
      throw error
    })
  }

  /** @param {AuthError} error @param {() => boolean} isWanted @returns {Promise<any>} */
  function enterSilently(error, isWanted) {
    var since = needs.clock.wall() - keeper.silentAt()
    if (keeper.silentAt() > 0 && since >= 0 && since < SILENT_PAUSE) throw signOut(error)
    keeper.dropForSilentLogin()
    needs.emit('relogin', error)
    return enter('', isWanted)
  }

  /** @returns {import('./index').SessionInfo | null} */
  function info() {
    var session = keeper.session()
    return session ? readInfo({}, session.info) : null
  }

  /** @returns {string} */
  function access() {
    var session = keeper.session()
    if (!session) throw outError()
    return session.access
  }

  /** Join the exchange that runs or begin one, unless nobody should ask for a while. @returns {Promise<any>} */
  function exchange() {
    var held = flight ? null : patience.heldBack(false)
    return held ? Promise.reject(held) : fly(renew)
  }

  /**
   * Return a good access token: the one there is, or after one exchange. Rejects with an AuthError.
   *
   * @returns {Promise<string>}
   */
  function ensure() {
    if (!flight) {
      if (keeper.out()) return Promise.reject(outError())
      if (keeper.session() && keeper.isFresh()) return Promise.resolve(access())
    }
    return exchange().then(access, function (error) {
      // Nobody knows whether it could be renewed, and it has not ended yet.
      if (keeper.session() && !error.needsTap && keeper.remaining() > 0) return access()
      throw error
    })
  }

  return {
    info: info,
    ensure: ensure,
    outError: outError,
    /**
     * Return an access token other than *refused*, which an API has answered with 401.
     *
     * @param {string} refused
     * @returns {Promise<string>}
     */
    replace: function (refused) {
      var session = keeper.session()
      var isOld = !session || session.access !== refused
      return isOld && !flight ? ensure() : exchange().then(access)
    },
    /**
     * Log in, whatever there was. Joins a login or refresh that runs.
     *
     * @param {string} phoneCode
     * @returns {Promise<any>} the login's body; undefined where a refresh was joined
     */
    login: function (phoneCode) {
      var held = patience.heldBack(true)
      if (held) return Promise.reject(held)
      return fly(function (isWanted) {
        keeper.settle()
        return enter(phoneCode, isWanted)
      })
    },
    isBusy: function () {
      return flight !== null
    },
    /** The user is out, at once; whatever is on its way is not wanted any more. */
    leave: function () {
      epoch += 1
      keeper.signOut({ reason: 'SESSION_ENDED', endReason: 'LOGOUT' })
      var error = outError()
      if (flight) flight.cancel(error)
      flight = null
      needs.emit('signedOut', error)
    }
  }
}

module.exports = { createSession: createSession }
