// Ids: 1 to 128 characters after trimming, no control characters, case-sensitive; a number is converted to its decimal text.

import assert from 'node:assert/strict'
import { matrix, suite } from '../support.js'

const BAD = {
  'empty': '',
  'blank': ' \t ',
  'of 129 characters': 'x'.repeat(129),
  'with a NUL': 'a\u0000b',
  'with a line feed': 'a\nb',
  'with DEL': 'a\u007fb',
  'with a C1 control': 'a\u0085b',
  'true': true,
  'an array': ['a'],
  'an object': { a: 1 },
}

suite('ids', {}, (server) => {
  matrix(server, (scenario) => {
    for (const [what, id] of Object.entries(BAD)) {
      scenario(`${what}: refused`, async ({ room, connect }) => {
        const peer = await connect('peer')
        await peer.refused('INVALID_MESSAGE', 'join-room', { roomId: id })
        await peer.refused('INVALID_MESSAGE', 'join-room', { roomId: room, userId: id })
        await peer.refused('INVALID_MESSAGE', 'join-room', room, id)
        await peer.join(room, 'me')
        for (const event of ['offer', 'answer', 'ice-candidate']) {
          await peer.refused('INVALID_MESSAGE', event, { targetId: id, candidate: 1, offer: 1, answer: 1 })
          await peer.refused('INVALID_MESSAGE', event, { roomId: id, candidate: 1, offer: 1, answer: 1 })
        }
        await peer.refused('INVALID_MESSAGE', 'leave-room', { roomId: id })
      })
    }

    scenario('of 1 and of 128 characters, not bytes', async ({ connect }) => {
      const peer = await connect('peer')
      for (const id of ['x', 'x'.repeat(128), 'é'.repeat(128), '漢'.repeat(128)]) {
        const ack = await peer.join({ roomId: id, userId: id })
        assert.deepEqual([ack.roomId, ack.userId], [id, id])
        await peer.granted('leave-room', id)
      }
    })

    scenario('are trimmed in every event', async ({ room, members }) => {
      const [bob, alice] = await members({ userId: 'bob' }, { roomId: `  ${room}\t`, userId: ' alice ' })
      assert.equal(alice.id, 'alice')
      await alice.granted('offer', { roomId: ` ${room} `, targetId: ' bob ', offer: 1 })
      assert.equal((await bob.next('offer')).from, 'alice')
      await alice.granted('leave-room', ` ${room} `)
      assert.equal((await bob.next('user-left')).id, 'alice')
    })

    scenario('are case-sensitive', async ({ members }) => {
      const [upper, lower] = await members({ userId: 'Alice' }, { userId: 'alice' })
      await lower.refused('TARGET_NOT_FOUND', 'offer', { targetId: 'ALICE', offer: 1 })
      await lower.granted('offer', { targetId: 'Alice', offer: 1 })
      assert.equal((await upper.next('offer')).from, 'alice')
    })

    scenario('that are numbers become their decimal text', async ({ connect }) => {
      const seven = await connect('seven')
      const first = await seven.join({ roomId: 42, userId: 7 })
      assert.deepEqual([first.roomId, first.userId], ['42', '7'])
      const eight = await connect('eight')
      const second = await eight.join(42, 8)
      assert.deepEqual([second.roomId, second.userId], ['42', '8'])
      assert.equal((await seven.next('user-joined')).id, '8')
      await eight.granted('offer', { roomId: 42, targetId: 7, offer: 1 })
      assert.deepEqual((({ from, roomId }) => [from, roomId])(await seven.next('offer')), ['8', '42'])
      await eight.granted('leave-room', 42)
      assert.equal((await seven.next('user-left')).id, '8')
    })
  })
})
