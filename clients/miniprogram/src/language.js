/** Which of the two languages the phone speaks. */
'use strict'

/**
 * @param {import('./index').WxHost} wx
 * @returns {'zh' | 'en'} `zh` where the phone does not say
 */
function ofPhone(wx) {
  try {
    var base = wx.getAppBaseInfo ? wx.getAppBaseInfo() : wx.getSystemInfoSync ? wx.getSystemInfoSync() : null
    return base && /^en/i.test(base.language || '') ? 'en' : 'zh'
  } catch (error) {
    return 'zh'
  }
}

module.exports = { ofPhone: ofPhone }
