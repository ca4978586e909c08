/**
 * A proxy in front of a real edge that counts what reaches it, and can lose a reply after the edge has given it.
 */
'use strict'

const http = require('node:http')

class Proxy {
  constructor(target) {
    this.target = new URL(target)
    this.reached = []
    /** Called with every path whose reply has come; true loses the reply. */
    this.loses = () => false
  }

  async open() {
    this.server = http.createServer((request, response) => {
      this.reached.push(`${request.method} ${request.url}`)
      const { hostname, port } = this.target
      const headers = { ...request.headers, host: this.target.host }
      const onward = http.request({ hostname, port, method: request.method, path: request.url, headers, agent: false }, (answer) => {
        const parts = []
        answer.on('data', (part) => parts.push(part))
        answer.on('end', () => {
          if (this.loses(request.url)) return request.socket.destroy()
          response.writeHead(answer.statusCode, answer.headers)
          response.end(Buffer.concat(parts))
        })
      })
      onward.on('error', () => request.socket.destroy())
      request.pipe(onward)
    })
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    this.url = `http://127.0.0.1:${this.server.address().port}`
    return this
  }

  async close() {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  count(path) {
    return this.reached.filter((each) => each.endsWith(` ${path}`)).length
  }
}

module.exports = { Proxy }
