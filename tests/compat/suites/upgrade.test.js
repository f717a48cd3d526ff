// Signals during a change of the transport: none is lost, duplicated or reordered.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { CELLS, scenarios, suite } from '../support.js'

const tick = () => new Promise(setImmediate)

suite('the upgrade from polling to WebSocket', { MESSAGES_PER_SECOND: '0', SEND_QUEUE: '20000' }, (server) => {
  for (const cell of CELLS.filter(({ upgrades }) => upgrades)) {
    describe(cell.name, () => {
      const scenario = scenarios(server, cell)

      scenario('of the sender, in the middle of a stream', async ({ room, create, members }) => {
        const [receiver] = await members({ userId: 'receiver' })
        const sender = create('sender')
        const joined = sender.join({ roomId: room, userId: 'sender' })
        const granted = await stream(sender, sender, joined)
        await receiver.next('user-joined')
        await assertReceived(receiver, granted)
      })

      scenario('of the receiver, in the middle of a stream', async ({ room, create, members }) => {
        const [sender] = await members({ userId: 'sender' })
        const receiver = create('receiver')
        const joined = receiver.join({ roomId: room, userId: 'receiver' })
        const granted = await stream(sender, receiver, joined)
        await sender.next('user-joined')
        await assertReceived(receiver, granted)
      })
    })
  }
})

/** Sends from before `upgrading` connects until it has joined and upgraded, and some more; returns the accepted signals. */
async function stream(sender, upgrading, joined) {
  const answers = []
  const send = () => answers.push(sender.ask('ice-candidate', { targetId: 'receiver', candidate: answers.length }))
  let ready = false
  const settled = Promise.all([upgrading.settled(), joined]).finally(() => (ready = true))
  while (!ready && answers.length < 10_000) {
    send()
    await tick()
  }
  await settled
  for (let more = 0; more < 30; more++) send()
  assert.equal(upgrading.engine.transport.name, 'websocket')
  const indices = (await Promise.all(answers)).map(({ ok, code }, index) => {
    assert(ok || code === 'TARGET_NOT_FOUND', code)
    return ok ? [index] : []
  })
  return indices.flat()
}

/** The receiver is present from the first accepted signal, so that it receives all later ones. */
async function assertReceived(receiver, granted) {
  assert(granted.length >= 30)
  for (const [offset, index] of granted.entries()) {
    assert.equal(index, granted[0] + offset, 'one in the middle was refused')
    assert.equal((await receiver.next('ice-candidate')).candidate, index)
  }
}
