// Engine.IO protocol, revision 4: the cases of its official conformance suite. That suite runs against an echo server; here, the messages
// are Socket.IO packets that the server answers: a CONNECT, or events with an acknowledgement.
//
// Deliberate difference of this server: a handshake without `EIO` uses revision 3, and is not refused.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Endpoint, PollingSession, SEPARATOR, assertAck, emitAttachment, joinRaw, opening } from '../raw.js'
import { suite } from '../support.js'

const PING_INTERVAL = 300
const PING_TIMEOUT = 200
const MAX_MESSAGE_BYTES = 100_000

suite('Engine.IO 4', { MAX_MESSAGE_BYTES: String(MAX_MESSAGE_BYTES) }, (server) => {
  const endpoint = () => new Endpoint(server.url, 4)

  describe('handshake', () => {
    for (const method of ['POST', 'PUT']) {
      test(`${method} without a session is refused`, async () => {
        const answer = await endpoint().request({ EIO: 4, transport: 'polling' }, { method })
        assert.equal(answer.status, 400)
      })
    }

    // A posted payload may be twice as long as one message.
    test('polling offers the upgrade', async () => {
      const { status, text } = await endpoint().request({ EIO: 4, transport: 'polling' })
      assert.equal(status, 200)
      const { sid, ...offer } = opening(text)
      assert.equal(typeof sid, 'string')
      assert.deepEqual(offer, {
        upgrades: ['websocket'], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 2 * MAX_MESSAGE_BYTES,
      })
      await new PollingSession(endpoint(), sid).push('1')
    })

    test('a WebSocket offers no upgrade', async () => {
      const socket = endpoint().socket()
      const { sid, ...offer } = opening(await socket.next())
      assert.equal(typeof sid, 'string')
      assert.deepEqual(offer, { upgrades: [], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: MAX_MESSAGE_BYTES })
      socket.close()
    })

    for (const [title, query] of [
      ['an unknown revision', { EIO: 'abc', transport: 'polling' }],
      ['no transport', { EIO: 4 }],
      ['an unknown transport', { EIO: 4, transport: 'abc' }],
    ]) {
      test(`${title} is refused`, async () => {
        assert.equal((await endpoint().request(query)).status, 400)
        const upgrade = query.transport === 'polling' ? { ...query, transport: 'websocket' } : query
        assert.equal(await endpoint().refusal(upgrade), 400)
      })
    }
  })

  describe('messages over polling', () => {
    test('one packet is read and answered', async () => {
      const session = await open(endpoint())
      await session.push('40')
      assert.match(await session.pull(), /^40\{[^\x1e]*\}$/)
      await session.push('1')
    })

    test('several packets of one payload are answered in their order', async () => {
      const session = await connect(endpoint())
      await session.push(['420["leave-room"]', '421["leave-room"]', '422["leave-room"]'].join(SEPARATOR))
      const packets = await pullPackets(session, 3)
      for (const [id, packet] of packets.entries()) assertAck(packet, id)
      await session.push('1')
    })

    test('a payload of text and binary packets is read', async () => {
      const session = await connect(endpoint())
      const event = '451-7["offer",{"offer":{"_placeholder":true,"num":0}}]'
      await session.push([event, 'bAQIDBA=='].join(SEPARATOR))
      assertAck(await session.pull(), 7)
      await session.push('1')
    })

    test('a binary packet is sent as base64', async () => {
      const session = await connect(endpoint())
      const packets = packetsOf(session)
      await joinRaw('engine-4', (packet) => session.push(packet), packets)
      const sender = await emitAttachment(endpoint(), 'engine-4', Buffer.from([1, 2, 3, 4]))
      while ((await packets()) !== '451-["chunk",{"_placeholder":true,"num":0}]');
      assert.equal(await packets(), 'bAQIDBA==')
      sender.send('41')
      sender.close()
      await session.push(['41', '1'].join(SEPARATOR))
    })

    test('an invalid packet closes the session', async () => {
      const session = await open(endpoint())
      assert.equal((await session.post('abc')).status, 400)
      await session.assertClosed()
    })

    test('a second poll beside the first closes the session', async () => {
      const session = await connect(endpoint())
      const answers = await Promise.all([session.poll(), session.poll()])
      // The order of arrival depends on the connections.
      answers.sort((a, b) => a.status - b.status)
      assert.deepEqual(answers.map(({ status }) => status), [200, 400])
      assert.equal(answers[0].text, '1')
      await session.assertClosed()
    })
  })

  describe('messages over WebSocket', () => {
    test('a text packet is read and answered', async () => {
      const socket = endpoint().socket()
      opening(await socket.next())
      socket.send('40')
      assert.match(await socket.next(), /^40\{/)
      socket.close()
    })

    test('a binary packet is read', async () => {
      const socket = endpoint().socket()
      opening(await socket.next())
      socket.send('40')
      assert.match(await socket.next(), /^40\{/)
      socket.send('451-7["offer",{"offer":{"_placeholder":true,"num":0}}]')
      socket.send(Buffer.from([1, 2, 3, 4]))
      assertAck(await socket.next(), 7)
      socket.close()
    })

    test('an invalid packet closes the connection', async () => {
      const socket = endpoint().socket()
      opening(await socket.next())
      socket.send('abc')
      await socket.assertClosed()
    })
  })

  describe('close', () => {
    test('a close packet ends a polling session and answers its poll', async () => {
      // The two requests race; the case is the one in which the poll arrives first.
      let answer
      for (let attempt = 0; attempt < 20 && answer?.status !== 200; attempt++) {
        const session = await connect(endpoint())
        const poll = session.poll()
        await new Promise(setImmediate)
        await session.push('1')
        answer = await poll
        await session.assertClosed()
      }
      assert.deepEqual([answer.status, answer.text], [200, '6'])
    })

    test('a close packet ends a WebSocket', async () => {
      const socket = endpoint().socket()
      opening(await socket.next())
      socket.send('1')
      await socket.assertClosed()
    })
  })

  describe('upgrade', () => {
    test('a probe is answered, releases the poll, and the session moves', async () => {
      const session = await connect(endpoint())
      const socket = endpoint().socket(session.sid)
      await socket.opened
      socket.send('2probe')
      assert.equal(await socket.next(), '3probe')
      assert.equal(await session.pull(), '6')
      socket.send('5')
      socket.send('420["leave-room"]')
      assertAck(await socket.next(), 0)
      socket.close()
    })

    test('a poll after the upgrade is refused without effect', async () => {
      const { session, socket } = await upgraded(endpoint())
      await session.assertClosed()
      socket.send('421["leave-room"]')
      assertAck(await socket.next(), 1)
      socket.close()
    })

    test('a second WebSocket of the session is refused without effect', async () => {
      const { session, socket } = await upgraded(endpoint())
      assert.equal(await endpoint().refusal({ EIO: 4, transport: 'websocket', sid: session.sid }), 400)
      socket.send('421["leave-room"]')
      assertAck(await socket.next(), 1)
      socket.close()
    })
  })
})

suite('heartbeats of Engine.IO 4', { PING_INTERVAL_MS: String(PING_INTERVAL), PING_TIMEOUT_MS: String(PING_TIMEOUT) }, (server) => {
  const endpoint = () => new Endpoint(server.url, 4)

  test('the open packet announces the intervals', async () => {
    const socket = endpoint().socket()
    const { pingInterval, pingTimeout } = opening(await socket.next())
    assert.deepEqual([pingInterval, pingTimeout], [PING_INTERVAL, PING_TIMEOUT])
    socket.close()
  })

  test('a polling client that answers pings stays connected', async () => {
    const session = await connect(endpoint())
    for (let beat = 0; beat < 3; beat++) {
      assert.equal(await session.pull(), '2')
      await session.push('3')
    }
    await session.push('1')
  })

  test('a polling client that does not answer a ping is disconnected', async () => {
    const session = await connect(endpoint())
    assert.equal(await session.pull(), '2')
    // Answered when the session ends.
    await session.poll()
    await session.assertClosed()
  })

  test('a WebSocket client that answers pings stays connected', async () => {
    const socket = endpoint().socket()
    opening(await socket.next())
    for (let beat = 0; beat < 3; beat++) {
      assert.equal(await socket.next(), '2')
      socket.send('3')
    }
    socket.close()
  })

  test('a WebSocket client that does not answer a ping is disconnected', async () => {
    const socket = endpoint().socket()
    opening(await socket.next())
    assert.equal(await socket.next(), '2')
    await socket.assertClosed()
  })
})

/** A polling session whose open packet has been read. */
async function open(endpoint) {
  const { text } = await endpoint.request({ EIO: 4, transport: 'polling' })
  return new PollingSession(endpoint, opening(text).sid)
}

/** A polling session that is connected to the main namespace. */
async function connect(endpoint) {
  const session = await open(endpoint)
  await session.push('40')
  assert.match(await session.pull(), /^40\{/)
  return session
}

/** A session that was upgraded from polling to the WebSocket `socket`. */
async function upgraded(endpoint) {
  const session = await connect(endpoint)
  const socket = endpoint.socket(session.sid)
  await socket.opened
  socket.send('2probe')
  assert.equal(await socket.next(), '3probe')
  socket.send('5')
  socket.send('420["leave-room"]')
  assertAck(await socket.next(), 0)
  return { session, socket }
}

/** Returns the next packets, with as many polls as necessary. */
async function pullPackets(session, count) {
  const packets = []
  while (packets.length < count) packets.push(...(await session.pull()).split(SEPARATOR))
  assert.equal(packets.length, count, packets.join('\n'))
  return packets
}

/** Returns the packets of a session one at a time. */
function packetsOf(session) {
  const waiting = []
  return async () => {
    if (waiting.length === 0) waiting.push(...(await session.pull()).split(SEPARATOR))
    return waiting.shift()
  }
}
