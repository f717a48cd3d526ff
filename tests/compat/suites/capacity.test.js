// A room that is full.

import assert from 'node:assert/strict'
import { assertErrorEvent, matrix, suite } from '../support.js'

suite('a full room', { MAX_ROOM_SIZE: '2' }, (server) => {
  matrix(server, (scenario) => {
    scenario('refuses an additional peer, which can join after another leaves', async ({ room, connect, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      const carol = await connect('carol')
      await carol.refused('ROOM_FULL', 'join-room', { roomId: room, userId: 'carol' })
      carol.tell('join-room', { roomId: room, userId: 'carol' })
      assertErrorEvent(await carol.next('error'), 'ROOM_FULL', 'join-room')
      await carol.refused('NOT_IN_ROOM', 'offer', { roomId: room, offer: 1 })
      for (const peer of [bob, alice]) await peer.quiet()

      await alice.granted('leave-room')
      await bob.next('user-left')
      await carol.join({ roomId: room, userId: 'carol' })
      assert.equal((await bob.next('user-joined')).id, 'carol')
    })

    scenario('lets its members join again', async ({ room, connect, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      await alice.join({ roomId: room, userId: 'alice' })
      const newer = await connect('alice again')
      await newer.join({ roomId: room, userId: 'alice' })
      assertErrorEvent(await alice.next('error'), 'REPLACED')
      assert.equal((await bob.next('user-left')).reason, 'replaced')
      assert.equal((await bob.next('user-joined')).socketId, newer.connection)
    })

    scenario('does not affect other rooms', async ({ room, connect, members }) => {
      await members({ userId: 'bob' }, { userId: 'alice' })
      await (await connect('carol')).join(`${room}-other`, 'carol')
    })

    scenario('admits exactly one of many concurrent joins', async ({ room, connect, members }) => {
      const [bob] = await members({ userId: 'bob' })
      const rivals = await Promise.all(Array.from({ length: 5 }, (_, index) => connect(`rival ${index}`)))
      const acks = await Promise.all(rivals.map((peer, index) => peer.ask('join-room', room, `rival-${index}`)))
      const winner = acks.findIndex(({ ok }) => ok)
      assert.deepEqual(acks.map(({ code }) => code), rivals.map((_, index) => (index === winner ? undefined : 'ROOM_FULL')))
      await rivals[winner].next('room-users')
      await rivals[winner].next('room-joined')
      assert.equal((await bob.next('user-joined')).id, `rival-${winner}`)
    })
  })
})
