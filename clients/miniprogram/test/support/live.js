/**
 * The real service, spawned: `authsvc dev` (database, WeChat sandbox, server, edge), and beside it `authsvc serve` on the
 * same database whose apps have a cap of one session and no grace, which `dev` cannot be told.
 */
'use strict'

const { execFileSync, spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const ROOT = path.resolve(__dirname, '../../../..')
const BIN = path.join(ROOT, '.venv/bin')
const PATIENCE = 60000

/** Why nothing can be run live, or an empty string. */
const missing = fs.existsSync(path.join(BIN, 'authsvc')) ? '' : 'NOT RUN: there is no .venv with authsvc; run `make install` first'

class Service {
  static async start() {
    const service = new Service()
    service.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'authsvc-miniprogram-'))
    service.children = []
    try {
      service.dev = await service.spawn('dev', ['dev', '--data-dir', service.file('data'), '--quiet', '--sandbox-port', '0'])
      service.strict = await service.spawn('strict', ['serve', '--with-edge', '--env', 'dev', '--drain-wait', '0'], service.strictSettings())
    } catch (error) {
      await service.stop()
      throw error
    }
    return service
  }

  file(name) {
    return path.join(this.folder, name)
  }

  strictSettings() {
    const app = (digit, rest) =>
      `[[apps]]\nid = "wx00000000000000d${digit}"\nsecret = "5a4d00000000000000000000000000d${digit}"\nwechat_url = "${this.dev.sandbox}"\n${rest}\n`
    fs.writeFileSync(this.file('apps.toml'), [app(1, 'max_sessions = 1'), app(2, 'grace = 0'), app(3, '')].join('\n'))
    return {
      AUTHSVC_APPS_FILE: this.file('apps.toml'),
      AUTHSVC_MASTER_KEYS_FILE: this.file('data/master.key'),
      AUTHSVC_SIGNING_KEYS_DIR: this.file('data/signing'),
      AUTHSVC_DATABASE_URL: `sqlite:///${this.file('data/authsvc.db')}`
    }
  }

  /** Start a command of authsvc on free ports; resolves with its addresses once it serves. */
  async spawn(name, words, settings = {}) {
    const ready = this.file(`${name}.ready`)
    const log = fs.openSync(this.file(`${name}.log`), 'w')
    const ports = ['--grpc-port', '0', '--http-port', '0', '--ops-port', '0', '--ready-file', ready]
    const child = spawn(path.join(BIN, 'authsvc'), [...words, ...ports], {
      cwd: this.folder,
      env: { ...process.env, ...settings },
      stdio: ['ignore', log, log]
    })
    this.children.push(child)
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.gone = gone
    const until = Date.now() + PATIENCE
    while (!fs.existsSync(ready)) {
      if (child.exitCode !== null || Date.now() > until) {
        throw new Error(`authsvc ${name} did not start:\n${fs.readFileSync(this.file(`${name}.log`), 'utf8').slice(-2000)}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 50)) // a real process: polled, bounded by PATIENCE
    }
    return JSON.parse(fs.readFileSync(ready, 'utf8'))
  }

  async stop() {
    for (const child of this.children.reverse()) {
      child.kill('SIGTERM')
      await child.gone
    }
    fs.rmSync(this.folder, { recursive: true, force: true })
  }

  /** What wx.login gives a person in an app. */
  mint(user, app) {
    return async () => {
      const body = JSON.stringify({ app_id: app, user })
      const response = await fetch(`${this.dev.sandbox}/sandbox/v1/codes`, { method: 'POST', body })
      return (await response.json()).code
    }
  }

  /** Call the strict edge from elsewhere, as another device or a thief would. */
  async post(where, body) {
    const response = await fetch(`${this.strict.http}/api/v1/${where}`, { method: 'POST', body: JSON.stringify(body) })
    return { status: response.status, body: await response.json() }
  }

  authsvc(...words) {
    return execFileSync(path.join(BIN, 'authsvc'), words, { cwd: this.folder, encoding: 'utf8' })
  }

  /** Change the record behind the service's back: for what nobody can bring about in a minute. */
  sql(statement, ...values) {
    const program =
      'import sqlite3, sys, json\n' +
      'db = sqlite3.connect(sys.argv[1], timeout=30)\n' +
      'changed = db.execute(sys.argv[2], json.loads(sys.argv[3])).rowcount\n' +
      'db.commit()\nprint(changed)'
    const words = ['-c', program, this.file('data/authsvc.db'), statement, JSON.stringify(values)]
    return Number(execFileSync(path.join(BIN, 'python'), words, { encoding: 'utf8' }))
  }
}

module.exports = { Service, missing, BIN }
