const auth = require('./auth')

App({
  onLaunch() {
    // Not needed, only quicker: the first request would log in by itself.
    auth.login({ silent: true }).catch(() => {})
  }
})
