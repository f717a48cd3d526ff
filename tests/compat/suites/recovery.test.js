// Session recovery of the unmodified official client 4 after a lost connection.

import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { io } from 'socket.io-client-4'
import { Server, within } from '../support.js'

const ROUNDS = 10
const SIGNALS = 20
const DOWN_MS = 100

/** A proxy that can reset both sides of all connections, without a disconnect. */
async function lineTo(server) {
  const { hostname, port } = new URL(server.url)
  const ends = new Set()
  let isDown = false
  const proxy = net.createServer((near) => {
    if (isDown) return near.on('error', () => {}).resetAndDestroy()
    const far = net.connect(Number(port), hostname)
    for (const [end, other] of [[near, far], [far, near]]) {
      ends.add(end)
      end.on('error', () => other.destroy()).on('close', () => ends.delete(end))
    }
    near.pipe(far).pipe(near)
  })
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    // Closed for a moment: a client between two polls has no open connection that could be reset.
    cut: () => {
      isDown = true
      for (const end of [...ends]) end.resetAndDestroy()
      setTimeout(() => (isDown = false), DOWN_MS)
    },
    close: () => proxy.close(),
  }
}

const next = (socket, event, what = event) => within(new Promise((done) => socket.once(event, done)), () => what)

describe('a drop', () => {
  const server = new Server()
  before(() => server.start())
  after(() => server.stop())

  for (const transports of [['websocket'], ['polling']]) {
    test(`over ${transports} loses and repeats nothing, and other peers are not notified`, async () => {
      const options = { transports, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50 }
      const room = `recovery-${transports}`
      const line = await lineTo(server)
      const bob = io(line.url, options)
      const alice = io(server.url, { ...options, transports: ['websocket'] })
      const seen = []
      const presence = []
      try {
        await Promise.all([bob, alice].map((socket) => next(socket, 'connect')))
        assert.equal(bob.recovered, false)
        const id = bob.id
        await within(alice.emitWithAck('join-room', { roomId: room, userId: 'alice' }), () => 'joined')
        for (const event of ['user-joined', 'user-left', 'user-away', 'user-back']) alice.on(event, () => presence.push(event))
        bob.on('ice-candidate', ({ candidate }) => seen.push(candidate))
        await within(bob.emitWithAck('join-room', { roomId: room, userId: 'bob' }), () => 'joined')

        let sent = 0
        const say = async () => {
          const ack = await within(alice.emitWithAck('ice-candidate', { roomId: room, targetId: 'bob', candidate: sent }), () => 'acknowledged')
          assert.equal(ack.ok, true, JSON.stringify(ack))
          sent += 1
        }
        for (let round = 0; round < ROUNDS; round += 1) {
          const back = next(bob, 'connect', 'connected again')
          line.cut()
          for (let number = 0; number < SIGNALS; number += 1) await say()
          await back
          assert.equal(bob.recovered, true, `round ${round}`)
          assert.equal(bob.id, id)
          await say()
          await within(bob.emitWithAck('offer', { roomId: room, targetId: 'alice', offer: round }), () => 'acknowledged')
        }
        // The last event for alice follows all earlier ones.
        await within(bob.emitWithAck('leave-room', { roomId: room }), () => 'left')
        await within(new Promise((done) => {
          const look = () => (presence.includes('user-left') ? done() : alice.once('user-left', done))
          look()
        }), () => 'user-left')
        assert.deepEqual(seen, Array.from({ length: sent }, (_, number) => number))
        assert.equal(presence.filter((event) => event === 'user-joined').length, 1)
        assert.equal(presence.filter((event) => event === 'user-left').length, 1)
      } finally {
        bob.disconnect()
        alice.disconnect()
        // Over polling the disconnect is a request of its own, which needs the connection.
        await server.idle()
        line.close()
      }
    })
  }

  test('that the client declares itself, as when the browser reports offline', async () => {
    const bob = io(server.url, { transports: ['websocket'], forceNew: true, reconnectionDelay: 20 })
    const alice = io(server.url, { transports: ['websocket'], forceNew: true })
    try {
      await Promise.all([bob, alice].map((socket) => next(socket, 'connect')))
      for (const [userId, socket] of Object.entries({ alice, bob })) {
        await within(socket.emitWithAck('join-room', { roomId: 'declared', userId }), () => 'joined')
      }
      const { id } = bob
      const seen = Promise.all([next(alice, 'user-away'), next(alice, 'user-back'), next(bob, 'connect', 'connected again')])
      bob.io.engine.close()
      await seen
      assert.deepEqual([bob.recovered, bob.id], [true, id])
      const gone = next(alice, 'user-left')
      bob.disconnect()
      assert.equal((await gone).reason, 'disconnected')
    } finally {
      bob.disconnect()
      alice.disconnect()
    }
  })
})
