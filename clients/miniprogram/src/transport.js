/**
 * wx.request as a promise, never more than ten at a time, and the background in which nothing can be sent.
 *
 * The platform runs at most 10 requests at once; what comes on top waits here, in order, instead of failing there. The
 * last of the ten places is kept for the login service, so that ten hanging pages cannot hold up the refresh that they
 * wait for. A mini-program that has been in the background for 5 s has its requests failed as `interrupted`; whoever
 * wants to try again waits for `whenShown` first.
 */
'use strict'

var LIMIT = 10

/**
 * @typedef {import('./index').RequestOptions} RequestOptions
 * @typedef {import('./index').Response} Response
 * @typedef {{errMsg: string, errno: number}} Failure
 * @typedef {{promise: Promise<Response>, abort: () => void}} Exchange
 * @typedef {{options: RequestOptions, resolve: (r: Response) => void, reject: (f: Failure) => void, task: any}} Job
 */

/** @param {any} failure @returns {Failure} */
function readFailure(failure) {
  return {
    errMsg: failure && typeof failure.errMsg === 'string' ? failure.errMsg : 'request:fail',
    errno: failure && typeof failure.errno === 'number' ? failure.errno : 0
  }
}

/** @param {import('./index').WxHost} wx */
function createTransport(wx) {
  /** @type {Job[]} */
  var urgent = []
  /** @type {Job[]} */
  var waiting = []
  var running = 0
  var hidden = false
  /** @type {(() => void)[]} */
  var hoping = []

  if (typeof wx.onAppHide === 'function' && typeof wx.onAppShow === 'function') {
    wx.onAppHide(function () {
      hidden = true
    })
    wx.onAppShow(function () {
      hidden = false
      var woken = hoping
      hoping = []
      woken.forEach(function (wake) {
        wake()
      })
    })
  }

  function pump() {
    while (running < LIMIT && (urgent.length > 0 || (waiting.length > 0 && running < LIMIT - 1))) {
      start(/** @type {Job} */ (urgent.length > 0 ? urgent.shift() : waiting.shift()))
    }
  }

  /** @param {Job} job */
  function start(job) {
    var over = false
    running += 1
    function end() {
      if (over) return false
      over = true
      running -= 1
      return true
    }
    /** @type {any} */
    var options = {}
    Object.keys(job.options).forEach(function (name) {
      options[name] = /** @type {any} */ (job.options)[name]
    })
    options.success = function (/** @type {Response} */ response) {
      if (end()) job.resolve(response)
      pump()
    }
    options.fail = function (/** @type {unknown} */ failure) {
      if (end()) job.reject(readFailure(failure))
      pump()
    }
    delete options.complete
    try {
      job.task = wx.request(options)
    } catch (error) {
      options.fail({ errMsg: 'request:fail ' + error })
    }
  }

  return {
    /**
     * Send one request, as soon as there is a place. Rejects with what wx.request said (a Failure).
     *
     * @param {RequestOptions} options
     * @param {boolean} isUrgent ahead of everything that is not
     * @returns {Exchange}
     */
    send: function (options, isUrgent) {
      /** @type {any} */
      var job = { options: options, task: null }
      var promise = new Promise(
        /** @param {(r: Response) => void} resolve @param {(f: Failure) => void} reject */ function (resolve, reject) {
          job.resolve = resolve
          job.reject = reject
        }
      )
      var queue = isUrgent ? urgent : waiting
      queue.push(job)
      pump()
      return {
        promise: promise,
        abort: function () {
          var place = queue.indexOf(job)
          if (place >= 0) {
            queue.splice(place, 1)
            job.reject({ errMsg: 'request:fail abort', errno: 0 })
          } else if (job.task && typeof job.task.abort === 'function') {
            job.task.abort()
          }
        }
      }
    },
    /** @returns {Promise<void>} once the mini-program is in the foreground */
    whenShown: function () {
      return new Promise(function (resolve) {
        if (hidden) hoping.push(resolve)
        else resolve()
      })
    }
  }
}

/** @param {Failure} failure @returns {string} the reason, one of `reasons.LOCAL` */
function reasonOf(failure) {
  if (/abort/i.test(failure.errMsg)) return 'ABORTED'
  return /interrupted/i.test(failure.errMsg) ? 'INTERRUPTED' : 'NETWORK'
}

module.exports = { createTransport: createTransport, readFailure: readFailure, reasonOf: reasonOf }
