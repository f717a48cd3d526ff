// The whole call: between equal clients in every cell, then between all pairs of clients.

import { describe } from 'node:test'
import { wholeCall } from '../call.js'
import { CELLS, matrix, scenarios, suite, within } from '../support.js'

async function call({ room, create }, calling, called) {
  const caller = create('caller', calling)
  const callee = create('callee', called)
  const connected = (peer) => within(peer.connected, () => `${peer.name} does not connect`)
  await Promise.all([connected(caller), connected(callee)])
  await wholeCall({ room, caller, callee, halfway: () => Promise.all([caller.settled(), callee.settled()]) })
}

suite('a whole call', {}, (server) => {
  matrix(server, (scenario, cell) => {
    scenario('between two clients of the same version', (world) => call(world, cell, cell))
  })

  describe('between different clients', () => {
    const scenario = scenarios(server)
    for (const [index, calling] of CELLS.entries()) {
      // Four later is the next version with the next transport; eight later is the previous version with the previous transport.
      for (const called of [4, 8].map((on) => CELLS[(index + on) % CELLS.length])) {
        scenario(`${calling.name} calls ${called.name}`, (world) => call(world, calling, called))
      }
    }
  })
})
