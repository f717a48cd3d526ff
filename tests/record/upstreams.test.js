// Servers with TLS, namespaces or binary attachments, and slow ones: each is recorded, and its pages complete their call on Parlor.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect as connectTo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { FAMILIES } from './families.js'
import { learn, meet } from './meeting.js'
import { until } from './page.js'
import { Program, connect, parlor, record, serve } from './support.js'

const folder = mkdtempSync(path.join(tmpdir(), 'parlor-upstreams-'))
after(() => rmSync(folder, { recursive: true }))

const OBJECTS = FAMILIES.find(({ name }) => name === 'objects')

/** Records a call through the server and holds it again on Parlor; returns the summary. */
async function learnAndMeet(family, file, options) {
  const { summary, env } = await learn(family, file, options)
  const [, reproduced, expected] = /(\d+) of (\d+) server events reproduced, the call connects/.exec(summary) ?? []
  assert(Number(expected) > 10 && reproduced === expected, summary)
  const server = await parlor(env)
  await meet(server.url, family, 'blue-9')
  assert.equal(await server.end('SIGTERM'), 0, server.output)
  return summary
}

/** A TCP proxy in front of a server; `holdNext` resolves when the next connection is opened, which forwards nothing until it is released. */
async function slowLine(url) {
  const { hostname, port, protocol } = new URL(url)
  let next
  let made = 0
  const line = createServer((client) => {
    made += 1
    const server = connectTo(port, hostname)
    const ends = [client, server]
    for (const end of ends) end.on('error', () => ends.forEach((other) => other.destroy()))
    const pass = () => client.pipe(server).pipe(client)
    if (next) {
      next(pass)
      next = undefined
    } else pass()
  })
  await new Promise((resolve) => line.listen(0, '127.0.0.1', resolve))
  return {
    url: `${protocol}//127.0.0.1:${line.address().port}`,
    made: () => made,
    holdNext: () => new Promise((resolve) => (next = resolve)),
    close: () => line.close(),
  }
}

describe('a server with a self-signed certificate', () => {
  let tls

  before(() => {
    const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
    // The oldest kind of certificate, which libraries refuse to parse: X.509 version 1, as in many examples.
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'key.pem', '-subj', '/CN=localhost', '-out', 'request.pem')
    openssl('x509', '-req', '-in', 'request.pem', '-signkey', 'key.pem', '-days', '2', '-out', 'certificate.pem')
    tls = { key: readFileSync(path.join(folder, 'key.pem')), cert: readFileSync(path.join(folder, 'certificate.pem')) }
  })

  test('is refused without --insecure', async () => {
    const out = path.join(folder, 'none.toml')
    const server = await serve(OBJECTS, { tls })
    const program = new Program(['profile', 'record', '--upstream', server.url, '--port', '0', '--out', out])
    assert.equal(await program.ended, 1, program.output)
    assert.match(program.output, /^parlor: the server at https:\S+ cannot be reached: .*certificate/)
    assert(!existsSync(out))
    server.close()
  })

  test('is recorded with --insecure', async () => {
    await learnAndMeet(OBJECTS, path.join(folder, 'tls.toml'), { tls, flags: ['--insecure'] })
  })

  test('sees two joins in the order of the recording when connecting for the first takes long', async () => {
    const server = await serve(OBJECTS, { tls })
    const line = await slowLine(server.url)
    const out = path.join(folder, 'order.toml')
    const recorder = await record(line.url, '--out', out, '--insecure')
    const before = line.made()
    const polling = { ...OBJECTS, transports: ['polling'] }
    const entered = (socket) => new Promise((resolve) => socket.once('room:entered', ({ peers }) => resolve(peers)))
    const join = (socket, displayName) => socket.emit('room:enter', { roomName: 'red-7', displayName })
    const [ann, bo] = [connect(recorder.url, polling), connect(recorder.url, polling)]
    try {
      await Promise.all([once(ann, 'connect'), once(bo, 'connect')])
      // Each client opened four connections: for the handshake, the CONNECT, the poll with its response, and a pending poll.
      await until('the waiting polls', () => line.made() === before + 8, line.made)
      const lists = [entered(ann), entered(bo)]
      const held = line.holdNext()
      join(ann, 'Ann')
      const release = await held
      join(bo, 'Bo')
      assert.deepEqual(await lists[1], [])
      release()
      assert.deepEqual(await lists[0], [{ socketId: bo.id, displayName: 'Bo' }])
      // The recording also has Bo's join first: otherwise no rule would explain Ann's list.
      for (const [from, to, event] of [[ann, bo, 'rtc:offer'], [bo, ann, 'rtc:answer']]) {
        const got = once(to, event)
        const body = { type: event.slice(4), sdp: 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n' }
        from.emit(event, { to: to.id, [event.slice(4)]: body })
        await got
      }
    } finally {
      ann.close()
      bo.close()
    }
    assert.equal(await recorder.end('SIGINT'), 0, recorder.output)
    const [, reproduced, expected] = /(\d+) of (\d+) server events reproduced/.exec(recorder.output) ?? []
    assert(Number(expected) >= 5 && reproduced === expected, recorder.output)
    assert.match(readFileSync(out, 'utf8'), /peers = "\$peers"/)
    line.close()
    server.close()
  })
})

for (const client of [2, 4]) {
  test(`a namespace of its own, with a client of version ${client}`, async () => {
    // On Parlor, the `socket.id` of a 2.x client differs from the id that others see.
    const check = client === 2 ? (pages) => pages.every(({ seen }) => 'entered' in seen) : OBJECTS.check
    await learnAndMeet({ ...OBJECTS, client, namespace: '/meet', check }, path.join(folder, `namespace-${client}.toml`))
  })
}

for (const [client, transports] of [[4, ['websocket']], [4, ['polling']], [2, ['websocket']], [2, ['polling']]]) {
  test(`binary attachments over ${transports}, with a client of version ${client}`, async () => {
    const file = Buffer.from([0, 255, 128, 7])
    const family = {
      ...OBJECTS,
      client,
      transports,
      serve(io) {
        OBJECTS.serve(io)
        const rooms = new WeakMap()
        io.on('connection', (socket) => {
          socket.on('room:enter', ({ roomName }) => rooms.set(socket, roomName))
          socket.on('file:send', (name, bytes) => socket.to(rooms.get(socket)).emit('file:send', name, bytes))
        })
      },
      open(page) {
        page.socket.on('file:send', (name, bytes) => (page.seen.file = Buffer.from(bytes).equals(file) && name === 'dot.png'))
        OBJECTS.open(page)
      },
      chat(page, text) {
        page.socket.emit('file:send', 'dot.png', file)
        OBJECTS.chat(page, text)
      },
      check: ([ann, bo, cy]) => bo.seen.file && cy.seen.file && !('file' in ann.seen),
    }
    await learnAndMeet(family, path.join(folder, `binary-${client}-${transports}.toml`))
  })
}
