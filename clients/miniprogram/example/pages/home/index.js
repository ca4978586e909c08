const auth = require('../../auth')

Page({
  data: { userId: '', notice: '', phone: '' },
  off: () => {},

  onLoad() {
    this.off = auth.on('signedOut', () => this.show())
    this.refresh()
  },

  onUnload() {
    this.off()
  },

  show() {
    const { session, signedOut } = auth
    this.setData({
      userId: session ? session.userId : '',
      notice: signedOut ? signedOut.detail || signedOut.message : ''
    })
  },

  async refresh() {
    try {
      await auth.request({ url: '/api/v1/session' })
    } catch (error) {
      this.setData({ notice: error.message })
    }
    this.show()
  },

  async onLogin() {
    await auth.login({ tap: true }).catch(() => {})
    this.show()
  },

  async onLogout() {
    await auth.logout().catch(() => {})
    this.show()
  },

  /** @param {WechatMiniprogram.ButtonGetPhoneNumber} event */
  async onPhone(event) {
    try {
      const { phone_number } = await auth.getPhoneNumber(event)
      this.setData({ phone: phone_number })
    } catch (error) {
      this.setData({ notice: error.message })
    }
  }
})
