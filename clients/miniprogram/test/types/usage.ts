/** Compiled, never run: the declarations fit `miniprogram-api-typings`, in both directions where it matters. */
import { createAuth, Auth, AuthError, LoginResult, Response, WxHost } from '../../src/index'

const platform: WxHost = wx
const auth: Auth = createAuth({ baseUrl: 'https://login.example.com', appId: 'wx1234567890abcdef', wx: platform })

const options: WechatMiniprogram.RequestOption<{ orders: string[] }> = {
  url: 'https://api.example.com/orders',
  method: 'PUT',
  data: { a: 1 },
  success: (result) => result.data.orders,
  fail: (error) => error.errMsg,
  complete: (result) => result.errMsg
}
const sent = auth.request<{ orders: string[] }>(options)
sent.abort()
sent.then((response: Response<{ orders: string[] }>) => response.data.orders.length)
auth.request({ url: '/orders', enableHttp2: true })

const result: Promise<LoginResult> = auth.login({ tap: true, phoneCode: 'code' })
result.catch((error: AuthError) => [error.action === 'tap', error.needsTap, error.retryAfter])
const handler: WechatMiniprogram.Page.CustomOption = {
  onPhone(event: WechatMiniprogram.ButtonGetPhoneNumber) {
    return auth.getPhoneNumber(event).then((phone) => phone.phone_number)
  }
}
const off: () => void = auth.on('signedOut', (error) => error.endReason)
const user: string | undefined = auth.session?.userId

// @ts-expect-error an event that there is not
auth.on('logout', () => {})
// @ts-expect-error the session is read, not written
auth.session = null
// @ts-expect-error appId is required
createAuth({ baseUrl: 'https://login.example.com' })

export { handler, off, user }
