/**
 * Time on a phone: the wall clock may be wrong and may be set while we run; only spans are trusted.
 *
 * Nothing else in this package reads the clock or sets a timer.
 */
'use strict'

/**
 * `now` counts milliseconds and never goes back while this process lives; `wall` is the phone's own clock. Set forward,
 * the clock makes a token look older than it is (an early refresh); set back, a token may look younger (then the 401 of
 * a request tells).
 */
function createClock() {
  var last = Date.now()
  var behind = 0
  return {
    wall: function () {
      return Date.now()
    },
    now: function () {
      var wall = Date.now()
      if (wall < last) behind += last - wall
      last = wall
      return wall + behind
    },
    /** @param {number} ms @param {() => void} task @returns {() => void} calls it off */
    after: function (ms, task) {
      var id = setTimeout(task, ms)
      return function () {
        clearTimeout(id)
      }
    },
    /** @param {number} ms @returns {Promise<void>} */
    sleep: function (ms) {
      return new Promise(function (resolve) {
        setTimeout(resolve, ms)
      })
    }
  }
}

module.exports = { createClock: createClock }
