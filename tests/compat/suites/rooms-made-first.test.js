// ROOM_AUTO_CREATE=false: rooms are created by REST only.

import assert from 'node:assert/strict'
import { assertErrorEvent, matrix, suite } from '../support.js'

suite('rooms that must exist first', { ROOM_AUTO_CREATE: 'false' }, (server) => {
  matrix(server, (scenario) => {
    scenario('an unknown room: ROOM_NOT_FOUND', async ({ room, connect }) => {
      const peer = await connect('peer')
      await peer.refused('ROOM_NOT_FOUND', 'join-room', { roomId: room })
      peer.tell('join-room', room, 'alice')
      assertErrorEvent(await peer.next('error'), 'ROOM_NOT_FOUND', 'join-room')
    })

    scenario('a room created by POST /api/rooms', async ({ server, connect }) => {
      const made = await server.rest('POST', '/api/rooms')
      assert.equal(made.status, 201)
      const { roomId } = await made.json()
      assert.match(roomId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      const [bob, alice] = [await connect('bob'), await connect('alice')]
      await bob.join({ roomId, userId: 'bob' })
      await alice.join({ roomId, userId: 'alice' })
      await bob.next('user-joined')
      await alice.granted('offer', { targetId: 'bob', offer: 1 })
      await bob.next('offer')
      const { participants } = await (await server.rest('GET', `/api/rooms/${roomId}`)).json()
      assert.deepEqual(participants, ['bob', 'alice'])

      await alice.granted('leave-room')
      await bob.next('user-left')
      await bob.granted('leave-room')
      await alice.refused('ROOM_NOT_FOUND', 'join-room', { roomId })
    })

    scenario('a room created with a chosen id', async ({ server, room, connect }) => {
      const made = await server.rest('POST', '/api/rooms', { roomId: room, capacity: 1 })
      assert.equal(made.status, 201)
      await (await connect('alice')).join(room, 'alice')
      await (await connect('bob')).refused('ROOM_FULL', 'join-room', room, 'bob')
    })
  })
})
