// Volatile events that a client emits when it is connected. A client drops them while its transport is busy: if it has to answer a
// heartbeat, or, with long-polling, if the response to its last request is still on its way.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { CELLS, scenarios, suite } from '../support.js'

const CLIENTS = 10

suite('volatile events', {}, (server) => {
  for (const cell of CELLS.filter(({ major, transports }) => major === 4 && transports)) {
    describe(cell.name, () => {
      scenarios(server, cell)('emitted on connect arrive, unless the client drops them', async ({ room, create }) => {
        let arrived = 0
        for (let index = 0; index < CLIENTS; index++) {
          const peer = create(`client ${index}`)
          const isSent = await new Promise((resolve) => {
            peer.socket.once('connect', () => {
              const { writable } = peer.socket.io.engine.transport
              peer.socket.volatile.emit('join-room', `${room}-${index}`)
              resolve(writable)
            })
          })
          if (!isSent) continue
          assert.deepEqual(await peer.next('room-users'), [])
          await peer.next('room-joined')
          arrived++
        }
        if (cell.transports.includes('websocket')) assert.equal(arrived, CLIENTS)
        else assert.notEqual(arrived, 0)
      })
    })
  }
})
