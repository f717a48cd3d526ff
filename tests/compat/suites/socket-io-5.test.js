// Socket.IO protocol, revision 5: the cases of its official conformance suite, over WebSocket. That suite runs against an echo server;
// here, an event is acknowledged or relayed to another member of the room. Cases of the transport, which the suite repeats, are in
// engine-io-4.test.js.
//
// Deliberate differences of this server: the response to CONNECT has a `pid` if the session can be resumed, and every namespace is
// available unless `SOCKETIO_NAMESPACES` lists them.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Endpoint, assertAck, joinRaw, opening } from '../raw.js'
import { suite } from '../support.js'

suite('Socket.IO 5', { RESUME_SECONDS: '0' }, (server) => {
  describe('CONNECT', () => {
    for (const [title, packet, answer] of [
      ['to the main namespace', '40', '40'],
      ['to the main namespace, with a payload', '40{"token":"123"}', '40'],
      ['to another namespace', '40/custom,', '40/custom,'],
      ['to another namespace, with a payload', '40/custom,{"token":"abc"}', '40/custom,'],
    ]) {
      test(title, async () => {
        const socket = await open(server)
        socket.send(packet)
        assertConnected(await socket.next(), answer)
        socket.close()
      })
    }

    test('an invalid packet instead closes the connection', async () => {
      const socket = await open(server)
      socket.send('4abc')
      await socket.assertClosed()
    })
  })

  describe('DISCONNECT', () => {
    test('from another namespace leaves the main one connected', async () => {
      const socket = await connect(server)
      socket.send('40/custom,')
      assertConnected(await socket.next(), '40/custom,')
      socket.send('41/custom,')
      socket.send('42/custom,1["leave-room"]')
      socket.send('422["leave-room"]')
      // An event in a namespace after its DISCONNECT is not answered.
      assertAck(await socket.next(), 2)
      socket.close()
    })
  })

  describe('EVENT', () => {
    test('is relayed with its arguments unchanged', async () => {
      const { sender, receiver } = await room(server)
      const event = '42["message",1,"2",{"3":[true],"1":2.50}]'
      sender.send(event)
      assert.equal(await receiver.next(), event)
      sender.close()
      receiver.close()
    })

    test('is relayed with its attachments', async () => {
      const { sender, receiver } = await room(server)
      const event = '452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
      const attachments = [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])]
      for (const frame of [event, ...attachments]) sender.send(frame)
      assert.equal(await receiver.next(), event)
      for (const attachment of attachments) assert.deepEqual(await receiver.next(), attachment)
      sender.close()
      receiver.close()
    })

    test('with a placeholder without an attachment is refused', async () => {
      const { sender, receiver } = await room(server)
      sender.send('451-5["message",{"_placeholder":true,"num":1}]')
      sender.send(Buffer.from([1]))
      assert.equal(assertAck(await sender.next(), 5).code, 'INVALID_MESSAGE')
      sender.send('42["message",1]')
      assert.equal(await receiver.next(), '42["message",1]')
      sender.close()
      receiver.close()
    })

    test('with an id is acknowledged with this id', async () => {
      const socket = await connect(server)
      socket.send('42456["leave-room",1,"2",{"3":[false]}]')
      assertAck(await socket.next(), 456)
      socket.close()
    })

    test('with attachments and an id is acknowledged after the last attachment', async () => {
      const socket = await connect(server)
      socket.send('452-789["offer",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
      socket.send(Buffer.from([1, 2, 3]))
      socket.send(Buffer.from([4, 5, 6]))
      assertAck(await socket.next(), 789)
      socket.close()
    })
  })

  for (const [title, packet] of [
    ['of an unknown type', '4abc'],
    ['whose payload is no array', '42{}'],
    ['whose id is no number', '42abc["leave-room",1,"2",{"3":[false]}]'],
  ]) {
    test(`a packet ${title} closes the connection`, async () => {
      const socket = await connect(server)
      socket.send(packet)
      await socket.assertClosed()
    })
  }
})

suite('namespaces of Socket.IO 5', { RESUME_SECONDS: '0', SOCKETIO_NAMESPACES: '/,/custom' }, (server) => {
  test('a listed namespace is served', async () => {
    const socket = await open(server)
    socket.send('40/custom,')
    assertConnected(await socket.next(), '40/custom,')
    socket.close()
  })

  test('another namespace is refused', async () => {
    const socket = await open(server)
    socket.send('40/random')
    assert.equal(await socket.next(), '44/random,{"message":"Invalid namespace"}')
    socket.close()
  })
})

suite('time limits of Socket.IO 5', { HANDSHAKE_TIMEOUT_SECONDS: '1', PING_INTERVAL_MS: '300' }, (server) => {
  test('a connection without CONNECT is closed', async () => {
    const socket = await open(server)
    await socket.assertClosed()
  })

  test('after DISCONNECT from the main namespace the connection stays open', async () => {
    const socket = await open(server)
    socket.send('40')
    assertConnected(await socket.next(), '40', ['sid', 'pid'])
    socket.send('41')
    assert.equal(await socket.next(), '2')
    socket.close()
  })
})

/** A WebSocket after the Engine.IO handshake. */
async function open(server) {
  const socket = new Endpoint(server.url, 4).socket()
  opening(await socket.next())
  return socket
}

/** A WebSocket that is connected to the main namespace. */
async function connect(server) {
  const socket = await open(server)
  socket.send('40')
  assertConnected(await socket.next(), '40')
  return socket
}

let rooms = 0

/** Two members of one room. */
async function room(server) {
  const name = `room-${++rooms}`
  const [receiver, sender] = [await connect(server), await connect(server)]
  for (const socket of [receiver, sender]) {
    await joinRaw(name, (packet) => socket.send(packet), () => socket.next())
  }
  for (;;) {
    const packet = await receiver.next()
    if (packet.startsWith('42["user-connected"')) break
    assert.match(packet, /^42\["user-joined"/)
  }
  return { sender, receiver }
}

/** Asserts the response to a CONNECT, which begins with `prefix`. */
function assertConnected(packet, prefix, keys = ['sid']) {
  assert(packet.startsWith(`${prefix}{`), packet)
  const answer = JSON.parse(packet.slice(prefix.length))
  assert.deepEqual(Object.keys(answer), keys)
  assert.equal(typeof answer.sid, 'string')
}
