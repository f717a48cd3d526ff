// The maximum number of rooms of one connection.

import { matrix, suite } from '../support.js'

suite('the limit of rooms per connection', { MAX_ROOMS_PER_CONNECTION: '3' }, (server) => {
  matrix(server, (scenario) => {
    scenario('an additional room is refused until another is left', async ({ room, connect }) => {
      const peer = await connect('peer')
      const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => `${room}-${name}`)
      for (const name of [a, b, c]) await peer.join(name, 'me')
      await peer.refused('LIMIT_REACHED', 'join-room', d, 'me')
      await peer.join(b, 'me')
      await peer.granted('leave-room', a)
      await peer.join(d, 'me')
      await peer.refused('LIMIT_REACHED', 'join-room', a, 'me')
      for (const name of [b, c, d]) await peer.granted('ice-candidate', { roomId: name, candidate: null })
    })

    scenario('the limit counts per connection', async ({ room, connect }) => {
      for (const name of ['first', 'second']) {
        const peer = await connect(name)
        for (let index = 0; index < 3; index++) await peer.join(`${room}-${name}-${index}`)
      }
    })
  })
})
