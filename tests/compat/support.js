// The common part of the suites: the server under test, its clients, and the functions that define scenarios.
//
// A peer stores received events in one ordered inbox, and `next(name)` requires that the oldest unread event has that name, so that an
// unexpected, missing or reordered event fails at once. `quiet()` proves the absence of events: it makes a request, whose response the
// server sends after all earlier events.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import io2 from 'socket.io-client-2'
import { io as io3 } from 'socket.io-client-3'
import { io as io4 } from 'socket.io-client-4'

export const HERE = path.dirname(fileURLToPath(import.meta.url))
export const REPOSITORY = path.resolve(HERE, '../..')
const BINARY = path.resolve(HERE, process.env.PARLOR_BIN ?? '../../target/debug/parlor')
const PATIENCE_MS = 20_000

// A stopped suite stops its server and its clients: see the `exit` handler below.
process.once('SIGTERM', () => process.exit(143))

const IO = { 2: io2, 3: io3, 4: io4 }
const EVENTS = [
  'room-users', 'room-joined', 'user-joined', 'user-left', 'user-away', 'user-back', 'offer', 'answer', 'ice-candidate', 'error',
]

/** Every client with every transport. `transports` is omitted for the client's default: polling, then the upgrade. */
export const CELLS = [2, 3, 4].flatMap((major) => [
  { name: `client ${major}, polling`, major, transports: ['polling'] },
  { name: `client ${major}, websocket`, major, transports: ['websocket'] },
  { name: `client ${major}, upgrade`, major, upgrades: true },
])

