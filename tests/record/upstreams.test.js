// What a server can be beside plain HTTP, the root namespace and JSON: each is recorded, and the pages hold their call on Parlor.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { FAMILIES } from './families.js'
import { learn, meet } from './meeting.js'
import { Program, parlor, serve } from './support.js'

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

describe('a server with a self-signed certificate', () => {
  let tls

  before(() => {
    const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
    // The oldest kind, which libraries refuse to parse: X.509 version 1, as in many examples.
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
})

for (const client of [2, 4]) {
  test(`a namespace of its own, with a client of version ${client}`, async () => {
    // On Parlor, the `socket.id` of a 2.x client is not the id that others see.
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
