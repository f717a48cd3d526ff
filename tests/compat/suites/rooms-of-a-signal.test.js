// The room of a signal: signals stay within it.

import assert from 'node:assert/strict'
import { assertSameBody, matrix, relayed, suite } from '../support.js'

const SIGNALS = { offer: { offer: { sdp: 'x' } }, answer: { answer: { sdp: 'y' } }, 'ice-candidate': { candidate: null } }

suite('the room of a signal', {}, (server) => {
  matrix(server, (scenario) => {
    for (const [event, body] of Object.entries(SIGNALS)) {
      scenario(`${event} in no room: NOT_IN_ROOM`, async ({ room, connect, members }) => {
        await members({ userId: 'bob' })
        const outsider = await connect('outsider')
        await outsider.refused('NOT_IN_ROOM', event, body)
        await outsider.refused('NOT_IN_ROOM', event, { targetId: 'bob', ...body })
        await outsider.refused('NOT_IN_ROOM', event, { roomId: room, targetId: 'bob', ...body })
      })

      scenario(`${event} in several rooms: roomId is required`, async ({ room, members }) => {
        const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
        const second = `${room}-second`
        await alice.join(second, 'alice')
        await alice.refused('INVALID_MESSAGE', event, { targetId: 'bob', ...body })
        await alice.granted(event, { roomId: room, targetId: 'bob', ...body })
        assertSameBody(await bob.next(event), relayed({ targetId: 'bob', ...body }, alice, room))
        await alice.granted('leave-room', second)
        await alice.granted(event, { targetId: 'bob', ...body })
        assert.equal((await bob.next(event)).roomId, room)
      })
    }

    scenario('members of another room cannot be targets, by any id', async ({ room, connect, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      const stranger = await connect('stranger')
      await stranger.join(`${room}-other`, 'stranger')
      for (const targetId of ['stranger', stranger.connection]) {
        await alice.refused('TARGET_NOT_FOUND', 'offer', { targetId, offer: 1 })
        await alice.refused('TARGET_NOT_FOUND', 'offer', { roomId: room, targetId, offer: 1 })
        await alice.refused('NOT_IN_ROOM', 'offer', { roomId: `${room}-other`, targetId, offer: 1 })
      }
      await alice.granted('offer', { offer: 'to everyone' })
      assert.equal((await bob.next('offer')).offer, 'to everyone')
    })

    scenario('the same peer ids in two rooms are different peers', async ({ room, connect }) => {
      const rooms = [room, `${room}-twin`]
      const pairs = []
      for (const name of rooms) {
        const [bob, alice] = [await connect('bob'), await connect('alice')]
        await bob.join(name, 'bob')
        const { users } = await alice.join(name, 'alice')
        assert.deepEqual(users.map(({ socketId }) => socketId), [bob.connection])
        assert.equal((await bob.next('user-joined')).socketId, alice.connection)
        pairs.push([bob, alice])
      }
      for (const [index, [bob, alice]] of pairs.entries()) {
        const offer = { targetId: 'bob', offer: index }
        await alice.granted('offer', offer)
        assertSameBody(await bob.next('offer'), relayed(offer, alice, rooms[index]))
        await alice.granted('leave-room')
        assert.equal((await bob.next('user-left')).roomId, rooms[index])
      }
    })
  })
})
