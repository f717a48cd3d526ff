// The ways to leave a room, and the events that the other peers receive.

import assert from 'node:assert/strict'
import { assertPeer, matrix, suite } from '../support.js'

const FORMS = {
  '{ roomId }': (room) => [{ roomId: room }],
  'roomId': (room) => [room],
  '(roomId, userId)': (room) => [room, 'alice'],
  'nothing': () => [],
}

// The server must be empty after a scenario, so sessions that could be resumed must expire soon.
suite('leaving', { RESUME_SECONDS: '1' }, (server) => {
  matrix(server, (scenario) => {
    for (const [form, args] of Object.entries(FORMS)) {
      scenario(`leave-room with ${form}`, async ({ room, members }) => {
        const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice', name: 'Alice' })
        await alice.granted('leave-room', ...args(room))
        const left = { id: 'alice', connection: alice.connection, room, name: 'Alice', reason: 'left' }
        assertPeer(await bob.next('user-left'), left)
        await alice.refused('NOT_IN_ROOM', 'offer', { roomId: room, offer: 1 })
      })
    }

    scenario('without an acknowledgement', async ({ room, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      alice.tell('leave-room', { roomId: room })
      assert.equal((await bob.next('user-left')).reason, 'left')
    })

    scenario('one room of two, then all', async ({ room, connect, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      const second = `${room}-second`
      const third = `${room}-third`
      const carol = await connect('carol')
      await carol.join(second, 'carol')
      for (const name of [second, third]) await alice.join(name, 'alice')
      await carol.next('user-joined')

      await alice.granted('leave-room', { roomId: third })
      await alice.refused('NOT_IN_ROOM', 'offer', { roomId: third, offer: 1 })
      await alice.granted('offer', { roomId: second, targetId: 'carol', offer: 1 })
      await carol.next('offer')

      await alice.granted('leave-room')
      for (const [other, where] of [[bob, room], [carol, second]]) {
        assertPeer(await other.next('user-left'), { id: 'alice', connection: alice.connection, room: where, reason: 'left' })
      }
    })

    scenario('and joining again', async ({ room, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      for (let round = 0; round < 3; round++) {
        await alice.granted('leave-room', room)
        assert.equal((await bob.next('user-left')).id, 'alice')
        await alice.join(room, 'alice')
        assert.equal((await bob.next('user-joined')).id, 'alice')
      }
      await alice.granted('offer', { targetId: 'bob', offer: 1 })
      await bob.next('offer')
    })

    scenario('disconnect(): user-left, reason disconnected, in every room', async ({ room, connect, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice', name: 'Alice' })
      const second = `${room}-second`
      const carol = await connect('carol')
      await carol.join(second, 'carol')
      await alice.join({ roomId: second, userId: 'alice', name: 'Alice' })
      await carol.next('user-joined')
      alice.close()
      for (const [other, where] of [[bob, room], [carol, second]]) {
        const left = { id: 'alice', connection: alice.connection, room: where, name: 'Alice', reason: 'disconnected' }
        assertPeer(await other.next('user-left'), left)
      }
    })

    scenario('the client closes its transport: it is away if it can resume', async ({ members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      // As after a network failure, a failed poll, or a missed heartbeat.
      alice.engine.close()
      if (alice.cell.major > 2) assert.equal((await bob.next('user-away')).id, 'alice')
      else assert.equal((await bob.next('user-left')).reason, 'disconnected')
    })

    scenario('leave, then disconnect: announced once', async ({ server, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      alice.tell('leave-room')
      alice.close()
      assert.equal((await bob.next('user-left')).id, 'alice')
      await server.connections(1)
      await bob.quiet()
    })

    scenario('signals sent right before a leave arrive before it', async ({ members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      for (let index = 0; index < 20; index++) alice.tell('ice-candidate', { targetId: 'bob', candidate: index })
      alice.close()
      for (let index = 0; index < 20; index++) assert.equal((await bob.next('ice-candidate')).candidate, index)
      assert.equal((await bob.next('user-left')).reason, 'disconnected')
    })
  })
})
