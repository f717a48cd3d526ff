// Invalid input is answered or ignored, and the connection stays open.

import assert from 'node:assert/strict'
import { assertErrorEvent, assertRefusal, matrix, suite } from '../support.js'

const WRONG = [[], [null], [true], [[]], [['a', 'b']], [{}], [{ roomId: null }], [{ roomId: {} }], ['']]
const NO_OBJECT = [[], [null], [true], [7], ['text'], [['a']]]

suite('wrong input', {}, (server) => {
  matrix(server, (scenario) => {
    scenario('join-room with nothing or wrong types: INVALID_MESSAGE', async ({ room, connect }) => {
      const peer = await connect('peer')
      for (const args of WRONG) {
        await peer.refused('INVALID_MESSAGE', 'join-room', ...args)
        peer.tell('join-room', ...args)
        assertErrorEvent(await peer.next('error'), 'INVALID_MESSAGE', 'join-room')
      }
      await peer.join(room)
    })

    for (const event of ['offer', 'answer', 'ice-candidate']) {
      scenario(`${event} with nothing or wrong types: INVALID_MESSAGE`, async ({ members }) => {
        const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
        for (const args of NO_OBJECT) {
          await alice.refused('INVALID_MESSAGE', event, ...args)
          alice.tell(event, ...args)
          assertErrorEvent(await alice.next('error'), 'INVALID_MESSAGE', event)
        }
        await alice.granted(event, { targetId: 'bob', offer: 1, answer: 1, candidate: 1 })
        await bob.next(event)
      })
    }

    scenario('leave-room with wrong types: INVALID_MESSAGE, and the peer stays in the room', async ({ members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      for (const args of [[true], [[]], [['a']], ['']]) await alice.refused('INVALID_MESSAGE', 'leave-room', ...args)
      await alice.granted('offer', { targetId: 'bob', offer: 1 })
      await bob.next('offer')
    })

    scenario('events without a usable name: INVALID_MESSAGE', async ({ members }) => {
      const [, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      for (const event of ['', 'user-joined', 'a\nb', 'x'.repeat(129)]) {
        await alice.refused('INVALID_MESSAGE', event, { targetId: 'bob' })
        alice.tell(event)
        assertErrorEvent(await alice.next('error'), 'INVALID_MESSAGE', event)
      }
    })

    scenario('additional arguments are ignored', async ({ room, connect }) => {
      const peer = await connect('peer')
      await peer.join({ roomId: room, userId: 'alice' }, 'second', { third: 3 }, null)
      await peer.granted('offer', { offer: 1 }, 'second', 3)
      await peer.granted('leave-room', room, 'alice', 'third')
    })

    scenario('binary data is refused', async ({ members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      alice.tell('offer', Buffer.from([0, 1, 255]))
      assertErrorEvent(await alice.next('error'), 'INVALID_MESSAGE', 'offer')
      const ack = await alice.ask('join-room', Buffer.from('room'))
      assertRefusal(ack, 'INVALID_MESSAGE')
      await alice.granted('offer', { targetId: 'bob', offer: 1 })
      assert.equal((await bob.next('offer')).offer, 1)
    })
  })
})
