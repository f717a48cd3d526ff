// DELETE /api/rooms/{roomId}: all peers are notified and removed.

import assert from 'node:assert/strict'
import { assertErrorEvent, matrix, suite } from '../support.js'

suite('a room that an operator closes', {}, (server) => {
  matrix(server, (scenario) => {
    scenario('notifies each of its peers, and no other', async ({ server, room, connect, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      const bystander = await connect('bystander')
      await bystander.join(`${room}-other`, 'bob')

      assert.equal((await server.rest('DELETE', `/api/rooms/${room}`)).status, 204)
      for (const peer of [bob, alice]) {
        const error = await peer.next('error')
        assertErrorEvent(error, 'ROOM_CLOSED')
        assert.equal(error.roomId, room)
        await peer.refused('NOT_IN_ROOM', 'offer', { roomId: room, offer: 1 })
      }
      await bystander.quiet()
      assert.equal((await server.rest('GET', `/api/rooms/${room}`)).status, 404)
      assert.equal((await server.rest('DELETE', `/api/rooms/${room}`)).status, 404)
    })

    scenario('can be opened again by joining', async ({ server, room, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      await server.rest('DELETE', `/api/rooms/${room}`)
      for (const peer of [bob, alice]) assertErrorEvent(await peer.next('error'), 'ROOM_CLOSED')
      assert.deepEqual((await alice.join(room, 'alice')).users, [])
      assert.deepEqual((await bob.join(room, 'bob')).users.map(({ id }) => id), ['alice'])
      assert.equal((await alice.next('user-joined')).id, 'bob')
    })
  })
})
