// Unmodified clients over long-polling, through a load balancer that sends each request to the next of two nodes. Needs redis-server.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import http from 'node:http'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import io2 from 'socket.io-client-2'
import { io as io3 } from 'socket.io-client-3'
import { io as io4 } from 'socket.io-client-4'
import { Server, within } from '../support.js'

const SIGNALS = 50
const isMissing = spawnSync('redis-server', ['--version']).error !== undefined
assert(!(isMissing && process.env.CI), 'redis-server is installed: apt-get install redis-server')

/** A port that is free now. */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address()
  await new Promise((done) => server.close(done))
  return port
}

/** Sends each request to the next of the servers, upgrades included. */
async function balancer(servers) {
  let turn = 0
  const counts = servers.map(() => 0)
  const next = () => {
    const index = turn++ % servers.length
    counts[index]++
    return new URL(servers[index].url)
  }
  const sockets = new Set()
  const proxy = http.createServer((request, response) => {
    const { hostname, port } = next()
    const { method, url: path, headers } = request
    const forwarded = http.request({ agent: false, hostname, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
    })
    forwarded.on('error', () => response.destroy())
    response.on('close', () => forwarded.destroy())
    request.pipe(forwarded)
  })
  proxy.on('connection', (socket) => sockets.add(socket))
  proxy.on('upgrade', (request, near) => {
    const { hostname, port } = next()
    const far = net.connect(Number(port), hostname, () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`]
      for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`)
      far.write(`${lines.join('\r\n')}\r\n\r\n`)
      near.pipe(far).pipe(near)
    })
    for (const [end, other] of [[near, far], [far, near]]) end.on('error', () => other.destroy()).on('close', () => other.destroy())
  })
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    counts,
    close: () => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
    },
  }
}

const next = (socket, event) => within(new Promise((done) => socket.once(event, done)), () => event)

describe('clients behind a balancer without affinity', { skip: isMissing && 'redis-server is not installed' }, () => {
  let redis, servers, line
  before(async () => {
    const port = await freePort()
    redis = spawn('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: 'ignore' })
    process.once('exit', () => redis.kill('SIGKILL'))
    servers = ['one', 'two'].map((name) => new Server({ CLUSTER_URL: `redis://127.0.0.1:${port}`, CLUSTER_NODE: name, RESUME_SECONDS: '0' }))
    await Promise.all(servers.map((server) => server.start()))
    for (const server of servers) {
      await within(
        (async () => {
          while ((await (await fetch(`${server.url}/health`)).json()).cluster.nodes < 2) await new Promise((done) => setTimeout(done, 20))
        })(),
        () => 'both nodes know each other',
      )
    }
    line = await balancer(servers)
  })
  after(async () => {
    line?.close()
    for (const server of servers ?? []) await server.stop()
    redis?.kill()
  })

  for (const [major, io] of [[2, io2], [3, io3], [4, io4]]) {
    for (const transports of [['polling'], ['polling', 'websocket']]) {
      test(`client ${major} over ${transports.join(', then ')} calls another`, async () => {
        const options = { transports, forceNew: true, reconnection: false }
        const [alice, bob] = [io(line.url, options), io(line.url, options)]
        const room = `${major} ${transports}`
        try {
          await Promise.all([next(alice, 'connect'), next(bob, 'connect')])
          alice.emit('join-room', { roomId: room, userId: 'alice' })
          await next(alice, 'room-users')
          const joined = next(alice, 'user-joined')
          bob.emit('join-room', { roomId: room, userId: 'bob' })
          assert.equal((await joined).userId, 'bob')
          const received = { alice: [], bob: [] }
          const done = Promise.all(
            [[alice, 'alice'], [bob, 'bob']].map(
              ([socket, name]) =>
                new Promise((resolve) => {
                  socket.on('ice-candidate', ({ candidate }) => {
                    received[name].push(candidate)
                    if (received[name].length === SIGNALS) resolve()
                  })
                }),
            ),
          )
          for (let number = 0; number < SIGNALS; number++) {
            alice.emit('ice-candidate', { roomId: room, targetId: 'bob', candidate: `${number}` })
            bob.emit('ice-candidate', { roomId: room, targetId: 'alice', candidate: `${number}` })
            await new Promise((resolve) => setTimeout(resolve, 4))
          }
          await within(done, () => JSON.stringify(received))
          const all = Array.from({ length: SIGNALS }, (_, number) => `${number}`)
          assert.deepEqual(received, { alice: all, bob: all })
          if (transports.length > 1) {
            await within(
              (async () => {
                while (alice.io.engine.transport.name !== 'websocket') await new Promise((resolve) => setTimeout(resolve, 20))
              })(),
              () => 'the upgrade through the other node',
            )
          }
        } finally {
          alice.disconnect()
          bob.disconnect()
        }
      })
    }
  }

  test('requests reach both nodes', () => {
    assert(Math.min(...line.counts) > 50, `${line.counts}`)
  })
})
