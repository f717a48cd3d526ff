// Engine.IO without a client library, for the conformance suites: HTTP requests and WebSocket frames exactly as they are sent.

import assert from 'node:assert/strict'
import WebSocket from 'ws'
import { within } from './support.js'

/** Separates the packets of a payload of Engine.IO 4. */
export const SEPARATOR = '\x1e'

/** The HTTP side of one endpoint: `address` is the URL of the server, `revision` that of Engine.IO. */
export class Endpoint {
  constructor(address, revision) {
    this.address = address
    this.revision = revision
  }

  url(query) {
    return `${this.address}/socket.io/?${new URLSearchParams(query)}`
  }

  /** Sends a request with exactly this query; returns `{ status, text, bytes }`. */
  async request(query, init) {
    const response = await fetch(this.url(query), init)
    const bytes = Buffer.from(await response.arrayBuffer())
    return { status: response.status, text: bytes.toString(), bytes }
  }

  /** Opens a WebSocket, for the session `sid` if it is given. */
  socket(sid) {
    return new RawSocket(this.url({ EIO: this.revision, transport: 'websocket', ...(sid && { sid }) }))
  }

  /** Returns the status with which the handshake of a WebSocket with this query is refused. */
  async refusal(query) {
    const socket = new RawSocket(this.url(query))
    return within(socket.refused, () => 'the handshake is not refused')
  }
}

/** A session over HTTP long-polling; payloads are text, encoded by the caller. */
export class PollingSession {
  constructor(endpoint, sid, query = {}) {
    this.endpoint = endpoint
    this.sid = sid
    this.query = { EIO: endpoint.revision, transport: 'polling', sid, ...query }
  }

  poll() {
    return within(this.endpoint.request(this.query), () => `the poll of ${this.sid} is not answered`)
  }

  post(body) {
    return this.endpoint.request(this.query, { method: 'POST', body })
  }

  /** Posts a payload that the server must accept. */
  async push(body) {
    const { status, text } = await this.post(body)
    assert.deepEqual([status, text], [200, 'ok'])
  }

  /** Polls; the server must answer with a payload. */
  async pull() {
    const { status, text } = await this.poll()
    assert.equal(status, 200, text)
    return text
  }

  /** Asserts that the server does not know the session any more. */
  async assertClosed() {
    assert.equal((await this.poll()).status, 400)
  }
}

/** A WebSocket whose frames are read one by one: strings for text, Buffers for binary frames. */
export class RawSocket {
  #frames = []
  #waiting
  #socket

  constructor(url) {
    this.#socket = new WebSocket(url)
    this.#socket.on('message', (data, isBinary) => {
      this.#frames.push(isBinary ? data : data.toString())
      this.#waiting?.()
    })
    this.closed = new Promise((resolve) => this.#socket.once('close', resolve))
    this.opened = new Promise((resolve) => this.#socket.once('open', resolve))
    /** Resolves with the HTTP status if the server refuses the handshake. */
    this.refused = new Promise((resolve) => {
      this.#socket.once('unexpected-response', (_, response) => {
        response.resume()
        resolve(response.statusCode)
      })
    })
    this.#socket.on('error', () => {})
  }

  send(data) {
    this.#socket.send(data)
  }

  async next() {
    if (this.#frames.length === 0) {
      await within(new Promise((resolve) => (this.#waiting = resolve)), () => 'no frame comes over the WebSocket')
    }
    return this.#frames.shift()
  }

  close() {
    this.#socket.close(1000)
  }

  /** Ends the TCP connection without closing the WebSocket. */
  drop() {
    this.#socket.terminate()
  }

  /** Waits until the server closes the connection. */
  async assertClosed() {
    await within(this.closed, () => 'the server does not close the WebSocket')
  }
}

/** Parses an Engine.IO open packet. */
export function opening(packet) {
  assert.equal(packet[0], '0', packet)
  return JSON.parse(packet.slice(1))
}

/** Asserts an acknowledgement `43<id>[{...}]`. */
export function assertAck(packet, id, namespace = '') {
  const prefix = `43${namespace}${id}[`
  assert(packet.startsWith(prefix), `expected an acknowledgement ${prefix}…], got ${packet}`)
  const [answer] = JSON.parse(packet.slice(prefix.length - 1))
  assert.equal(typeof answer.ok, 'boolean')
  return answer
}

/** Joins a room as a raw client: `send` takes a packet, `receive` returns the next. Returns once the join is acknowledged. */
export async function joinRaw(room, send, receive) {
  await send(`420["join-room","${room}"]`)
  for (let packet = ''; !packet.startsWith('430['); packet = await receive()) {
    // Packets before the acknowledgement are events of the room.
  }
}

/** Makes a WebSocket client join `room` and emit an event with one attachment; returns the client. */
export async function emitAttachment(endpoint, room, attachment) {
  const sender = endpoint.socket()
  opening(await sender.next())
  if (endpoint.revision === 4) sender.send('40')
  await sender.next()
  await joinRaw(room, (packet) => sender.send(packet), () => sender.next())
  sender.send('451-["chunk",{"_placeholder":true,"num":0}]')
  sender.send(attachment)
  return sender
}
