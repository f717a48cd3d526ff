// A failure is reported once: in the acknowledgement if one was requested, otherwise as an `error` event.

import assert from 'node:assert/strict'
import { assertErrorEvent, matrix, suite } from '../support.js'

const FAILURES = [
  ['INVALID_MESSAGE', 'join-room', [{}]],
  ['INVALID_MESSAGE', 'join-room', [{ roomId: '' }]],
  ['NOT_IN_ROOM', 'offer', [{ roomId: 'elsewhere', targetId: 'bob', offer: 1 }]],
  ['TARGET_NOT_FOUND', 'answer', [{ targetId: 'missing', answer: 1 }]],
  ['TARGET_NOT_FOUND', 'ice-candidate', [{ targetId: 'missing', candidate: null }]],
  ['NOT_IN_ROOM', 'leave-room', ['elsewhere']],
]

suite('failures', {}, (server) => {
  matrix(server, (scenario) => {
    for (const [code, event, args] of FAILURES) {
      scenario(`${event} ${JSON.stringify(args)}: ${code}, reported once`, async ({ members }) => {
        const [, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
        alice.tell(event, ...args)
        assertErrorEvent(await alice.next('error'), code, event)
        await alice.quiet()
        await alice.refused(code, event, ...args)
        await alice.quiet()
      })
    }

    scenario('a refused signal names its room', async ({ room, members }) => {
      const [alice] = await members({ userId: 'alice' })
      alice.tell('offer', { roomId: room, targetId: 'missing', offer: 1 })
      const error = await alice.next('error')
      assertErrorEvent(error, 'TARGET_NOT_FOUND', 'offer')
      assert.equal(error.roomId, room)
    })

    scenario('errors keep their order among other events', async ({ room, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      for (let index = 0; index < 20; index++) {
        alice.tell('offer', { targetId: index % 2 ? 'bob' : `missing-${index}`, offer: index })
      }
      for (let index = 0; index < 20; index += 2) assertErrorEvent(await alice.next('error'), 'TARGET_NOT_FOUND', 'offer')
      for (let index = 1; index < 20; index += 2) assert.equal((await bob.next('offer')).offer, index)
      assert.equal((await alice.join(room, 'alice')).users.length, 1)
    })
  })
})
