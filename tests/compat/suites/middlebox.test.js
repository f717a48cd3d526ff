// A middlebox between client and server that breaks WebSockets but not polling, like corporate proxies and virus scanners. After a failed
// upgrade the client stays connected over polling and receives every signal.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe } from 'node:test'
import { CELLS, scenarios, suite, within } from '../support.js'

/** Number of signals after the failed upgrade. */
const FOLLOWING = 10

/**
 * The failure of an upgrade: whether frames to the server pass, and when the connection is cut. Frames to the client never pass. If the
 * connection is not cut, the server gives up after `HANDSHAKE_TIMEOUT_SECONDS`.
 */
const FAULTS = {
  'refuses the upgrade': { status: 'HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n' },
  'hangs up after the head': { up: false, cut: 'head' },
  'hangs up after the first frame': { up: true, cut: 'frame' },
  'passes frames up, none down': { up: true },
  'passes nothing': { up: false },
}

class Middlebox {
  #server = net.createServer((client) => this.#pass(client))
  #port
  #fail
  /** Resolves when an upgrade has failed. */
  failed

  constructor(url) {
    this.#port = new URL(url).port
  }

  async open() {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.url = `http://127.0.0.1:${this.#server.address().port}`
  }

  /** Sets the failure of later upgrades. */
  spoil(fault) {
    this.fault = fault
    this.failed = new Promise((resolve) => (this.#fail = resolve))
  }

  #pass(client) {
    const server = net.connect(this.#port, '127.0.0.1')
    const end = () => {
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) socket.on('error', end).on('close', end)
    client.once('data', (head) => {
      if (!/transport=websocket/.test(head.toString('latin1').split('\r\n')[0])) {
        server.write(head)
        client.on('data', (data) => server.write(data))
        server.on('data', (data) => client.write(data))
        return
      }
      client.once('close', () => this.#fail())
      if (this.fault.status) {
        client.end(this.fault.status)
        return
      }
      server.write(head)
      client.on('data', (data) => {
        if (this.fault.up) server.write(data)
        if (this.fault.cut === 'frame') end()
      })
      server.once('data', (answer) => {
        client.write(answer.subarray(0, answer.indexOf('\r\n\r\n') + 4))
        if (this.fault.cut === 'head') end()
      })
    })
  }

  close() {
    this.#server.close()
  }
}

const SETTINGS = { HANDSHAKE_TIMEOUT_SECONDS: '2', MESSAGES_PER_SECOND: '0', SEND_QUEUE: '20000' }

suite('a middlebox that spoils WebSockets', SETTINGS, (server) => {
  let middlebox
  before(async () => {
    middlebox = new Middlebox(server.url)
    await middlebox.open()
  })
  after(() => middlebox.close())
  const behind = { get url() { return middlebox.url } }

  for (const cell of CELLS.filter(({ upgrades }) => upgrades)) {
    describe(cell.name, () => {
      for (const [what, fault] of Object.entries(FAULTS)) {
        scenarios(server, cell)(what, async ({ room, members, create }) => {
          const [watcher] = await members({ userId: 'watcher' })
          middlebox.spoil(fault)
          const client = create('behind', { ...cell, upgrades: false }, behind)
          await client.settled()
          const drops = []
          client.socket.on('disconnect', (reason) => drops.push(reason))
          await client.join({ roomId: room, userId: 'behind' })
          await watcher.next('user-joined')

          let sent = 0
          const send = () => watcher.granted('ice-candidate', { targetId: 'behind', candidate: sent++ })
          let over = false
          const failed = within(middlebox.failed, () => 'no upgrade fails').finally(() => (over = true))
          while (!over) await send()
          await failed
          for (let more = 0; more < FOLLOWING; more++) await send()
          for (let index = 0; index < sent; index++) assert.equal((await client.next('ice-candidate')).candidate, index)
          assert.deepEqual(drops, [])
          assert.equal(client.engine.transport.name, 'polling')
        })
      }
    })
  }
})
