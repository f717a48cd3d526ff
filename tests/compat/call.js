// A whole call, from the first join to the last leave. Every client runs it unchanged, on every transport, in every language.

import assert from 'node:assert/strict'
import { assertPeer, assertRecent, assertSameBody, relayed } from './support.js'

const CALLER = { name: 'Zoë 🦀', avatar: { url: '/z.png', size: { width: 64, height: 48 }, tags: ['a', null, 1.5] } }
const CALLEE = { name: '李雷', avatar: { z: 1, a: { y: true, b: [] } }, role: 'host' }
const SDP = 'v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n' + 'a=x-line:é "quoted" \\ 🎥\r\n'.repeat(60)

/**
 * `callee` is in the room when `caller` joins and sends the offer. `halfway()` runs during the candidates: a client that upgrades its
 * transport does so there.
 */
export async function wholeCall({ room, caller, callee, halfway = async () => {} }) {
  await meet(room, caller, callee)
  const offer = await describeSession(room, caller, callee)
  await candidates(room, callee, caller, offer.from, async () => {})
  await candidates(room, caller, callee, callee.id, halfway)
  await part(room, caller, callee)
}

async function meet(room, caller, callee) {
  const alone = await callee.ask('join-room', { roomId: room, userId: 'callee', ...CALLEE })
  const { socketId } = alone
  assert.deepEqual(alone, { ok: true, success: true, roomId: room, userId: 'callee', socketId, users: [] })
  await assertRoomUsers(callee, alone)

  const ack = await caller.ask('join-room', { roomId: room, userId: 'caller', ...CALLER })
  const { users } = ack
  assert.deepEqual(ack, { ok: true, success: true, roomId: room, userId: 'caller', socketId: ack.socketId, users })
  assert.equal(users.length, 1)
  assertPeer(users[0], { id: 'callee', connection: socketId, room, ...CALLEE })
  await assertRoomUsers(caller, ack)
  assertPeer(await callee.next('user-joined'), { id: 'caller', connection: ack.socketId, room, ...CALLER })
}

async function assertRoomUsers(peer, ack) {
  assert.deepEqual(await peer.nextArguments('room-users'), [ack.users])
  const [self, ...rest] = await peer.nextArguments('room-joined')
  assert.deepEqual(rest, [])
  assertRecent(self.createdAt)
  const { roomId, userId, socketId, users } = ack
  const lists = { users, participants: users, existingUsers: users, peers: users }
  assert.deepEqual(self, { roomId, userId, socketId, createdAt: self.createdAt, ...lists })
  assert.notEqual(socketId, '')
  peer.id = userId
  peer.connection = socketId
}

async function describeSession(room, caller, callee) {
  const offer = { targetId: callee.id, offer: { type: 'offer', sdp: SDP, zeta: 1, alpha: { d: 1, c: 2 } }, 'x-unknown': [1, { k: 'ü' }] }
  await caller.granted('offer', offer)
  const offered = await callee.next('offer')
  assertSameBody(offered, relayed(offer, caller, room))

  const answer = { roomId: room, targetId: offered.from, answer: { type: 'answer', sdp: SDP }, big: 9007199254740991, small: 1e-7, huge: 1e21 }
  await callee.granted('answer', answer)
  assertSameBody(await caller.next('answer'), relayed(answer, callee, room))
  return offered
}

/** Sends thirty candidates without waiting, and then null. All arrive, in order, and all are acknowledged. */
async function candidates(room, sender, receiver, targetId, halfway) {
  const sent = Array.from({ length: 30 }, (_, index) => ({
    targetId,
    candidate: { candidate: `candidate:${index} 1 udp 2122260223 192.0.2.1 5${index} typ host`, sdpMid: '0', sdpMLineIndex: 0 },
    index,
  }))
  sent.push({ targetId, candidate: null, index: 30 })
  const granted = sent.slice(0, 15).map((body) => sender.granted('ice-candidate', body))
  await halfway()
  granted.push(...sent.slice(15).map((body) => sender.granted('ice-candidate', body)))
  await Promise.all(granted)
  for (const body of sent) assertSameBody(await receiver.next('ice-candidate'), relayed(body, sender, room))
}

async function part(room, caller, callee) {
  await caller.granted('leave-room', { roomId: room })
  const left = await callee.next('user-left')
  assertPeer(left, { id: 'caller', connection: caller.connection, room, ...CALLER, reason: 'left' })

  await caller.join({ roomId: room, userId: 'caller' })
  assertPeer(await callee.next('user-joined'), { id: 'caller', connection: caller.connection, room })
  callee.close()
  const gone = await caller.next('user-left')
  assertPeer(gone, { id: 'callee', connection: callee.connection, room, ...CALLEE, reason: 'disconnected' })
}
