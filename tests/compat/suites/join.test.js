// The argument shapes of a join, and the events that the other peers receive.

import assert from 'node:assert/strict'
import { assertPeer, assertRecent, matrix, suite } from '../support.js'

suite('join-room', {}, (server) => {
  matrix(server, (scenario, cell) => {
    scenario('without userId: the peer id is the connection id', async ({ room, connect, members }) => {
      const [watcher] = await members({ userId: 'watcher' })
      const peer = await connect('nameless')
      const ack = await peer.join({ roomId: room })
      assert.equal(ack.userId, ack.socketId)
      assertPeer(await watcher.next('user-joined'), { id: ack.socketId, connection: ack.socketId, room })
    })

    scenario('socket.id is the socketId that others see', async ({ room, members }) => {
      const [watcher, peer] = await members({ userId: 'watcher' }, { userId: 'peer' })
      await peer.granted('offer', { offer: 1 })
      const offer = await watcher.next('offer')
      assert.deepEqual([offer.socketId, offer.roomId], [peer.connection, room])
      if (cell.major === 2) assert.equal(peer.socket.id, peer.session, 'a 2.x client takes its id from Engine.IO')
      else assert.equal(peer.socket.id, peer.connection)
    })

    scenario('positional: (roomId, userId)', async ({ room, connect }) => {
      const ack = await (await connect('peer')).join(room, 'alice')
      assert.deepEqual(ack, { ok: true, success: true, roomId: room, userId: 'alice', socketId: ack.socketId, users: [] })
    })

    scenario('positional: (roomId), and with an undefined userId, which JSON makes null', async ({ room, connect }) => {
      const plain = await connect('plain')
      const first = await plain.join(room)
      assert.equal(first.userId, first.socketId)
      const nulled = await connect('nulled')
      const second = await nulled.join(room, undefined)
      assert.equal(second.userId, second.socketId)
      assertPeer(await plain.next('user-joined'), { id: nulled.connection, connection: nulled.connection, room })
    })

    scenario('with room and peerId for roomId and userId', async ({ room, connect }) => {
      const ack = await (await connect('peer')).join({ room, peerId: 'alice' })
      assert.deepEqual([ack.roomId, ack.userId], [room, 'alice'])
    })

    scenario('roomId and userId win over their aliases', async ({ room, connect }) => {
      const ack = await (await connect('peer')).join({ room: 'not-here', peerId: 'not-me', roomId: room, userId: 'alice' })
      assert.deepEqual([ack.roomId, ack.userId], [room, 'alice'])
    })

    scenario('without an acknowledgement: room-users has the list, room-joined the own ids', async ({ room, connect }) => {
      const peer = await connect('peer')
      peer.tell('join-room', { roomId: room, userId: 'alice' })
      assert.deepEqual(await peer.nextArguments('room-users'), [[]])
      const [self] = await peer.nextArguments('room-joined')
      assertRecent(self.createdAt)
      const ack = await peer.join({ roomId: room, userId: 'alice' })
      const lists = { users: [], participants: [], existingUsers: [], peers: [] }
      assert.deepEqual(self, { roomId: room, userId: 'alice', socketId: ack.socketId, createdAt: self.createdAt, ...lists })
    })

    scenario('other keys are passed on unchanged, to existing and later peers', async ({ room, connect, members }) => {
      const details = { name: 'Zoë 🦀\u2028', avatar: { z: [1, { y: null }], a: 'x' }, level: 1e21, host: false, nothing: null }
      const [watcher] = await members({ userId: 'watcher' })
      const peer = await connect('peer')
      await peer.join({ roomId: room, userId: 'peer', ...details })
      const seen = { id: 'peer', connection: peer.connection, room, ...details }
      assertPeer(await watcher.next('user-joined'), seen)
      const late = await connect('late')
      const { users } = await late.join({ roomId: room, userId: 'late' })
      assert.deepEqual(users.map(({ id }) => id), ['watcher', 'peer'])
      assertPeer(users[1], seen)
      for (const earlier of [watcher, peer]) await earlier.next('user-joined')
      peer.close()
      for (const other of [watcher, late]) {
        assertPeer(await other.next('user-left'), { ...seen, reason: 'disconnected' })
      }
    })

    scenario('fields that only the server sets cannot be forged', async ({ room, connect, members }) => {
      const [watcher] = await members({ userId: 'watcher' })
      const peer = await connect('forger')
      await peer.join({ roomId: room, userId: 'forger', id: 'watcher', socketId: watcher.connection, joinedAt: 'never' })
      assertPeer(await watcher.next('user-joined'), { id: 'forger', connection: peer.connection, room })
    })

    scenario('many at once: every peer is announced to every other one exactly once', async ({ room, connect }) => {
      const peers = await Promise.all(Array.from({ length: 8 }, (_, index) => connect(`peer ${index}`)))
      const acks = await Promise.all(peers.map((peer, index) => peer.ask('join-room', { roomId: room, userId: `p${index}` })))
      const all = acks.map(({ userId }) => userId)
      const laterJoins = acks.map(({ users }) => all.length - 1 - users.length)
      assert.deepEqual([...laterJoins].sort(), all.map((_, index) => index), 'each joined at another time')
      for (const [index, peer] of peers.entries()) {
        const known = (await peer.next('room-users')).map(({ id }) => id)
        await peer.next('room-joined')
        for (let count = 0; count < laterJoins[index]; count++) known.push((await peer.next('user-joined')).id)
        assert.deepEqual(known.sort(), all.filter((id) => id !== all[index]).sort())
      }
      // All connections are still open: no peer was replaced.
      assert.equal(new Set(acks.map(({ socketId }) => socketId)).size, peers.length)
    })
  })
})
