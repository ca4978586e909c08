/**
 * What can go wrong, in words for the user, and what the UI is to do about it.
 *
 * The reasons of the service and their texts are those of the server's table (authsvc/status.py; a test holds the two
 * together); which end of a session allows a silent login is CONTRACT.md's table. Texts say what the reader can do.
 */
'use strict'

/**
 * @typedef {'tap' | 'retry' | 'show' | 'new_code' | 'new_phone_code'} Action
 * @typedef {{en: string, zh: string, action: Action}} Row
 */

/** @param {Action} action @param {string} en @param {string} zh @returns {Row} */
function row(action, en, zh) {
  return { en: en, zh: zh, action: action }
}

/** The reasons that the service gives. @type {Record<string, Row>} */
var SERVICE = {
  INVALID_FIELD: row('show', 'The request is not valid.', '请求参数不正确。'),
  LOGIN_CODE_INVALID: row(
    'new_code',
    'The login code is invalid or has expired. Call wx.login again and retry with the new code.',
    '登录 code 无效或已过期。请重新调用 wx.login 获取新的 code 后重试。'
  ),
  LOGIN_CODE_USED: row(
    'new_code',
    'The login code has been used already. Call wx.login again and retry with the new code.',
    '登录 code 已被使用。请重新调用 wx.login 获取新的 code 后重试。'
  ),
  LOGIN_CODE_SPENT: row(
    'new_code',
    'WeChat received the login code but its answer was lost. Call wx.login again and retry with the new code.',
    '登录 code 已发送给微信，但结果未知。请重新调用 wx.login 获取新的 code 后重试。'
  ),
  WECHAT_USER_BLOCKED: row('show', 'WeChat does not allow this account to log in.', '微信限制该账号登录。'),
  USER_BLOCKED: row('show', 'This account has been blocked.', '该账号已被停用。'),
  WECHAT_THROTTLED: row(
    'retry',
    'WeChat asks to slow down. Wait, then try again; a login needs a new code.',
    '微信接口调用过于频繁，请稍后再试；登录需重新获取 code。'
  ),
  RATE_LIMITED: row('retry', 'Too many requests. Wait a moment.', '请求过于频繁，请稍后再试。'),
  WECHAT_UNAVAILABLE: row('retry', 'WeChat cannot be reached right now. Try again in a moment.', '暂时无法连接微信，请稍后重试。'),
  STORE_UNAVAILABLE: row('retry', 'The service is temporarily unavailable. Try again.', '服务暂时不可用，请稍后重试。'),
  NOT_FRESH: row('retry', 'The service cannot decide right now. Try again.', '服务暂时无法确认登录状态，请稍后重试。'),
  WECHAT_MISCONFIGURED: row('show', 'WeChat does not serve this app right now.', '微信暂时无法为该小程序提供服务。'),
  UNKNOWN_APP: row('show', 'This app is not known here.', '未知的小程序。'),
  APP_DISABLED: row('show', 'This app is switched off.', '该小程序已停用。'),
  REFRESH_TOKEN_INVALID: row('tap', 'The refresh token is not valid. Log in again.', '刷新令牌无效，请重新登录。'),
  SESSION_ENDED: row('tap', 'The session has ended. Log in again.', '登录已失效，请重新登录。'),
  TOKEN_INVALID: row('retry', 'The access token is not valid.', '访问令牌无效或已过期。'),
  TOKEN_INSUFFICIENT: row('show', 'The access token does not allow this.', '访问令牌权限不足。'),
  PHONE_CODE_INVALID: row(
    'new_phone_code',
    'The phone code is invalid or has expired. Ask for a new one.',
    '手机号 code 无效或已过期，请重新获取。'
  ),
  CALLER_UNAUTHENTICATED: row('show', 'The calling service is not authenticated.', '调用方未通过身份验证。'),
  CALLER_FORBIDDEN: row('show', 'The calling service may not do this.', '调用方无权执行此操作。'),
  SESSION_KEY_STALE: row(
    'new_code',
    'The session key has changed. Call wx.login first, then fetch the data again.',
    'session_key 已失效，请先调用 wx.login 再重新获取数据。'
  ),
  USER_DATA_INVALID: row('show', 'The user data cannot be read.', '用户数据无法解密或校验失败。'),
  NOT_FOUND: row('show', 'There is no such thing here.', '请求的对象不存在。'),
  INTERNAL: row('show', 'Something went wrong on our side.', '服务内部错误，请稍后再试。')
}

