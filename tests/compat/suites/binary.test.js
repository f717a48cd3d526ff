// Application events with binary arguments, from each client to each other over each transport.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { Endpoint, RawSocket, opening } from '../raw.js'
import { CELLS, scenarios, suite, within } from '../support.js'

const FILE = Buffer.from([0, 1, 2, 0xfe, 0xff])
const THUMBNAIL = Buffer.alloc(300, 7)

/** Returns the client's next event of this name. */
function nextEvent(peer, event) {
  return within(new Promise((resolve) => peer.socket.once(event, (...args) => resolve(args))), () => `${peer.name} waits for ${event}`)
}

suite('binary events', {}, (server) => {
  for (const cell of CELLS) {
    describe(cell.name, () => {
      const scenario = scenarios(server, cell)

      scenario('reach clients of every version', async ({ room, connect }) => {
        const sender = await connect('sender')
        await sender.join({ roomId: room, userId: 'sender' })
        const receivers = []
        for (const on of CELLS.filter(({ transports }) => transports)) {
          const receiver = await connect('receiver', on)
          await receiver.join({ roomId: room })
          for (const earlier of [sender, ...receivers]) await earlier.next('user-joined')
          receivers.push(receiver)
        }
        const arrivals = receivers.map((receiver) => nextEvent(receiver, 'file'))
        assert.deepEqual(await sender.ask('file', { name: 'a.bin', data: FILE, thumbnails: [THUMBNAIL] }), { ok: true, success: true })
        for (const [event] of await Promise.all(arrivals)) {
          assert.equal(event.name, 'a.bin')
          assert.equal(event.from, 'sender')
          assert.deepEqual(Buffer.from(event.data), FILE)
          assert.deepEqual(event.thumbnails.map((bytes) => Buffer.from(bytes)), [THUMBNAIL])
        }
      })

      scenario('with an attachment as first argument are relayed unchanged', async ({ room, connect }) => {
        const [sender, receiver] = [await connect('sender'), await connect('receiver')]
        await receiver.join({ roomId: room, userId: 'receiver' })
        await sender.join({ roomId: room, userId: 'sender' })
        await receiver.next('user-joined')
        const arrival = nextEvent(receiver, 'chunk')
        sender.tell('chunk', FILE, 'a.bin', THUMBNAIL)
        const [first, name, last] = await arrival
        assert.deepEqual([Buffer.from(first), name, Buffer.from(last)], [FILE, 'a.bin', THUMBNAIL])
      })
    })
  }

  const scenario = scenarios(server)

  scenario('are sent again to a client that resumes its session', async ({ room, connect }) => {
    const endpoint = new Endpoint(server.url, 4)
    const dropped = endpoint.socket()
    opening(await dropped.next())
    dropped.send('40')
    const { sid, pid } = JSON.parse((await dropped.next()).slice(2))
    dropped.send(`420["join-room","${room}"]`)
    let offset
    for (let packet = ''; !packet.startsWith('430['); packet = await dropped.next()) {
      offset = /^42\["([\da-f]+-\d+)"\]$/.exec(packet)?.[1] ?? offset
    }
    const sender = await connect('sender')
    await sender.join({ roomId: room, userId: 'sender' })
    dropped.drop()
    await sender.next('user-away')
    await sender.granted('chunk', 'a.bin', FILE)

    const resumed = endpoint.socket()
    opening(await resumed.next())
    resumed.send(`40${JSON.stringify({ pid, offset })}`)
    assert.equal(JSON.parse((await resumed.next()).slice(2)).sid, sid)
    let packet = await resumed.next()
    while (!packet.startsWith('451-')) packet = await resumed.next()
    assert.equal(packet, '451-["chunk","a.bin",{"_placeholder":true,"num":0}]')
    assert.deepEqual(await resumed.next(), FILE)
    await sender.next('user-back')
    resumed.send('41')
    await sender.next('user-left')
    resumed.close()
  })

  scenario('do not reach clients of protocols without binary frames', async ({ room, connect }) => {
    const plain = new RawSocket(`${server.url.replace('http', 'ws')}/ws`)
    await plain.next()
    plain.send(JSON.stringify({ type: 'room:join', payload: { roomId: room }, timestamp: Date.now() }))
    await plain.next()
    const sender = await connect('sender')
    await sender.join({ roomId: room, userId: 'sender' })
    await sender.refused('TARGET_NOT_FOUND', 'chunk', FILE)
    plain.close()
    await sender.next('user-left')
  })
})
