// One address in front of several nodes, like a load balancer: new connections go to one node, or to another if that
// one is draining. Existing sessions stay with their node.
//
// A node has rooms of its own, so that both sides of a call must use one node, and new connections go to one node at a
// time.

import http from 'node:http'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { acceptsClients } from './health.js'

const HEALTH_MS = 50

export class Gate {
  #nodes = []
  /** By Engine.IO session id, for polling clients. */
  #sessions = new Map()
  #server = http.createServer()
  #isOpen = true

  async open() {
    this.#server.on('request', (request, response) => this.#pass(request, response))
    this.#server.on('upgrade', (request, socket, early) => this.#switch(request, socket, early))
    await new Promise((done) => this.#server.listen(0, '127.0.0.1', done))
    this.address = `127.0.0.1:${this.#server.address().port}`
  }

  /** Directs new connections to a node while it is healthy; the others get the rest. */
  prefer(node) {
    this.#nodes = [node, ...this.#nodes.filter((other) => other !== node)]
    if (!node.isWatched) this.#watch(node)
  }

  async #watch(node) {
    node.isWatched = true
    while (this.#isOpen && this.#nodes.includes(node)) {
      node.isWell = await acceptsClients(node.address)
      await pause(HEALTH_MS)
    }
  }

  /** The node has stopped, and does not return at this address. */
  remove(node) {
    this.#nodes = this.#nodes.filter((other) => other !== node)
  }

  /** Returns the node of a request: that of its session, or the one for new connections. */
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

  /** Forwards a WebSocket unchanged. */
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
