// Events that a client emits before or directly after it is connected are all handled, in order.
//
// The limits are raised: the suite tests whether the server is ready before the first event arrives, and a client that sends thousands of
// events at once exceeds the defaults.

import assert from 'node:assert/strict'
import { matrix, suite } from '../support.js'

const MANY = 2_000
const MANY_CLIENTS = 80
const EACH = 5
const SETTINGS = { MESSAGES_PER_SECOND: '0', SEND_QUEUE: '20000', MAX_MESSAGE_BYTES: '8388608' }

suite('first events', SETTINGS, (server) => {
  matrix(server, (scenario) => {
    scenario(`${MANY} of one client, emitted before it is connected`, async ({ room, create, members }) => {
      const [watcher] = await members({ userId: 'watcher' })
      const sender = create('sender')
      await assertHandled(sender, room, MANY)
      assert.equal((await watcher.next('user-joined')).id, 'sender')
      for (let index = 0; index < MANY; index++) assert.equal((await watcher.next('ice-candidate')).candidate, index)
    })

    scenario(`${MANY} of one client, emitted on connect`, async ({ room, create, members }) => {
      const [watcher] = await members({ userId: 'watcher' })
      const sender = create('sender')
      await new Promise((resolve, reject) => {
        sender.socket.once('connect', () => assertHandled(sender, room, MANY).then(resolve, reject))
      })
      assert.equal((await watcher.next('user-joined')).id, 'sender')
      for (let index = 0; index < MANY; index++) assert.equal((await watcher.next('ice-candidate')).candidate, index)
    })

    scenario(`of ${MANY_CLIENTS} clients at once`, async ({ room, create }) => {
      const clients = Array.from({ length: MANY_CLIENTS }, (_, index) => create(`client ${index}`))
      await Promise.all(clients.map((peer, index) => assertHandled(peer, `${room}-${index}`, EACH)))
    })
  })
})

/** Emits a join and `count` candidates at once; every acknowledgement arrives, in order. */
async function assertHandled(sender, room, count) {
  const order = []
  const asked = [sender.ask('join-room', { roomId: room, userId: 'sender' })]
  for (let index = 0; index < count; index++) {
    asked.push(sender.ask('ice-candidate', { candidate: index }))
  }
  const answers = await Promise.all(asked.map(async (answer, index) => {
    const { ok, code } = await answer
    order.push(index)
    return ok ? 'ok' : code
  }))
  assert.deepEqual(answers, Array(count + 1).fill('ok'))
  assert.deepEqual(order, [...order.keys()])
  await sender.next('room-users')
  await sender.next('room-joined')
}
