/**
 * authsvc for WeChat mini-programs.
 *
 * Self-contained: it fits `miniprogram-api-typings` without needing them. Durations are milliseconds unless a name says
 * otherwise.
 */

/** The part of `wx` that is used. Everything optional is done without where the base library lacks it. */
export interface WxHost {
  login(options: { timeout?: number; success?: (result: { code: string }) => void; fail?: (error: any) => void }): void
  request(options: any): any
  getStorageSync(key: string): any
  setStorageSync(key: string, data: any): void
  removeStorageSync(key: string): void
  getRandomValues?(options: {
    length: number
    success?: (result: { randomValues: ArrayBuffer }) => void
    fail?: (error: any) => void
  }): any
  onAppShow?(listener: (...args: any[]) => void): void
  onAppHide?(listener: (...args: any[]) => void): void
  getAppBaseInfo?(): { language?: string }
  getSystemInfoSync?(): { language?: string }
}

export interface AuthOptions {
  /** Where the service's edge is, e.g. `https://login.example.com`; its paths `/api/v1/…` are added. */
  baseUrl: string
  /** The AppID of this mini-program. */
  appId: string
  /** The platform; the global `wx` by default. */
  wx?: WxHost
  /** Storage key is `<prefix>:<appId>`; `authsvc` by default. Everything is kept under this one key. */
  storagePrefix?: string
  /** Shown to the user in a list of sessions, at most 128 characters; none by default. */
  deviceName?: string
  /** Language of all texts; the phone's by default. */
  language?: 'zh' | 'en'
  /** Called once for each login or refresh that fails, whoever waited for it: what the UI should show. */
  onReason?: (error: AuthError) => void
  /**
   * Origins (`https://api.example.com`) that `request` may send the token to, besides `baseUrl`'s; another is a TypeError.
   * By default every URL given to `request` gets the token.
   */
  sendTokenTo?: string[]
  /** Time limit of one exchange with the service and of `wx.login`; 20000 by default. */
  timeout?: number
  /** A token is renewed so long before its end (never more than a quarter of its life); 60000 by default. */
  refreshAhead?: number
  /** A Retry-After up to this is waited for within a call; a longer one fails the call at once. 5000 by default. */
  maxWait?: number
}

/** Who is logged in. No token is in here. */
export interface SessionInfo {
  /** The service's own id of the user: the key for your data. */
  userId: string
  sessionId: string
  openid?: string
  unionid?: string
  isNewUser?: boolean
  /** Other ids this user had before accounts were merged. */
  previousUserIds?: string[]
  externalId?: string
}

export interface LoginResult extends SessionInfo {
  /** If a phone code was given and exchanged. */
  phoneNumber?: string
  /** Why a phone code gave no number; the login stands. */
  phoneError?: string
}

export interface LoginOptions {
  /**
   * The user has tapped for this. Also logs in where the session turns out, in this very call, to have been ended by
   * somebody's decision.
   */
  tap?: boolean
  /** Never log in after an end that needs a tap: for `App.onLaunch`. Rejects with `needsTap` instead. */
  silent?: boolean
  /** Log in anew though there is a session, e.g. after SESSION_KEY_STALE. */
  force?: boolean
  /** The code of a getPhoneNumber button, to be exchanged with the same call. */
  phoneCode?: string
}

/** `wx.request`'s options. */
export interface RequestOptions {
  /** Absolute, or a path under `baseUrl` that begins with `/`. */
  url: string
  method?: 'OPTIONS' | 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'TRACE' | 'CONNECT'
  data?: string | Record<string, any> | ArrayBuffer
  /** An `Authorization` in here is replaced. */
  header?: Record<string, any>
  timeout?: number
  success?: (response: any) => void
  fail?: (error: any) => void
  complete?: (result: any) => void
  /** Whatever else wx.request takes is passed on. */
  [other: string]: any
}

/** `wx.request`'s result, for any HTTP status. */
export interface Response<T = any> {
  statusCode: number
  data: T
  header: Record<string, any>
  cookies?: string[]
  errMsg: string
}

