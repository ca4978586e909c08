/** How long to wait before the same is tried again, and when not to wait at all. */
'use strict'

/** Reasons after which waiting helps (CONTRACT.md, column "retry"). @type {Record<string, boolean>} */
var WORTHWHILE = {
  RATE_LIMITED: true,
  WECHAT_THROTTLED: true,
  WECHAT_UNAVAILABLE: true,
  STORE_UNAVAILABLE: true,
  NOT_FRESH: true,
  NETWORK: true,
  INTERRUPTED: true,
  BAD_ANSWER: true
}

/** However long the service asks for, after so long we ask again, ms. */
var LONGEST_HOLD = 300000

/**
 * @param {object} needs
 * @param {ReturnType<typeof import('./transport').createTransport>} needs.transport
 * @param {ReturnType<typeof import('./clock').createClock>} needs.clock
 * @param {number} needs.maxWait a longer Retry-After is not waited for in a running call, ms
 */
function createPatience(needs) {
  /** @type {{until: number, error: import('./errors').AuthError, asked: boolean} | null} */
  var held = null

  /** @param {import('./errors').AuthError} error */
  function isWorthwhile(error) {
    if (error.reason in WORTHWHILE) return true
    return error.action === 'retry' && (error.statusCode === 429 || error.statusCode === 503)
  }

  return {
    isWorthwhile: isWorthwhile,
    /**
     * Wait as the error asks: its Retry-After, else a growing time with jitter; then for the foreground. Rejects with the
     * error at once where its Retry-After is longer than `maxWait`.
     *
     * @param {import('./errors').AuthError} error
     * @param {number} tried how often this was waited for already
     * @returns {Promise<void>}
     */
    wait: function (error, tried) {
      var ms = error.retryAfter > 0 ? error.retryAfter * 1000 : (500 + Math.random() * 500) * Math.pow(3, tried)
      if (ms > needs.maxWait) return Promise.reject(error)
      return needs.clock.sleep(ms).then(needs.transport.whenShown)
    },
    /**
     * Remember that nobody should ask for a while.
     *
     * @param {import('./errors').AuthError} error
     * @param {number} ms at least so long; the error's Retry-After where it is longer
     */
    hold: function (error, ms) {
      var wait = Math.min(Math.max(ms, error.retryAfter * 1000), LONGEST_HOLD)
      held = wait > 0 ? { until: needs.clock.now() + wait, error: error, asked: error.retryAfter > 0 } : null
    },
    release: function () {
      held = null
    },
    /**
     * Return the error to answer with instead of asking, or null.
     *
     * @param {boolean} byUser a person's wish is held up only where the service itself asked to wait
     */
    heldBack: function (byUser) {
      if (!held || needs.clock.now() >= held.until || (byUser && !held.asked)) return null
      return held.error
    }
  }
}

module.exports = { createPatience: createPatience }
