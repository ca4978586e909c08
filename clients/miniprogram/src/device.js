/**
 * The device_id: 128 random bits in hex, made once and kept. A label that lets a reinstalled or restarted login take the
 * place of this device's older one; no proof of anything, and no fingerprint of the phone.
 */
'use strict'

/** @param {ArrayBuffer} buffer */
function hex(buffer) {
  return Array.prototype.map
    .call(new Uint8Array(buffer), function (/** @type {number} */ byte) {
      return (byte < 16 ? '0' : '') + byte.toString(16)
    })
    .join('')
}

/** Where the platform has no random numbers (base library before 2.19), a label may come from Math.random. */
function guess() {
  var text = ''
  while (text.length < 32) text += Math.floor(Math.random() * 16).toString(16)
  return text
}

/**
 * @param {import('./index').WxHost} wx
 * @returns {Promise<string>}
 */
function makeDeviceId(wx) {
  return new Promise(function (resolve) {
    function fall() {
      resolve(guess())
    }
    if (typeof wx.getRandomValues !== 'function') return fall()
    try {
      wx.getRandomValues({
        length: 16,
        success: function (result) {
          resolve(result.randomValues.byteLength === 16 ? hex(result.randomValues) : guess())
        },
        fail: fall
      })
    } catch (error) {
      fall()
    }
  })
}

module.exports = { makeDeviceId: makeDeviceId }
