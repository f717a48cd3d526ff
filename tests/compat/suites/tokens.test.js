// Tokens of the official clients: `auth.token` from 3.x on, the query for 2.x.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import io2 from 'socket.io-client-2'
import { io as io3 } from 'socket.io-client-3'
import { io as io4 } from 'socket.io-client-4'
import { suite, within } from '../support.js'

const SECRET = 'thirty-two bytes are the least of it'
const part = (value) => Buffer.from(value).toString('base64url')

function token(sub, seconds = 3600, secret = SECRET) {
  const head = part(JSON.stringify({ alg: 'HS256', typ: 'JWT' }))
  const signed = `${head}.${part(JSON.stringify({ sub, exp: Date.now() / 1000 + seconds }))}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

/** Each client that can send a token, with each transport. */
const CLIENTS = [
  ['client 4', io4, (jwt) => ({ auth: { token: jwt } })],
  ['client 3', io3, (jwt) => ({ auth: { token: jwt } })],
  ['client 4, by its query', io4, (jwt) => ({ query: { token: jwt } })],
  ['client 2, by its query', io2, (jwt) => ({ query: { token: jwt } })],
].flatMap(([name, io, options]) =>
  ['polling', 'websocket'].map((transport) => [
    `${name}, ${transport}`,
    (url, jwt) => io(url, { forceNew: true, reconnection: false, transports: [transport], ...options(jwt) }),
  ]))

const nextOf = (socket, ...events) =>
  within(
    new Promise((resolve) => events.forEach((event) => socket.once(event, (...args) => resolve(args)))),
    () => `no ${events}`,
  )
const ask = (socket, event, ...args) =>
  within(new Promise((resolve) => socket.emit(event, ...args, resolve)), () => `no acknowledgement of ${event}`)

suite('tokens', { JWT_SECRET: SECRET }, (server) => {
  for (const [name, connect] of CLIENTS) {
    test(`${name}: a valid token admits its subject`, async () => {
      const socket = connect(server.url, token('ann'))
      await nextOf(socket, 'connect')
      const refused = await ask(socket, 'join-room', { roomId: name, userId: 'bob' })
      assert.equal(refused.code, 'FORBIDDEN')
      const joined = await ask(socket, 'join-room', { roomId: name })
      assert.deepEqual([joined.ok, joined.userId], [true, 'ann'])
      assert.deepEqual(await ask(socket, 'auth', { token: token('ann') }), { ok: true, success: true })
      assert.equal((await ask(socket, 'auth', { token: token('bob') })).code, 'FORBIDDEN')
      socket.disconnect()
      await server.idle()
    })

    test(`${name}: an invalid token causes a connect_error that begins with the code`, async () => {
      const socket = connect(server.url, token('ann', 3600, 'another secret'))
      // The oldest clients have one event for all errors.
      const [error] = await nextOf(socket, 'connect_error', 'error')
      assert.equal(error.message, 'UNAUTHORIZED: a valid token is required')
      assert.equal(socket.connected, false)
      socket.disconnect()
      await server.idle()
    })
  }

  test('client 4 gets the reason of its disconnection, and reconnects with a newer token', async () => {
    let seconds = 1
    const auth = (give) => give({ token: token('ann', seconds) })
    const socket = io4(server.url, { forceNew: true, transports: ['websocket'], reconnectionDelay: 50, auth })
    await nextOf(socket, 'connect')
    const [[error]] = await Promise.all([nextOf(socket, 'error'), nextOf(socket, 'disconnect')])
    assert.equal(error.code, 'UNAUTHORIZED')
    seconds = 3600
    await nextOf(socket, 'connect')
    assert.equal((await ask(socket, 'join-room', 'again')).userId, 'ann')
    socket.disconnect()
    await server.idle()
  })
})