export interface RequestPromise<T = any> extends Promise<Response<T>> {
  /** Give up: the promise rejects with ABORTED, whether the request was sent or still waited. */
  abort(): void
}

/** The service's answer, as it is. */
export interface PhoneResult {
  /** With country code. */
  phone_number: string
  pure_phone_number?: string
  country_code?: string
  /** Whether the number is now bound to the user. */
  bound?: boolean
}

/**
 * What is to be done: `tap` show a login button · `retry` later, after `retryAfter` where there is one · `show` tell the
 * user; nothing else helps · `new_code` call `login` again · `new_phone_code` ask for another tap on the phone button.
 */
export type Action = 'tap' | 'retry' | 'show' | 'new_code' | 'new_phone_code'

/** What every promise of this package rejects with. */
export declare class AuthError extends Error {
  private constructor()
  readonly name: 'AuthError'
  /**
   * The service's reason (README lists them), or one that arises on the phone: NETWORK, INTERRUPTED, ABORTED, BAD_ANSWER,
   * WX_LOGIN_FAILED, STORAGE_FAILED, PHONE_DECLINED, PHONE_QUOTA, PRIVACY_NOT_ACCEPTED, PRIVACY_NOT_DECLARED.
   */
  readonly reason: string
  /** With SESSION_ENDED: LOGOUT, REPLACED, ADMIN, BLOCKED, EXPIRED, …; else empty. */
  readonly endReason: string
  /** For the user, in their language. */
  readonly message: string
  /** Why the session ended, for the user; empty where nothing is known. */
  readonly detail: string
  readonly action: Action
  /** Nothing will be tried until `login()` is called from a tap. */
  readonly needsTap: boolean
  /** 0 where there was no reply. */
  readonly statusCode: number
  /** Seconds; 0 where the service did not say. */
  readonly retryAfter: number
  /** Quote it when you ask the operators. */
  readonly requestId: string
  /** What `wx` said; empty where there was a reply. */
  readonly errMsg: string
  readonly errno: number
}

export interface AuthEvents {
  /** A login has been stored. */
  login: SessionInfo
  /** New tokens have been stored. */
  refresh: SessionInfo
  /** The session ended, and is being begun anew silently. */
  relogin: AuthError
  /** The session ended, and a tap is needed. */
  signedOut: AuthError
  /** As `onReason`. */
  reason: AuthError
}

export interface Auth {
  /**
   * Somebody is logged in afterwards: resolves with the session there is, renewed if need be, or with a new one. One login
   * runs at a time, whoever asks. After an end that needs a tap this call counts as the tap, unless `silent`.
   */
  login(options?: LoginOptions): Promise<LoginResult>
  /**
   * `wx.request` with the Bearer token; logs in or refreshes first where needed. Resolves for any HTTP status, like
   * wx.request; rejects with an AuthError. The callbacks are called too.
   */
  request<T = any>(options: RequestOptions): RequestPromise<T>
  /**
   * The user is out at once. Resolves when the service knows; rejects if it could not be told now (it will be, at the next
   * start or login). `all` ends every session of the user, on every device.
   */
  logout(options?: { all?: boolean }): Promise<{ endedSessions: number }>
  /** Exchange what a `getPhoneNumber` button's event (or its detail) carries. */
  getPhoneNumber(event: { detail: { code?: string; errMsg?: string; errno?: number } } | { code?: string }): Promise<PhoneResult>
  /** Who is logged in, as far as the phone knows; a copy. */
  readonly session: SessionInfo | null
  readonly state: 'none' | 'live' | 'signedOut'
  /** Why a tap is needed, or null. */
  readonly signedOut: AuthError | null
  /** The service's time as counted since its last reply, however wrong the phone's clock: ms since 1970. */
  serverTime(): number
  /** Returns a function that ends the listening. */
  on<E extends keyof AuthEvents>(event: E, listener: (value: AuthEvents[E]) => void): () => void
}

/** Make the one object that a mini-program needs: in `app.js`, or in a module that pages require. */
export declare function createAuth(options: AuthOptions): Auth
