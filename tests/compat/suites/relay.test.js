// Application events: relayed unchanged to their target, by every client over every transport.

import assert from 'node:assert/strict'
import { CELLS, assertErrorEvent, scenarios, suite } from '../support.js'
import { describe } from 'node:test'

const EVENTS = ['chat', 'file', 'error']

suite('application events', {}, (server) => {
  for (const plain of CELLS) {
    const cell = { ...plain, events: EVENTS }
    describe(cell.name, () => {
      const scenario = scenarios(server, cell)

      const inRoom = async ({ room, connect }, ...names) => {
        const peers = []
        for (const name of names) {
          const peer = await connect(name)
          const { ok, userId, socketId } = await peer.ask('join-room', { meetingId: room, userId: name })
          assert.equal(ok, true)
          peers.push(Object.assign(peer, { id: userId, connection: socketId }))
        }
        return peers
      }

      scenario('to all other peers, arguments unchanged and in order', async (world) => {
        const [ann, bob, carol] = await inRoom(world, 'ann', 'bob', 'carol')
        const args = ['hello', 1.5, null, [1, { deep: 'ü' }], true]
        await ann.granted('chat', ...args)
        await ann.granted('chat')
        for (const peer of [bob, carol]) {
          assert.deepEqual(await peer.nextArguments('chat'), args)
          assert.deepEqual(await peer.nextArguments('chat'), [])
        }
      })

      scenario('to one peer, by either id, with the sender set by the server', async (world) => {
        const [ann, bob] = await inRoom(world, 'ann', 'bob', 'carol')
        for (const [target, from] of [[bob.id, ann.id], [bob.connection, ann.connection]]) {
          const message = { to: target, text: 'hello', sender: 'Ann', from: 'mallory', userId: 'mallory' }
          await ann.granted('chat', message, 'second')
          const [read, second] = await bob.nextArguments('chat')
          assert.deepEqual(read, {
            to: target, text: 'hello', sender: 'Ann', from, userId: ann.id, socketId: ann.connection, roomId: world.room,
          })
          assert.equal(second, 'second')
        }
      })

      scenario('"all" and "everyone" are all peers; an unknown target is refused', async (world) => {
        const [ann, bob] = await inRoom(world, 'ann', 'bob')
        for (const to of ['all', 'everyone']) {
          await ann.granted('chat', { to })
          assert.equal((await bob.next('chat')).to, to)
        }
        await ann.refused('TARGET_NOT_FOUND', 'chat', { to: 'missing' })
        await ann.refused('TARGET_NOT_FOUND', 'chat', { targetId: 'all' })
      })

      scenario('outside a room: NOT_IN_ROOM', async (world) => {
        const peer = await world.connect('peer')
        await peer.refused('NOT_IN_ROOM', 'chat', 'hello')
        peer.tell('chat', 'hello')
        assertErrorEvent(await peer.next('error'), 'NOT_IN_ROOM', 'chat')
        const [ann] = await inRoom(world, 'ann')
        for (const key of ['roomId', 'room', 'meetingId']) await ann.refused('NOT_IN_ROOM', 'chat', { [key]: 'elsewhere' })
      })

      scenario('from a peer in several rooms: to all of them, or to the named one', async (world) => {
        const { room } = world
        const [ann, bob] = await inRoom(world, 'ann', 'bob')
        const carol = await world.connect('carol')
        await carol.ask('join-room', { roomId: `${room}-2`, userId: 'carol' })
        await ann.ask('join-room', { meetingId: `${room}-2`, userId: 'ann' })
        await ann.granted('chat', 1)
        assert.deepEqual(await bob.next('chat'), 1)
        assert.deepEqual(await carol.next('chat'), 1)
        await ann.granted('chat', { room: `${room}-2` })
        assert.equal((await carol.next('chat')).roomId, `${room}-2`)
        await ann.granted('chat', { to: 'carol' })
        assert.equal((await carol.next('chat')).to, 'carol')
      })

      scenario('names of server events: INVALID_MESSAGE', async (world) => {
        const [ann] = await inRoom(world, 'ann', 'bob')
        for (const name of ['user-joined', 'room-users', 'user-connected', 'all-users']) {
          await ann.refused('INVALID_MESSAGE', name, { userId: 'mallory' })
        }
      })

      scenario('with binary attachments', async (world) => {
        const [ann, bob] = await inRoom(world, 'ann', 'bob')
        const [first, second] = [Buffer.from([0, 1, 255]), Buffer.from('ü'.repeat(100))]
        await ann.granted('file', 'a.bin', { data: first, more: [second] })
        const [name, { data, more }] = await bob.nextArguments('file')
        assert.equal(name, 'a.bin')
        assert.deepEqual([Buffer.from(data), Buffer.from(more[0])], [first, second])
        await ann.granted('file', { to: 'bob', data: first })
        const [{ data: sent, userId }] = await bob.nextArguments('file')
        assert.deepEqual([Buffer.from(sent), userId], [first, 'ann'])
        await ann.granted('chat', 'after')
        assert.equal(await bob.next('chat'), 'after')
      })
    })
  }
})
