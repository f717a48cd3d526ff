// The target of a signal, and the fields that name its sender.

import assert from 'node:assert/strict'
import { assertSameBody, matrix, relayed, suite } from '../support.js'

const KEYS = ['targetId', 'target', 'to', 'targetUserId', 'targetSocketId']
const FORGED = {
  from: 'mallory', userId: 'mallory', socketId: 'mallory', fromId: 'mallory', senderId: 'mallory',
  fromSocketId: 'mallory', senderSocketId: 'mallory', fromUserId: 'mallory',
}

/** The ids of bob that a key accepts: `targetSocketId` his connection id only. */
const ids = (key, bob) => [['peer', 'bob'], ['connection', bob.connection]].filter(([found]) => found === 'connection' || key !== 'targetSocketId')

suite('targets', {}, (server) => {
  matrix(server, (scenario) => {
    for (const key of KEYS) {
      scenario(`${key}: reaches one peer, which can use the sender as target`, async ({ room, members }) => {
        const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' }, { userId: 'bystander' })
        for (const [found, id] of ids(key, bob)) {
          const offer = { [key]: id, offer: { sdp: 'x' }, extra: { kept: true } }
          await alice.granted('offer', offer)
          const offered = await bob.next('offer')
          assertSameBody(offered, relayed(offer, alice, room, found))

          const answer = { [key]: offered.from, answer: { sdp: 'y' } }
          await bob.granted('answer', answer)
          assertSameBody(await alice.next('answer'), relayed(answer, bob, room, found))
        }
      })

      scenario(`${key}: the sender cannot be forged`, async ({ room, members }) => {
        const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
        for (const [found, id] of ids(key, bob)) {
          await alice.granted('ice-candidate', { ...FORGED, [key]: id, candidate: null })
          const read = await bob.next('ice-candidate')
          assert(!Object.values(read).includes('mallory'), `a forged name got through: ${JSON.stringify(read)}`)
          const honest = relayed({ [key]: id, candidate: null }, alice, room, found)
          for (const [name, value] of Object.entries(honest)) assert.equal(read[name], value, name)
        }
      })
    }

    scenario('the first key of targetId, target, to, targetUserId, targetSocketId wins', async ({ members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' }, { userId: 'bystander' })
      for (const [index, key] of KEYS.entries()) {
        const others = Object.fromEntries(KEYS.slice(index + 1).reverse().map((later) => [later, 'bystander']))
        const [[, id]] = ids(key, bob)
        await alice.granted('ice-candidate', { ...others, [key]: id, candidate: index })
        assert.equal((await bob.next('ice-candidate')).candidate, index)
      }
    })

    scenario('a peer without a userId', async ({ room, connect }) => {
      const bob = await connect('bob')
      await bob.join(room)
      const alice = await connect('alice')
      await alice.join(room)
      await bob.next('user-joined')
      const offer = { to: bob.connection, offer: 1 }
      await alice.granted('offer', offer)
      assertSameBody(await bob.next('offer'), relayed(offer, alice, room))
    })

    scenario('the connection id of another cannot be a user id', async ({ room, connect, members }) => {
      const [bob] = await members({ userId: 'bob' })
      const mallory = await connect('mallory')
      await mallory.refused('FORBIDDEN', 'join-room', { roomId: room, userId: bob.connection })
      await mallory.refused('FORBIDDEN', 'join-room', `${room}-elsewhere`, bob.connection)
    })

    scenario('no key: all other peers', async ({ room, members }) => {
      const [bob, carol, alice] = await members({ userId: 'bob' }, { userId: 'carol' }, { userId: 'alice' })
      const offer = { offer: { sdp: 'x' }, note: 'ü' }
      await alice.granted('offer', offer)
      for (const other of [bob, carol]) assertSameBody(await other.next('offer'), relayed(offer, alice, room))
    })

    scenario('unknown: TARGET_NOT_FOUND, and no peer receives it', async ({ members }) => {
      const [, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      for (const key of KEYS) {
        await alice.refused('TARGET_NOT_FOUND', 'offer', { [key]: 'missing', offer: 1 })
      }
    })

    scenario('a peer that has left: TARGET_NOT_FOUND', async ({ members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { userId: 'alice' })
      await bob.granted('leave-room')
      await alice.next('user-left')
      await alice.refused('TARGET_NOT_FOUND', 'offer', { targetId: 'bob', offer: 1 })
      await alice.refused('TARGET_NOT_FOUND', 'offer', { targetId: bob.connection, offer: 1 })
    })
  })
})
