// The errors that an official client receives at configured limits: they contain the retry time, and the client retries by itself if it
// can.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { CELLS, scenarios, suite, within } from '../support.js'

suite('too many messages', { MESSAGES_PER_SECOND: '2', MESSAGE_BURST: '4' }, (server) => {
  for (const cell of CELLS) {
    const scenario = scenarios(server, cell)
    scenario(`${cell.name}: refused with retryAfterMs, and accepted after that time`, async ({ connect }) => {
      const peer = await connect('hasty')
      const ack = await untilRefused(() => peer.ask('leave-room', 'elsewhere'))
      assert.deepEqual(Object.keys(ack).sort(), ['code', 'error', 'ok', 'retryAfterMs', 'success'])
      assert.deepEqual([ack.ok, ack.success], [false, false])
      assertWait(ack)
      const error = await untilRefused(() => {
        peer.tell('offer', { roomId: 'elsewhere', offer: 1 })
        return peer.next('error')
      })
      assert.deepEqual([error.event, error.roomId], ['offer', 'elsewhere'])
      assertWait(error)
      await pause(error.retryAfterMs)
      await peer.refused('NOT_IN_ROOM', 'leave-room', 'elsewhere')
      // Without `quiet()`, whose request would exceed the limit.
      peer.close()
    })
  }
})

/** Sends requests that are not permitted until the rate limit is exceeded. */
async function untilRefused(ask) {
  for (let count = 0; count < 50; count++) {
    const answer = await ask()
    if (answer.code === 'RATE_LIMITED') return answer
    assert.equal(answer.code, 'NOT_IN_ROOM')
  }
  assert.fail('fifty in a row are let through')
}

function assertWait({ retryAfterMs }) {
  assert(Number.isInteger(retryAfterMs) && retryAfterMs >= 1 && retryAfterMs <= 500, `${retryAfterMs}`)
}

describe('capacity is released', () => {
  const limits = [['on the server', { MAX_CONNECTIONS: '1' }], ['for an address', { MAX_CONNECTIONS_PER_IP: '1' }]]
  for (const [where, settings] of limits) {
    suite(where, settings, (server) => {
      for (const cell of CELLS) {
        const patient = { ...cell, options: { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 50 } }
        scenarios(server, cell)(`${cell.name}: refused at first, and in by itself later`, async ({ room, create }) => {
          // The connection of the previous scenario may still be closing.
          const first = create('first', patient)
          const admitted = first.connected.catch(() => new Promise((resolve) => first.socket.once('connect', resolve)))
          await within(admitted, () => 'it is not let in')
          const second = create('second', patient)
          await assert.rejects(within(second.connected, () => 'neither refused nor let in'))
          await first.join(room)
          const connected = new Promise((resolve) => second.socket.once('connect', resolve))
          first.close()
          await within(connected, () => 'it does not reconnect')
          const { ok } = await second.ask('join-room', room)
          assert.equal(ok, true)
          await second.next('room-users')
          await second.next('room-joined')
        })
      }
    })
  }
})
