// Engine.IO protocol, revision 3: the cases of its official conformance suite. That suite runs against an echo server; here, the messages
// are Socket.IO packets that the server answers. A client of this revision is connected to the main namespace automatically.
//
// Deliberate differences of this server: attachments are sent as base64 to polling clients even without `b64`, which all clients can read.
// Not tested, as in the official suite: a second concurrent poll.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Endpoint, PollingSession, assertAck, emitAttachment, joinRaw, opening } from '../raw.js'
import { suite } from '../support.js'

const PING_INTERVAL = 300
const PING_TIMEOUT = 200

suite('Engine.IO 3', {}, (server) => {
  const endpoint = () => new Endpoint(server.url, 3)

  describe('handshake', () => {
    test('polling offers the upgrade', async () => {
      const { status, text } = await endpoint().request({ EIO: 3, transport: 'polling' })
      assert.equal(status, 200)
      const { sid, upgrades, pingInterval, pingTimeout } = opening(decode(text)[0])
      assert.equal(typeof sid, 'string')
      assert.deepEqual([upgrades, pingInterval, pingTimeout], [['websocket'], 25_000, 20_000])
      await new PollingSession(endpoint(), sid).push(encode('1'))
    })

    test('polling needs no EIO', async () => {
      const { status, text } = await endpoint().request({ transport: 'polling' })
      assert.equal(status, 200)
      await new PollingSession(endpoint(), opening(decode(text)[0]).sid).push(encode('1'))
    })

    test('a WebSocket offers no upgrade', async () => {
      const socket = endpoint().socket()
      const { sid, upgrades, pingInterval, pingTimeout } = opening(await socket.next())
      assert.equal(typeof sid, 'string')
      assert.deepEqual([upgrades, pingInterval, pingTimeout], [[], 25_000, 20_000])
      socket.close()
    })

    for (const [title, query] of [
      ['an unknown revision', { EIO: 'abc', transport: 'polling' }],
      ['no transport', { EIO: 3 }],
      ['an unknown transport', { EIO: 3, transport: 'abc' }],
    ]) {
      test(`${title} is refused`, async () => {
        assert.equal((await endpoint().request(query)).status, 400)
        const upgrade = query.transport === 'polling' ? { ...query, transport: 'websocket' } : query
        assert.equal(await endpoint().refusal(upgrade), 400)
      })
    }

    test('POST without a session is refused', async () => {
      const answer = await endpoint().request({ EIO: 3, transport: 'polling' }, { method: 'POST' })
      assert.equal(answer.status, 400)
    })
  })

  describe('messages over polling', () => {
    for (const [title, query] of [['base64', { b64: '1' }], ['binary', {}]]) {
      test(`one packet is read and answered (${title})`, async () => {
        const session = await connect(endpoint(), query)
        await session.push(encode('420["leave-room"]'))
        const [packet] = await pullPackets(session, 1)
        assertAck(packet, 0)
        await session.push(encode('1'))
      })

      test(`several packets of one payload are answered in their order (${title})`, async () => {
        const session = await connect(endpoint(), query)
        await session.push(encode('420["leave-room"]', '421["leave-room"]', '422["leave-room"]'))
        const packets = await pullPackets(session, 3)
        for (const [id, packet] of packets.entries()) assertAck(packet, id)
        await session.push(encode('1'))
      })

      test(`a payload of text and binary packets is read (${title})`, async () => {
        const session = await connect(endpoint(), query)
        await session.push(encode('451-7["offer",{"offer":{"_placeholder":true,"num":0}}]', 'b4AQIDBA=='))
        const [packet] = await pullPackets(session, 1)
        assertAck(packet, 7)
        await session.push(encode('1'))
      })
    }

    test('a binary packet is sent as base64', async () => {
      const session = await connect(endpoint(), { b64: '1' })
      const packets = packetsOf(session)
      await joinRaw('engine-3', (packet) => session.push(encode(packet)), packets)
      const sender = await emitAttachment(endpoint(), 'engine-3', Buffer.from([4, 1, 2, 3, 4]))
      while ((await packets()) !== '451-["chunk",{"_placeholder":true,"num":0}]');
      assert.equal(await packets(), 'b4AQIDBA==')
      sender.send('41')
      sender.close()
      await session.push(encode('41', '1'))
    })

    test('an invalid packet closes the session', async () => {
      const session = await connect(endpoint())
      assert.equal((await session.post('abc')).status, 400)
      await session.assertClosed()
    })
  })

  describe('messages over WebSocket', () => {
    test('a text packet is read and answered', async () => {
      const socket = await connectSocket(endpoint())
      socket.send('420["leave-room"]')
      assertAck(await socket.next(), 0)
      socket.close()
    })

    test('a binary packet is read', async () => {
      const socket = await connectSocket(endpoint())
      socket.send('451-7["offer",{"offer":{"_placeholder":true,"num":0}}]')
      // The first byte is the type of the packet: a message.
      socket.send(Buffer.from([4, 1, 2, 3, 4]))
      assertAck(await socket.next(), 7)
      socket.close()
    })

    test('an invalid packet closes the connection', async () => {
      const socket = await connectSocket(endpoint())
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
        await session.push(encode('1'))
        answer = await poll
        await session.assertClosed()
      }
      assert.deepEqual([answer.status, answer.text], [200, encode('6')])
    })

    test('a close packet ends a WebSocket', async () => {
      const socket = await connectSocket(endpoint())
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
      assert.equal(await session.pull(), encode('6'))
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
      assert.equal(await endpoint().refusal({ EIO: 3, transport: 'websocket', sid: session.sid }), 400)
      socket.send('421["leave-room"]')
      assertAck(await socket.next(), 1)
      socket.close()
    })
  })
})

