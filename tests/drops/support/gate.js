// One address in front of several nodes, as a load balancer is: newcomers go to one node, and to another when that one
// says that it is going. Whoever is with a node stays with it.
//
// A node's rooms are its own: so both sides of a call have to be on one node, and newcomers go to one at a time.

import http from 'node:http'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'

const HEALTH_MS = 50

export class Gate {
  #nodes = []
  /** By Engine.IO session id, for those that poll. */
  #sessions = new Map()
  #server = http.createServer()
  #isOpen = true

  async open() {
    this.#server.on('request', (request, response) => this.#pass(request, response))
    this.#server.on('upgrade', (request, socket, early) => this.#switch(request, socket, early))
    await new Promise((done) => this.#server.listen(0, '127.0.0.1', done))
    this.address = `127.0.0.1:${this.#server.address().port}`
  }

  /** Sends newcomers to a node from now on, as long as it is well; the others get those whom it does not take. */
  prefer(node) {
    this.#nodes = [node, ...this.#nodes.filter((other) => other !== node)]
    if (!node.isWatched) this.#watch(node)
  }

  async #watch(node) {
    node.isWatched = true
    while (this.#isOpen && this.#nodes.includes(node)) {
      node.isWell = await new Promise((done) => {
        const asked = http.get({ ...node.address, path: '/healthz', agent: false }, (answer) => {
          answer.resume()
          done(answer.statusCode === 200)
        })
        asked.once('error', () => done(false))
      })
      await pause(HEALTH_MS)
    }
  }

  /** The node is gone, and does not come back under this address. */
  remove(node) {
    this.#nodes = this.#nodes.filter((other) => other !== node)
  }

  /** Where a request goes: with its session, or as a newcomer. */
  #route({ url }) {
    const sid = /[?&]sid=([^&]+)/.exec(url)?.[1]
    const node = this.#sessions.get(sid) ?? this.#nodes.find(({ isWell }) => isWell) ?? this.#nodes[0]
    return { sid, node }
  }

  #pass(request, response) {
    const { sid, node } = this.#route(request)
    const { method, url, headers } = request
    const onward = http.request({ ...node.address, agent: false, method, path: url, headers }, async (answer) => {
      if (!sid && answer.statusCode === 200) {
        const body = await text(answer)
        this.#sessions.set(/"sid":"([^"]+)"/.exec(body)?.[1], node)
        response.writeHead(answer.statusCode, answer.headers).end(body)
        return
      }
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => {
      if (response.headersSent) response.destroy()
      else response.writeHead(502).end()
    })
    response.on('close', () => onward.destroy())
    request.pipe(onward)
  }

  /** Passes a WebSocket on as it is. */
  #switch(request, socket, early) {
    const { node } = this.#route(request)
    const onward = net.connect(node.address)
    const lines = request.rawHeaders.flatMap((name, index, all) => (index % 2 ? [] : [`${name}: ${all[index + 1]}`]))
    onward.write(`GET ${request.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
    onward.write(early)
    onward.once('error', () => socket.destroy())
    socket.once('error', () => onward.destroy())
    socket.pipe(onward).pipe(socket)
  }

  close() {
    this.#isOpen = false
    this.#server.closeAllConnections()
    this.#server.close()
  }
}