/** Fails with `what()` unless `promise` settles in time. */
export async function within(promise, what, patience = PATIENCE_MS) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing after ${patience} ms: ${what()}`)), patience)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

// ---------------------------------------------------------------------------------------------------------------- server

export class Server {
  output = ''
  /** Set after a failed scenario, whose remaining resources are ignored afterwards. */
  spoiled = false
  #child
  #exited

  constructor(settings = {}, cwd = REPOSITORY) {
    this.settings = settings
    this.cwd = cwd
  }

  async start() {
    const { PATH, HOME } = process.env
    const env = { PATH, HOME, HOST: '127.0.0.1', PORT: '0', ...this.settings }
    this.#child = spawn(BINARY, [], { cwd: this.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#exited = new Promise((resolve) => {
      // All output has been read by then.
      this.#child.once('close', (code, signal) => resolve({ code, signal }))
      this.#child.once('error', (error) => resolve({ error: error.message }))
    })
    process.once('exit', () => this.#child.kill('SIGKILL'))
    const listening = new Promise((resolve) => {
      let stdout = ''
      this.#child.stdout.on('data', (chunk) => {
        stdout += chunk
        const found = /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(stdout)
        if (found) resolve(found[1])
      })
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (chunk) => (this.output += chunk))
    }
    const ended = this.#exited.then((end) => {
      throw new Error(`the server ended before it listened: ${JSON.stringify(end)}\n${this.output}`)
    })
    this.url = await within(Promise.race([listening, ended]), () => `no "listening on" line in:\n${this.output}`)
  }

  /** Waits until /health reports no connections, peers and rooms. */
  async idle() {
    const until = Date.now() + PATIENCE_MS
    for (;;) {
      const { rooms, participants, connections } = await (await fetch(`${this.url}/health`)).json()
      if (rooms === 0 && participants === 0 && connections === 0) return
      const figures = JSON.stringify({ rooms, participants, connections })
      assert(Date.now() < until, `the server keeps something of what has ended: ${figures}`)
      await pause(5)
    }
  }

  /** Waits until /health reports this number of connections. */
  async connections(count) {
    const until = Date.now() + PATIENCE_MS
    for (;;) {
      const { connections } = await (await fetch(`${this.url}/health`)).json()
      if (connections === count) return
      assert(Date.now() < until, `/health sends ${connections} connections and not ${count}`)
      await pause(5)
    }
  }

  async stop() {
    try {
      if (this.url) await this.idle()
    } finally {
      this.#child.kill('SIGTERM')
      const end = await within(this.#exited, () => 'the server does not end after SIGTERM').catch((error) => {
        this.#child.kill('SIGKILL')
        throw error
      })
      assert.deepEqual(end, { code: 0, signal: null }, `SIGTERM must end the server with 0\n${this.output}`)
    }
  }

  rest(method, address, body) {
    const headers = body ? { 'content-type': 'application/json' } : {}
    return fetch(this.url + address, { method, headers, body: body && JSON.stringify(body) })
  }
}

// ----------------------------------------------------------------------------------------------------------------- peers

/** A client of any language. A subclass implements `send(event, args, acknowledge?)` and `close()`. */
export class Peer {
  inbox = []
  received = []
  #waiting

  constructor(name) {
    this.name = name
  }

  receive(event, args) {
    this.inbox.push({ event, args })
    this.#waiting?.()
  }

  /** Returns the arguments of the oldest unread event, which must be `event`. */
  async nextArguments(event) {
    if (this.inbox.length === 0) {
      const arrival = new Promise((resolve) => (this.#waiting = resolve))
      await within(arrival, () => `${this.name} waits for "${event}"\n${this.story()}`)
    }
    const oldest = this.inbox.shift()
    assert.equal(oldest.event, event, `${this.name} got ${JSON.stringify(oldest)}\n${this.story()}`)
    return oldest.args
  }

  /** Returns the argument of the oldest unread event, which must be `event`. Every event of the server has exactly one. */
  async next(event) {
    const args = await this.nextArguments(event)
    assert.equal(args.length, 1, `${this.name}: listeners of ${event} get ${args.length} arguments`)
    return args[0]
  }

  tell(event, ...args) {
    this.send(event, args)
  }

  /** Emits with an acknowledgement callback, and waits for the acknowledgement. */
  ask(event, ...args) {
    const answer = new Promise((resolve) => this.send(event, args, resolve))
    return within(answer, () => `${this.name} has no acknowledgement of ${event} ${JSON.stringify(args)}\n${this.story()}`)
  }

  async refused(code, event, ...args) {
    assertRefusal(await this.ask(event, ...args), code)
  }

  async granted(event, ...args) {
    assert.deepEqual(await this.ask(event, ...args), { ok: true, success: true })
  }

  /** Joins and reads its `room-users`; returns the acknowledgement. */
  async join(...args) {
    const ack = await this.ask('join-room', ...args)
    assert.equal(ack.ok, true, `${this.name} cannot join: ${JSON.stringify(ack)}`)
    assert.deepEqual(await this.nextArguments('room-users'), [ack.users])
    const [self] = await this.nextArguments('room-joined')
    assert.deepEqual(
      [self.roomId, self.userId, self.socketId], [ack.roomId, ack.userId, ack.socketId],
    )
    this.id = ack.userId
    this.connection = ack.socketId
    return ack
  }

  /** Asserts that all events that the server has sent are read. */
  async quiet() {
    await this.refused('NOT_IN_ROOM', 'ice-candidate', { roomId: 'an unused room', candidate: null })
    assert.deepEqual(this.inbox, [], `${this.name} received unexpected events`)
  }

  story() {
    return `last messages to ${this.name}:\n  ${this.received.slice(-20).join('\n  ')}`
  }
}

/** An official JavaScript client. */
class OfficialClient extends Peer {
  constructor(url, cell, name) {
    super(`${name} (${cell.name})`)
    this.cell = cell
    const { transports, options } = cell
    this.socket = IO[cell.major](url, { forceNew: true, reconnection: false, ...(transports && { transports }), ...options })
    this.engine = this.socket.io.engine
    this.engine.on('packet', ({ type, data }) => this.received.push(`${type} ${data ?? ''}`))
    for (const event of cell.events ?? EVENTS) this.socket.on(event, (...args) => this.receive(event, args))
    this.connected = new Promise((resolve, reject) => {
      this.socket.once('connect', () => {
        /** The Engine.IO session id: the secret that authorises requests. */
        this.session = this.engine.id
        resolve()
      })
      this.socket.once('connect_error', (error) => reject(new Error(`${this.name}: ${error.message ?? error}`)))
    })
    this.connected.catch(() => {})
    this.upgraded = new Promise((resolve) => this.engine.once('upgrade', resolve))
  }

  /** Connects, and waits for the upgrade if the client upgrades. */
  async settled() {
    await within(this.connected, () => `${this.name} does not connect\n${this.story()}`)
    if (!this.cell.upgrades) return
    const transport = await within(this.upgraded, () => `${this.name} does not upgrade\n${this.story()}`)
    assert.equal(transport.name, 'websocket')
  }

  get alive() {
    return this.socket.connected
  }

  send(event, args, acknowledge) {
    this.socket.emit(event, ...args, ...(acknowledge ? [acknowledge] : []))
  }

  close() {
    this.socket.disconnect()
  }
}

// ---------------------------------------------------------------------------------------------------------------- suites

/** Runs a server with these settings for all scenarios that `define(server)` describes. */
export function suite(name, settings, define, cwd) {
  describe(name, () => {
    const server = new Server(settings, cwd)
    before(() => server.start())
    define(server)
    after(() => server.stop())
  })
}

let serial = 0

/**
 * Returns `scenario(title, body)` for one cell. The body gets a world: `room`, a fresh name; `create(name, cell?, proxy?)`, a client,
 * of the `url` of a proxy where one is given; `connect(name, cell?)`, a settled
 * client; `members(...joins)`, settled clients that joined `room` one after the other and have read all about it.
 * At its end every client that is still there must be quiet, and after it the server must be empty.
 */
export function scenarios(server, cell = CELLS[7]) {
  return (title, body) => test(title, async () => {
    const peers = []
    const room = `room-${++serial}`
    const create = (name, on = cell, { url } = server) => {
      const peer = new OfficialClient(url, on, name)
      peers.push(peer)
      return peer
    }
    const connect = async (name, on) => {
      const peer = create(name, on)
      await peer.settled()
      return peer
    }
    const members = async (...joins) => {
      const joined = []
      for (const details of joins) {
        const peer = await connect(details.userId ?? `member ${joined.length}`)
        await peer.join({ roomId: room, ...details })
        for (const earlier of joined) await earlier.next('user-joined')
        joined.push(peer)
      }
      return joined
    }
    try {
      await body({ server, cell, room, create, connect, members, adopt: (peer) => peers.push(peer) })
      for (const peer of peers) if (peer.alive) await peer.quiet()
      for (const peer of peers) peer.close()
      if (!server.spoiled) await server.idle()
    } catch (error) {
      for (const peer of peers) peer.close()
      server.spoiled = true
      error.message += `\n--- output of the server:\n${server.output.slice(-4_000)}`
      throw error
    }
  })
}

/** Runs the same scenarios in every cell. */
export function matrix(server, define) {
  for (const cell of CELLS) describe(cell.name, () => define(scenarios(server, cell), cell))
}

// ---------------------------------------------------------------------------------------------------------- expectations

export function assertRefusal(ack, code) {
  assert.equal(ack?.code, code, `expected a refusal with ${code}, got ${JSON.stringify(ack)}`)
  assert.deepEqual(Object.keys(ack).sort(), ['code', 'error', 'ok', 'success'])
  assert.deepEqual([ack.ok, ack.success], [false, false])
  assertText(ack.error)
}

/** Asserts an `error` event: `{ code, message, event, roomId? }`. */
export function assertErrorEvent(error, code, event) {
  assert.equal(error.code, code, JSON.stringify(error))
  assertText(error.message)
  if (event) assert.equal(error.event, event)
  const known = ['code', 'event', 'message', 'roomId']
  assert.deepEqual(Object.keys(error).filter((key) => !known.includes(key)), [])
}

function assertText(text) {
  assert.equal(typeof text, 'string')
  assert.notEqual(text, '')
}

/** Asserts an ISO 8601 time close to the current one. */
export function assertRecent(time) {
  assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/)
  assert(Math.abs(Date.parse(time) - Date.now()) < 60_000, `${time} is not now`)
}

/** Asserts that values and their texts are equal: the order of keys and the format of numbers. */
export function assertSameBody(actual, expected) {
  assert.deepEqual(actual, expected)
  for (const [key, value] of Object.entries(expected)) {
    assert.equal(JSON.stringify(actual[key]), JSON.stringify(value), `the value of ${key} was written anew`)
  }
}

/** Returns the event that the target of `sent` must receive; `found` is the kind of id of the target: `peer` or `connection`. */
export function relayed(sent, sender, room, found = 'peer') {
  const from = found === 'connection' ? sender.connection : sender.id
  const set = { from, userId: sender.id, socketId: sender.connection, roomId: room }
  if ('targetId' in sent) Object.assign(set, { fromId: from, senderId: from })
  if ('target' in sent) Object.assign(set, { sender: from, ...('offer' in sent && { caller: from }), ...('answer' in sent && { responder: from }) })
  if ('targetSocketId' in sent) Object.assign(set, { fromSocketId: sender.connection, senderSocketId: sender.connection })
  if ('targetUserId' in sent) Object.assign(set, { fromUserId: sender.id })
  return { ...sent, ...set }
}

/** Asserts the description of a peer; only the format of `joinedAt` is checked. */
export function assertPeer(actual, { id, connection, room, ...rest }) {
  assertRecent(actual.joinedAt)
  assertSameBody(actual, { id, userId: id, socketId: connection, roomId: room, joinedAt: actual.joinedAt, ...rest })
}
