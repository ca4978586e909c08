/**
 * What outlives the process: one record under one key of the mini-program's storage.
 *
 * Reading and writing are synchronous, so that what was written is there before anybody uses it. Storage can be full,
 * broken or cleared by the application at any time; failures are told, never thrown.
 */
'use strict'

/**
 * @typedef {object} Session
 * @property {Record<string, unknown>} info what the UI may see
 * @property {string} access
 * @property {string} refresh
 * @property {number} lifetime of the access token at receipt, ms
 * @property {number} receivedAt the phone's wall clock at receipt, ms
 * @property {number} offset the server's clock minus the phone's at receipt, ms
 *
 * @typedef {object} Out
 * @property {string} reason
 * @property {string} endReason
 *
 * @typedef {object} Stored
 * @property {1} v
 * @property {string} stamp differs after every write, by whichever copy of this package
 * @property {string} device
 * @property {Session | null} session
 * @property {Out | null} out a tap is needed, and why
 * @property {{refresh: string, all: boolean}[]} logouts not yet told to the service
 * @property {number} silentAt wall clock of the last silent re-login, ms; 0 if never
 */

/** @returns {Stored} */
function emptyRecord() {
  return { v: 1, stamp: '', device: '', session: null, out: null, logouts: [], silentAt: 0 }
}

/** @param {unknown} value @returns {value is string} */
function isText(value) {
  return typeof value === 'string' && value !== ''
}

/** @param {any} value @returns {Session | null} */
function readSession(value) {
  var good =
    value &&
    isText(value.access) &&
    isText(value.refresh) &&
    isFinite(value.lifetime) &&
    isFinite(value.receivedAt) &&
    isFinite(value.offset) &&
    value.info &&
    typeof value.info === 'object'
  return good ? value : null
}

/**
 * Judge what storage held: whatever is not of our making is left out, piece by piece.
 *
 * @param {any} value
 * @returns {Stored | null}
 */
function readRecord(value) {
  if (!value || typeof value !== 'object' || value.v !== 1) return null
  var record = emptyRecord()
  record.stamp = isText(value.stamp) ? value.stamp : ''
  record.device = isText(value.device) ? value.device : ''
  record.session = readSession(value.session)
  if (value.out && isText(value.out.reason)) {
    record.out = { reason: value.out.reason, endReason: isText(value.out.endReason) ? value.out.endReason : '' }
  }
  if (Array.isArray(value.logouts)) {
    record.logouts = value.logouts.filter(function (/** @type {any} */ entry) {
      return entry && isText(entry.refresh)
    })
  }
  record.silentAt = isFinite(value.silentAt) ? Number(value.silentAt) : 0
  return record
}

/**
 * @param {import('./index').WxHost} wx
 * @param {string} key
 */
function createStore(wx, key) {
  return {
    /** @returns {{ok: boolean, record: Stored | null}} */
    read: function () {
      try {
        return { ok: true, record: readRecord(wx.getStorageSync(key)) }
      } catch (error) {
        return { ok: false, record: null }
      }
    },
    /** @param {Stored} record @returns {boolean} whether it is stored */
    write: function (record) {
      try {
        wx.setStorageSync(key, record)
        return true
      } catch (error) {
        return false
      }
    },
    /** Forget everything; what cannot be removed stays. */
    remove: function () {
      try {
        wx.removeStorageSync(key)
      } catch (error) {
        // There is nothing weaker to fall back to.
      }
    }
  }
}

module.exports = { createStore: createStore, emptyRecord: emptyRecord }
