/**
 * A phone's clock and timers, moved by hand.
 *
 * `settle` lets a promise come to its end: it waits for real sockets where some are open, and where nothing but a timer
 * can bring the next event it moves the clock to that timer. So no test waits for a duration.
 */
'use strict'

class PhoneTime {
  constructor(wall = 1800000000000) {
    this.elapsed = 0
    this.offset = wall
    this.timers = []
    this.count = 0
    this.open = 0
  }

  /** The phone's wall clock, which `setWall` may put anywhere. */
  now() {
    return this.offset + this.elapsed
  }

  setWall(wall) {
    this.offset = wall - this.elapsed
  }

  setTimeout(task, ms = 0, isPlatform = false) {
    this.count += 1
    this.timers.push({ id: this.count, due: this.elapsed + Math.max(0, ms), task, isPlatform })
    return this.count
  }

  clearTimeout(id) {
    this.timers = this.timers.filter((timer) => timer.id !== id)
  }

  /** Let time pass; everything that falls due happens, in order, with the phone's sockets given their turn in between. */
  async advance(ms) {
    const end = this.elapsed + ms
    for (;;) {
      await this.quiet()
      const timer = this.next((each) => each.due <= end)
      if (!timer) break
      this.fire(timer)
    }
    this.elapsed = end
    await this.quiet()
  }

  async settle(promise) {
    let isOver = false
    const watched = Promise.resolve(promise).finally(() => {
      isOver = true
    })
    watched.catch(() => {})
    while (!isOver) {
      await this.quiet()
      if (isOver) break
      const timer = this.next((each) => !each.isPlatform)
      if (!timer) throw new Error('the promise waits for nothing that can happen')
      this.fire(timer)
    }
    return watched
  }

  next(isWanted) {
    return this.timers.filter(isWanted).sort((a, b) => a.due - b.due || a.id - b.id)[0]
  }

  fire(timer) {
    this.clearTimeout(timer.id)
    this.elapsed = Math.max(this.elapsed, timer.due)
    timer.task()
  }

  /** Until for some turns no exchange has been on the wire, but those that hang on purpose. */
  async quiet() {
    for (let still = 0; still < 4; ) {
      await turn()
      still = this.open > 0 ? 0 : still + 1
    }
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

module.exports = { PhoneTime, turn }
