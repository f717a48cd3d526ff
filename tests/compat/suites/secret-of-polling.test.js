// The secret of a polling session, which authorises requests. All data that other clients receive about a victim is tried as a secret,
// before, during and after the victim's upgrade, and none of it may work. Data that only the victim has does work, so that these tests can
// fail.

import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { CELLS, Server, scenarios, suite, within } from '../support.js'

const UNKNOWN = { status: 400, text: '{"code":1,"message":"Session ID unknown"}' }
/** Length of a session id. */
const LENGTH = 16

const polling = (major) => CELLS.find((cell) => cell.major === major && cell.transports?.[0] === 'polling')
const upgrading = (major) => CELLS.find((cell) => cell.major === major && cell.upgrades)
const revision = (major) => (major === 2 ? 3 : 4)

// ------------------------------------------------------------------------------------------------------------ the victim

/**
 * The stages of the victim at the time of the attempts: its client, the step to the stage after its join, and the server's response to a
 * correct secret.
 */
const STAGES = [
  {
    stage: 'on polling',
    cell: polling,
    // A second concurrent poll is answered or refused; it ends the session either way.
    known: { handshake: [101], leave: [200], disconnect: [200], close: [200], poll: [200, 400] },
  },
  {
    stage: 'in the middle of its upgrade',
    cell: (major) => ({ name: `client ${major}, a held upgrade`, major, options: { upgrade: false } }),
    hold: holdUpgrade,
    known: { handshake: [400], leave: [200], disconnect: [200], close: [200], poll: [200] },
  },
  {
    stage: 'after its upgrade',
    cell: upgrading,
    // The session id is not valid any more.
    isForgotten: true,
    known: { handshake: [400], leave: [400], disconnect: [400], close: [400], poll: [400] },
  },
]

/** Starts the upgrade of a polling client without completing it; returns the function that completes it. */
async function holdUpgrade({ engine }) {
  const held = new Promise((resolve) => {
    engine.once('upgrading', (transport) => {
      const send = transport.send.bind(transport)
      transport.send = (packets) => {
        if (packets[0].type !== 'upgrade') return send(packets)
        const upgraded = new Promise((done) => engine.once('upgrade', done))
        resolve(async () => {
          send(packets)
          await within(upgraded, () => 'the upgrade does not end')
        })
      }
    })
  })
  // As the client does itself; the name is private in the newest version.
  ;(engine._probe ?? engine.probe).call(engine, 'websocket')
  return within(held, () => 'the upgrade does not begin')
}

// ------------------------------------------------------------------------------------------------------------- sent messages

/** Returns all texts in a JSON value, including keys. */
function* texts(value) {
  if (typeof value === 'string') yield value
  else if (value && typeof value === 'object') {
    for (const [key, member] of Object.entries(value)) {
      yield key
      yield* texts(member)
    }
  }
}

