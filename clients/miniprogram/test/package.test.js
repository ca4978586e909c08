/** The package as npm packs it and as the developer tools' npm build lays it out. */
'use strict'

const acorn = require('acorn')
const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { before, after, test } = require('node:test')
const { Edge, refusal } = require('./support/edge')
const { Phone, ROOT } = require('./support/phone')

const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
let folder
/** Where `miniprogram_npm/<name>` would be. */
let built

before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'authsvc-package-'))
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
  const [archive] = fs.readdirSync(folder)
  execFileSync('tar', ['-xzf', archive], { cwd: folder })
  // The rule of the developer tools: the directory that the field `miniprogram` names becomes miniprogram_npm/<name>.
  built = path.join(folder, 'miniprogram_npm', manifest.name)
  fs.cpSync(path.join(folder, 'package', manifest.miniprogram), built, { recursive: true })
})

after(() => fs.rmSync(folder, { recursive: true, force: true }))

test('the package has no dependencies, and its entry is where npm and the developer tools look for it', () => {
  assert.equal(manifest.dependencies, undefined)
  assert.equal(manifest.peerDependencies, undefined)
  assert.equal(manifest.main, `${manifest.miniprogram}/index.js`)
  assert.ok(fs.existsSync(path.join(built, 'index.js')))
  assert.ok(fs.existsSync(path.join(folder, 'package', manifest.types)))
  const files = fs.readdirSync(path.join(folder, 'package')).sort()
  assert.deepEqual(files, ['README.md', 'README.zh-CN.md', 'package.json', 'src'])
})

test('every file is ES5 as it stands', () => {
  const sources = fs.readdirSync(built).filter((name) => name.endsWith('.js'))
  assert.ok(sources.length > 10)
  for (const name of sources) acorn.parse(fs.readFileSync(path.join(built, name), 'utf8'), { ecmaVersion: 5, sourceType: 'script' })
})

test('the lock names no registry', () => {
  const lock = fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')
  assert.doesNotMatch(lock, /https?:/)
  assert.doesNotMatch(lock, /"resolved"/)
})

/** The example on a phone: App and Page as the platform calls them. */
async function example(t) {
  const edge = await new Edge().open()
  const phone = new Phone({ mint: async () => 'code' })
  t.after(async () => {
    phone.kill()
    await edge.close()
  })
  phone.modules = { 'authsvc-miniprogram': path.join(built, 'index.js') }
  phone.start()
  // The address in the example is that of `authsvc dev`; here it leads to this test's edge.
  const send = phone.wx.request
  phone.wx.request = (options) => send({ ...options, url: options.url.replace('http://127.0.0.1:8080', edge.url) })
  let page
  phone.context.App = (app) => app.onLaunch()
  phone.context.Page = (options) => {
    page = { ...options, setData: (changes) => Object.assign(page.data, changes) }
  }
  const modules = new Map()
  phone.load(path.join(ROOT, 'example/app.js'), modules)
  phone.load(path.join(ROOT, 'example/pages/home/index.js'), modules)
  page.onLoad()
  await phone.time.advance(0)
  return { edge, phone, page }
}

test('the example logs in, shows the user, fetches a phone number, logs out and logs in by a tap', async (t) => {
  const { edge, phone, page } = await example(t)
  assert.deepEqual(edge.paths(), ['POST /api/v1/login', 'GET /api/v1/session'])
  assert.deepEqual({ ...page.data }, { userId: 'user-1', notice: '', phone: '' })
  await phone.settle(page.onPhone({ detail: { code: 'p', errMsg: 'getPhoneNumber:ok' } }))
  assert.equal(page.data.phone, '+8613800000000')
  await phone.settle(page.onLogout())
  assert.deepEqual([page.data.userId, page.data.notice], ['', '您已退出登录。'])
  await phone.settle(page.refresh())
  assert.equal(phone.logins, 1)
  await phone.settle(page.onLogin())
  assert.deepEqual([page.data.userId, page.data.notice, phone.logins], ['user-1', '', 2])
  page.onUnload()
})

test('the example shows why a login has ended, and waits for the tap', async (t) => {
  const { edge, phone, page } = await example(t)
  edge.script = ({ path: at }) => (at === '/api/v1/refresh' ? refusal(401, 'SESSION_ENDED', { endReason: 'REPLACED' }) : undefined)
  await phone.time.advance(7200000)
  await phone.settle(page.refresh())
  assert.deepEqual([page.data.userId, page.data.notice, phone.logins], ['', '登录设备过多，本设备已下线。', 1])
})
