// Repeated joins: on the same connection, and from another one with the same userId.

import assert from 'node:assert/strict'
import { assertErrorEvent, assertPeer, matrix, suite } from '../support.js'

suite('joining again', {}, (server) => {
  matrix(server, (scenario) => {
    scenario('the same connection, the same room: the list again, and no event for other peers', async ({ room, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice', name: 'Alice' })
      for (let round = 0; round < 3; round++) {
        const again = await alice.join({ roomId: room, userId: 'alice', name: 'Alice' })
        assert.deepEqual(again.users.map(({ id }) => id), ['bob'])
        assert.deepEqual([again.userId, again.socketId], ['alice', alice.connection])
      }
      await bob.quiet()
      await alice.granted('offer', { targetId: 'bob', offer: 1 })
      await bob.next('offer')
    })

    scenario('the same, without a userId', async ({ room, connect, members }) => {
      const [bob] = await members({ userId: 'bob' })
      const peer = await connect('nameless')
      const first = await peer.join({ roomId: room })
      assert.equal((await bob.next('user-joined')).id, first.userId)
      assert.deepEqual(await peer.join({ roomId: room }), first)
      await bob.quiet()
    })

    scenario('the same, twice without waiting', async ({ room, connect, members }) => {
      const [bob] = await members({ userId: 'bob' })
      const peer = await connect('alice')
      const acks = await Promise.all([1, 2].map(() => peer.ask('join-room', { roomId: room, userId: 'alice' })))
      assert.deepEqual(acks[0], acks[1])
      for (const ack of acks) {
        assert.deepEqual(await peer.next('room-users'), ack.users)
        await peer.next('room-joined')
      }
      assert.equal((await bob.next('user-joined')).id, 'alice')
    })

    scenario('the same userId from another connection: the newer replaces the older', async ({ server, room, connect, members }) => {
      const [bob, older] = await members({ userId: 'bob' }, { userId: 'alice', tab: 1 })
      const newer = await connect('alice again')
      const ack = await newer.join({ roomId: room, userId: 'alice', tab: 2 })
      assert.deepEqual(ack.users.map(({ id }) => id), ['bob'])
      assert.notEqual(newer.connection, older.connection)

      const left = { id: 'alice', connection: older.connection, room, tab: 1, reason: 'replaced' }
      assertPeer(await bob.next('user-left'), left)
      assertPeer(await bob.next('user-joined'), { id: 'alice', connection: newer.connection, room, tab: 2 })
      const error = await older.next('error')
      assertErrorEvent(error, 'REPLACED')
      assert.equal(error.roomId, room)

      await older.refused('NOT_IN_ROOM', 'offer', { roomId: room, targetId: 'bob', offer: 1 })
      await bob.granted('offer', { targetId: 'alice', offer: 'to the newer' })
      assert.equal((await newer.next('offer')).offer, 'to the newer')
      await bob.refused('TARGET_NOT_FOUND', 'offer', { targetId: older.connection, offer: 1 })

      older.close()
      await server.connections(2)
      for (const peer of [bob, newer]) await peer.quiet()
      await newer.granted('offer', { targetId: 'bob', offer: 'still here' })
      assert.equal((await bob.next('offer')).socketId, newer.connection)
    })

    scenario('replaced in one room, still in another', async ({ room, connect, members }) => {
      const [older] = await members({ userId: 'alice' })
      const second = `${room}-second`
      await older.join(second, 'alice')
      const newer = await connect('alice again')
      await newer.join(room, 'alice')
      const error = await older.next('error')
      assertErrorEvent(error, 'REPLACED')
      assert.equal(error.roomId, room)
      const carol = await connect('carol')
      assert.deepEqual((await carol.join(second, 'carol')).users.map(({ socketId }) => socketId), [older.connection])
      await older.next('user-joined')
      older.close()
      assert.equal((await carol.next('user-left')).roomId, second)
    })

    scenario('two connections in turn: each replaces the other', async ({ room, connect, members }) => {
      const [bob, first] = await members({ userId: 'bob' }, { userId: 'alice' })
      const second = await connect('alice again')
      const turns = [[second, first], [first, second], [second, first]]
      for (const [winner, loser] of turns) {
        await winner.join(room, 'alice')
        assertErrorEvent(await loser.next('error'), 'REPLACED')
        assert.equal((await bob.next('user-left')).socketId, loser.connection)
        assert.equal((await bob.next('user-joined')).socketId, winner.connection)
      }
    })
  })
})