/** Returns the JSON values anywhere in a frame, a response or a header. */
function* values(frame) {
  for (let start = frame.search(/[[{"]/); start >= 0 && start < frame.length; start++) {
    try {
      yield JSON.parse(frame.slice(start))
      return
    } catch {
      // Not JSON at this position.
    }
  }
}

/** Returns candidates for a session id: each text, each word of it, and their decoded forms. */
function candidates(frames, ids) {
  const found = new Set()
  for (const frame of frames) {
    for (const value of values(frame)) for (const text of texts(value)) found.add(text)
    for (const word of frame.match(/[\w+/=-]{4,}/g) ?? []) found.add(word)
  }
  for (const id of ids) {
    for (let start = 0; start + LENGTH <= id.length; start++) found.add(id.slice(start, start + LENGTH))
  }
  for (const text of [...found].filter((text) => text.length >= 8 && /\d/.test(text))) {
    const bytes = Buffer.from(text)
    const hex = text.replaceAll('-', '')
    const writings = [bytes.toString('base64'), bytes.toString('base64url'), bytes.toString('hex'), hex, hex.toUpperCase()]
    if (/^([0-9a-f]{2})+$/i.test(hex)) {
      const decoded = Buffer.from(hex, 'hex')
      writings.push(decoded.toString('base64'), decoded.toString('base64url'), decoded.subarray(0, 12).toString('base64url'))
    }
    writings.push(bytes.subarray(0, 12).toString('base64url'), Buffer.from(text, 'base64').toString('latin1'))
    for (const writing of [text, ...writings]) {
      found.add(writing)
      found.add(writing.slice(0, LENGTH))
      found.add(writing.slice(-LENGTH))
    }
  }
  found.delete('')
  return found
}

/** Returns the responses of the public routes, with headers. */
async function rest(server, room) {
  const responses = []
  for (const address of ['/health', '/healthz', '/metrics', '/api/rooms', `/api/rooms/${room}`]) {
    const answer = await server.rest('GET', address)
    assert.equal(answer.status, 200, address)
    responses.push(await answer.text(), ...[...answer.headers].map(([name, value]) => `${name}: ${value}`))
  }
  return responses
}

// --------------------------------------------------------------------------------------------------------------- the attempts

const HANDSHAKE = {
  connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}
const PACKETS = { leave: '42["leave-room"]', disconnect: '41', close: '1' }
const ATTEMPTS = ['handshake', ...Object.keys(PACKETS), 'poll']

function request(url, options, body) {
  return new Promise((resolve, reject) => {
    const sent = http.request(url, options, async (response) => {
      try {
        let text = ''
        for await (const chunk of response) text += chunk
        resolve({ status: response.statusCode, text })
      } catch (error) {
        reject(error)
      }
    })
    sent.on('upgrade', ({ statusCode }, socket) => {
      socket.destroy()
      resolve({ status: statusCode, text: '' })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Returns the result of one attempt to use a session id. */
function attempt(server, agent, name, eio, sid) {
  const address = (transport) => `${server.url}/socket.io/?EIO=${eio}&transport=${transport}&sid=${encodeURIComponent(sid)}`
  if (name === 'handshake') return request(address('websocket'), { agent, headers: HANDSHAKE })
  if (name === 'poll') return request(address('polling'), { agent })
  const packet = PACKETS[name]
  const body = eio === 3 ? `${packet.length}:${packet}` : packet
  return request(address('polling'), { agent, method: 'POST', headers: { 'content-type': 'text/plain;charset=UTF-8' } }, body)
}

/** Tries each candidate as a session id, in every way and with both revisions: all must be unknown. Returns the number of attempts. */
async function tryAll(server, sids) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 })
  const attempts = [...sids].flatMap((sid) => [3, 4].flatMap((eio) => ATTEMPTS.map((name) => ({ name, eio, sid }))))
  const queue = attempts[Symbol.iterator]()
  const work = async () => {
    for (const { name, eio, sid } of queue) {
      const answer = await attempt(server, agent, name, eio, sid)
      assert.deepEqual(answer, UNKNOWN, `${name} over Engine.IO ${eio} with ${JSON.stringify(sid)}`)
    }
  }
  try {
    await Promise.all(Array.from({ length: 16 }, work))
  } finally {
    agent.destroy()
  }
  return attempts.length
}

// -------------------------------------------------------------------------------------------------------------- the scenarios

/** A victim and an attacker with each client, in a room; their actions cause all events that describe the victim. */
async function meet({ room, connect }, victim) {
  const attackers = []
  const everyone = [victim]
  const enter = async (peer, details) => {
    await peer.join({ roomId: room, ...details })
    for (const other of everyone) if (other !== peer) await other.next('user-joined')
  }
  await enter(victim, { userId: `victim of ${room}`, name: 'Victim' })
  for (const major of [2, 3, 4]) {
    const attacker = await connect(`attacker ${major}`, upgrading(major))
    await enter(attacker, {})
    attackers.push(attacker)
    everyone.push(attacker)
  }
  for (const attacker of attackers) {
    for (const key of ['targetId', 'target', 'to', 'targetUserId', 'targetSocketId']) {
      for (const id of key === 'targetSocketId' ? [victim.connection] : [victim.id, victim.connection]) {
        await attacker.granted('offer', { [key]: id, offer: 1 })
        await victim.next('offer')
      }
      await victim.granted('answer', { [key]: attacker.connection, answer: 1 })
      await attacker.next('answer')
    }
    for (const target of [victim.session, 'missing']) await attacker.refused('TARGET_NOT_FOUND', 'offer', { targetId: target, offer: 1 })
    attacker.tell('offer', { targetId: `${victim.id}?`, offer: 1 })
    await attacker.next('error')
    // Requests the list again, with the victim in it.
    await attacker.join(room)
  }
  await victim.granted('ice-candidate', { candidate: null })
  for (const attacker of attackers) await attacker.next('ice-candidate')
  return attackers
}

// The delayed upgrade must not time out.
const SETTINGS = { RESUME_SECONDS: '0', MESSAGES_PER_SECOND: '0', HANDSHAKE_TIMEOUT_SECONDS: '120' }

suite('the secret of a polling session', SETTINGS, (server) => {
  for (const { stage, cell, hold, known, isForgotten } of STAGES) {
    for (const major of [2, 3, 4]) {
      describe(`client ${major}, ${stage}`, () => {
        const scenario = scenarios(server)

        scenario('ids that other clients know do not open it', async (world) => {
          const victim = await world.connect('victim', cell(major))
          const attackers = await meet(world, victim)
          const release = await hold?.(victim)
          // A client's knowledge of its own id is not an attack.
          const own = new Set(attackers.map(({ session }) => session))
          const frames = [...attackers.flatMap(({ received }) => received), ...(await rest(server, world.room))]
          assert(frames.some((frame) => frame.includes(victim.connection)), 'the attackers know nothing of the victim')
          const sids = candidates(frames, [victim.id, victim.connection])
          for (const sid of own) sids.delete(sid)
          assert(!sids.has(victim.session), 'the attackers know the secret itself')
          const count = await tryAll(server, sids)
          assert(count > 1_000, `only ${count} attempts`)

          // The victim is still in the room, and sends and receives.
          const { participants } = await (await server.rest('GET', `/api/rooms/${world.room}`)).json()
          assert(participants.includes(victim.id))
          for (const attacker of attackers) await attacker.granted('offer', { targetId: victim.id, offer: 2 })
          await release?.()
          for (const { id } of attackers) assert.equal((await victim.next('offer')).from, id)
          await victim.granted('ice-candidate', { candidate: 'still here' })
          for (const attacker of attackers) assert.equal((await attacker.next('ice-candidate')).candidate, 'still here')
          for (const peer of [victim, ...attackers]) await peer.quiet()
        })

        for (const name of ATTEMPTS) {
          scenario(`the session id itself gives access: ${name}`, async ({ room, connect, members }) => {
            const victim = await connect('victim', cell(major))
            const [bob] = await members({ userId: 'bob' })
            await victim.join(room)
            await bob.next('user-joined')
            const release = await hold?.(victim)
            const answer = await attempt(server, undefined, name, revision(major), victim.session)
            assert(known[name].includes(answer.status), JSON.stringify(answer))
            assert.equal(answer.text === UNKNOWN.text, isForgotten === true)
            const reason = { leave: 'left', disconnect: 'disconnected', close: 'disconnected' }[name]
            if (answer.status === 200 && reason) {
              assert.equal((await bob.next('user-left')).reason, reason)
              if (name === 'leave') await release?.()
              victim.close()
            } else {
              // A client that is asked to close during its upgrade completes the upgrade first.
              await release?.()
              victim.close()
              await bob.next('user-left')
            }
          })
        }
      })
    }
  }

  for (const eio of [3, 4]) {
    scenarios(server)(`with the secret itself one reads what its owner is sent, over Engine.IO ${eio}`, async ({ room, members }) => {
      const address = `${server.url}/socket.io/?EIO=${eio}&transport=polling`
      const sid = /"sid":"([^"]+)"/.exec((await request(address, {})).text)[1]
      const post = async (packet) => {
        const body = eio === 3 ? `${packet.length}:${packet}` : packet
        assert.equal((await request(`${address}&sid=${sid}`, { method: 'POST' }, body)).status, 200)
      }
      const readUntil = async (poll, expected) => {
        for (let read = ''; !read.includes(expected);) {
          const answer = await poll()
          assert.equal(answer.status, 200, `${answer.text} while waiting for ${expected}`)
          read += answer.text
        }
      }
      const ownPoll = () => request(`${address}&sid=${sid}`, {})
      // Like every client, it sends nothing before the response to the CONNECT.
      if (eio === 4) await post('40')
      await readUntil(ownPoll, '40')
      await post(`42["join-room",${JSON.stringify(room)},"owner"]`)
      await readUntil(ownPoll, 'room-users')
      const [bob] = await members({ userId: 'bob' })
      await bob.granted('offer', { targetId: 'owner', offer: 'for the owner alone' })
      await readUntil(() => attempt(server, undefined, 'poll', eio, sid), 'for the owner alone')
      await attempt(server, undefined, 'close', eio, sid)
      await bob.next('user-left')
    })
  }
})

describe('the log', () => {
  const server = new Server({ ...SETTINGS, LOG_LEVEL: 'trace' })
  /** Session ids, each with the connection id in the log of its owner. */
  const secrets = new Map()
  let stopped
  const stop = () => (stopped ??= server.stop())
  before(() => server.start())
  after(stop)

  for (const cell of CELLS) {
    scenarios(server)(`is written of ${cell.name}`, async (world) => {
      const victim = await world.connect('victim', cell)
      const attackers = await meet(world, victim)
      for (const peer of [victim, ...attackers]) secrets.set(peer.session, peer.connection)
      // Refused requests may be logged, too; some of them end a polling session.
      for (const name of ATTEMPTS) await attempt(server, undefined, name, revision(cell.major), victim.session)
      victim.close()
      for (const attacker of attackers) await attacker.next('user-left')
    })
  }

  test('has no session id', async () => {
    await stop()
    assert(server.output.includes(' DEBUG '), 'the log is not as talkative as it can be')
    assert.equal(secrets.size, CELLS.length * 4)
    const lines = server.output.split('\n')
    for (const [secret, connection] of secrets) {
      assert(server.output.includes(connection), 'nothing is logged of the owner')
      assert.equal(lines.find((line) => line.includes(secret)), undefined)
    }
  })
})
