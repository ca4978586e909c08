// The one object of the whole mini-program. `make run` in the repository starts a service on this address; the developer
// tools give codes that only a service with your real AppID accepts (`authsvc dev --wechat real`).
const { createAuth } = require('authsvc-miniprogram')

module.exports = createAuth({
  baseUrl: 'http://127.0.0.1:8080',
  appId: wx.getAccountInfoSync().miniProgram.appId,
  onReason: (error) => {
    if (!error.needsTap) wx.showToast({ title: error.message, icon: 'none' })
  }
})