suite('heartbeats of Engine.IO 3', { PING_INTERVAL_MS: String(PING_INTERVAL), PING_TIMEOUT_MS: String(PING_TIMEOUT) }, (server) => {
  const endpoint = () => new Endpoint(server.url, 3)

  test('the open packet announces the intervals', async () => {
    const socket = endpoint().socket()
    const { pingInterval, pingTimeout } = opening(await socket.next())
    assert.deepEqual([pingInterval, pingTimeout], [PING_INTERVAL, PING_TIMEOUT])
    socket.close()
  })

  test('pings of a polling client are answered', async () => {
    const session = await connect(endpoint())
    for (let beat = 0; beat < 3; beat++) {
      await session.push(encode('2'))
      assert.equal(await session.pull(), encode('3'))
    }
    await session.push(encode('1'))
  })

  test('a polling client that sends no ping is disconnected', async () => {
    const session = await connect(endpoint())
    // Answered when the session ends. The server may read the next request before it has removed the session.
    await session.poll()
    const until = Date.now() + 5000
    let status
    do status = (await session.post(encode('2'))).status
    while (status === 200 && Date.now() < until)
    assert.equal(status, 400)
  })

  test('pings of a WebSocket client are answered', async () => {
    const socket = await connectSocket(endpoint())
    for (let beat = 0; beat < 3; beat++) {
      socket.send('2')
      assert.equal(await socket.next(), '3')
    }
    socket.close()
  })

  test('a WebSocket client that sends no ping is disconnected', async () => {
    const socket = await connectSocket(endpoint())
    await socket.assertClosed()
  })
})

/** A payload of text packets. Lengths count characters. */
function encode(...packets) {
  return packets.map((packet) => `${packet.length}:${packet}`).join('')
}

/** The packets of a payload without binary packets. */
function decode(payload) {
  const packets = []
  for (let rest = payload; rest; ) {
    const colon = rest.indexOf(':')
    const end = colon + 1 + Number(rest.slice(0, colon))
    assert(colon > 0 && end <= rest.length, `not a payload: ${payload}`)
    packets.push(rest.slice(colon + 1, end))
    rest = rest.slice(end)
  }
  return packets
}

/** A polling session that is connected to the main namespace. */
async function connect(endpoint, query = {}) {
  const { text } = await endpoint.request({ EIO: 3, transport: 'polling', ...query })
  const [open, ...more] = decode(text)
  const session = new PollingSession(endpoint, opening(open).sid, query)
  const [connected] = more.length ? more : await pullPackets(session, 1)
  assert.equal(connected, '40')
  return session
}

/** A WebSocket that is connected to the main namespace. */
async function connectSocket(endpoint) {
  const socket = endpoint.socket()
  opening(await socket.next())
  assert.equal(await socket.next(), '40')
  return socket
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
  while (packets.length < count) packets.push(...decode(await session.pull()))
  assert.equal(packets.length, count, packets.join('\n'))
  return packets
}

/** Returns the packets of a session one at a time. */
function packetsOf(session) {
  const waiting = []
  return async () => {
    if (waiting.length === 0) waiting.push(...decode(await session.pull()))
    return waiting.shift()
  }
}
