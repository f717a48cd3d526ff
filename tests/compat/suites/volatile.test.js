// Volatile events that a client emits when it is connected. A client drops them while its transport is busy, for example if it has to
// answer a heartbeat.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { CELLS, scenarios, suite } from '../support.js'

const CLIENTS = 10

suite('volatile events', {}, (server) => {
  for (const cell of CELLS.filter(({ major, transports }) => major === 4 && transports)) {
    describe(cell.name, () => {
      scenarios(server, cell)('emitted on connect all arrive', async ({ room, create }) => {
        for (let index = 0; index < CLIENTS; index++) {
          const peer = create(`client ${index}`)
          peer.socket.once('connect', () => peer.socket.volatile.emit('join-room', `${room}-${index}`))
          assert.deepEqual(await peer.next('room-users'), [])
          await peer.next('room-joined')
        }
      })
    })
  }
})