/** The reasons that arise on the phone. @type {Record<string, Row>} */
var LOCAL = {
  NETWORK: row('retry', 'The network did not answer. Try again.', '网络无响应，请检查网络后重试。'),
  INTERRUPTED: row('retry', 'The request was interrupted in the background. Try again.', '请求在后台被中断，请重试。'),
  ABORTED: row('show', 'The request was cancelled.', '请求已取消。'),
  BAD_ANSWER: row('retry', 'The service cannot be reached through this network.', '当前网络无法正常访问服务，请稍后重试。'),
  WX_LOGIN_FAILED: row('retry', 'WeChat gave no login code. Try again.', '微信登录失败，请重试。'),
  STORAGE_FAILED: row('show', 'The login cannot be stored on this phone.', '无法在本机保存登录状态。'),
  PHONE_DECLINED: row('new_phone_code', 'No phone number was shared.', '未授权手机号。'),
  PHONE_QUOTA: row('show', 'Phone numbers are not available right now.', '暂时无法获取手机号。'),
  PRIVACY_NOT_ACCEPTED: row('new_phone_code', 'The privacy agreement has not been accepted yet.', '请先同意隐私协议。'),
  PRIVACY_NOT_DECLARED: row('show', 'Phone numbers are not declared in the privacy agreement.', '隐私协议未声明手机号。')
}

/**
 * Why a session ended: `silent` ends allow one silent wx.login, the others stand until the user taps.
 *
 * @type {Record<string, {silent: boolean, en: string, zh: string}>}
 */
var ENDS = {
  LOGOUT: { silent: false, en: 'You have logged out.', zh: '您已退出登录。' },
  REPLACED: { silent: false, en: 'You have logged in on too many devices.', zh: '登录设备过多，本设备已下线。' },
  ADMIN: { silent: false, en: 'An operator has ended this login.', zh: '管理员已结束本次登录。' },
  BLOCKED: { silent: false, en: 'This account has been blocked.', zh: '该账号已被停用。' },
  EXPIRED: { silent: true, en: 'The login has expired.', zh: '登录已过期。' },
  REFRESH_STALE: { silent: true, en: 'The login was renewed too late.', zh: '登录续期超时。' },
  REFRESH_REUSE: { silent: true, en: 'An old copy of this login was used.', zh: '登录凭证被重复使用。' },
  STORE_RESTORED: { silent: true, en: 'The service was restored from a backup.', zh: '服务已从备份恢复。' },
  SUPERSEDED: { silent: true, en: 'This device has logged in anew.', zh: '本设备已重新登录。' },
  MERGED: { silent: true, en: 'Two accounts were merged.', zh: '账号已合并。' }
}

/** @param {Record<string, unknown>} table @param {string} name */
function has(table, name) {
  return Object.prototype.hasOwnProperty.call(table, name)
}

/** @param {string} reason @returns {Row | undefined} */
function find(reason) {
  if (has(SERVICE, reason)) return SERVICE[reason]
  return has(LOCAL, reason) ? LOCAL[reason] : undefined
}

/**
 * Tell what a refusal of the refresh means: `silent` (one silent login), `tap` (the user must), `keep` (cannot know:
 * keep the tokens, try again later).
 *
 * A reason of a newer server is judged by its status (error_reason.proto): 401 needs a tap, because a silent login could
 * undo somebody's decision. A 401 without any reason is not our service's, and CALLER_UNAUTHENTICATED is between the edge
 * and the service behind it: neither says anything of the session.
 *
 * @param {{reason: string, endReason: string, statusCode: number}} refusal
 * @returns {'silent' | 'tap' | 'keep'}
 */
function judgeRefresh(refusal) {
  if (refusal.reason === 'REFRESH_TOKEN_INVALID') return 'silent'
  if (refusal.reason === 'SESSION_ENDED') {
    return has(ENDS, refusal.endReason) && ENDS[refusal.endReason].silent ? 'silent' : 'tap'
  }
  if (refusal.reason === 'USER_BLOCKED') return 'tap'
  return refusal.statusCode === 401 && refusal.reason !== 'CALLER_UNAUTHENTICATED' ? 'tap' : 'keep'
}

module.exports = { SERVICE: SERVICE, LOCAL: LOCAL, ENDS: ENDS, find: find, has: has, judgeRefresh: judgeRefresh }
