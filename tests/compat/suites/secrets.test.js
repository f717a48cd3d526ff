// The Engine.IO session id authorises requests. Only its owner receives it, and ids that other clients know do not work.

import assert from 'node:assert/strict'
import { matrix, suite } from '../support.js'

suite('the Engine.IO session id', {}, (server) => {
  matrix(server, (scenario, cell) => {
    scenario('is sent to no other client', async ({ server, room, connect, members }) => {
      const peers = await members({ userId: 'alice' }, { userId: 'bob' })
      const nameless = await connect('nameless')
      await nameless.join(room)
      for (const peer of peers) await peer.next('user-joined')
      const [alice, bob] = peers
      const all = [...peers, nameless]

      for (const key of ['targetId', 'target', 'to', 'targetUserId', 'targetSocketId']) {
        for (const target of key === 'targetSocketId' ? [bob.connection] : ['bob', bob.connection]) {
          await nameless.granted('offer', { [key]: target, offer: 1 })
          await bob.next('offer')
        }
      }
      await nameless.granted('ice-candidate', { candidate: null })
      for (const peer of peers) await peer.next('ice-candidate')
      for (const { session } of all.filter((peer) => peer !== alice)) {
        await alice.refused('TARGET_NOT_FOUND', 'offer', { targetId: session, offer: 1 })
      }
      const newer = await connect('alice again')
      await newer.join(room, 'alice')
      await alice.next('error')
      for (const peer of [bob, nameless]) {
        await peer.next('user-left')
        await peer.next('user-joined')
      }
      all.push(newer)

      const responses = await Promise.all(
        ['/health', '/api/rooms', `/api/rooms/${room}`].map(async (address) => (await server.rest('GET', address)).text()),
      )
      nameless.close()
      for (const peer of [bob, newer]) await peer.next('user-left')
      for (const peer of all) {
        assert.match(peer.session, /./)
        assert.notEqual(peer.session, peer.connection)
        assert(!server.output.includes(peer.session), 'a session id is in the log')
        for (const body of responses) assert(!body.includes(peer.session), `REST exposes a session id: ${body}`)
        for (const other of all.filter((one) => one !== peer)) {
          const leak = other.received.find((frame) => frame.includes(peer.session))
          assert.equal(leak, undefined, `${other.name} received the session id of ${peer.name}`)
        }
      }
    })

    scenario('cannot be replaced by ids that others know', async ({ server, members }) => {
      const [bob, victim] = await members({ userId: 'bob' }, { userId: 'victim' })
      const address = `${server.url}/socket.io/?EIO=${cell.major === 2 ? 3 : 4}&transport=polling&sid=`
      const forged = '42["leave-room"]'
      const body = cell.major === 2 ? `${forged.length}:${forged}` : forged
      for (const known of [victim.connection, victim.id]) {
        const posted = await fetch(address + known, { method: 'POST', body, headers: { 'content-type': 'text/plain' } })
        assert.equal(posted.status, 400)
        assert.equal((await fetch(address + known)).status, 400)
      }
      await victim.granted('offer', { offer: 'still here' })
      assert.equal((await bob.next('offer')).offer, 'still here')
    })
  })
})
