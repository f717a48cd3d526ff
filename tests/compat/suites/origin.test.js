// Origins: CORS for requests that browsers check, and the same list for those that they do not check.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import { describe, test } from 'node:test'
import { suite } from '../support.js'

const LISTED = ['https://app.example', 'http://localhost:5173']
const FOREIGN = ['https://evil.example', 'https://app.example.evil.example', 'http://app.example', 'https://app.example:8443', 'null']
const POLLING = { 3: '/socket.io/?EIO=3&transport=polling', 4: '/socket.io/?EIO=4&transport=polling' }
const HANDSHAKE = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' }

/** Sends one request with exactly these headers over a connection of its own; an upgraded connection is closed at once. */
function request(server, method, path, headers = {}, body) {
  return new Promise((resolve, reject) => {
    const sent = http.request(server.url + path, { method, headers, agent: false }, async (response) => {
      let text = ''
      for await (const chunk of response) text += chunk
      resolve({ status: response.statusCode, headers: response.headers, text })
    })
    sent.on('upgrade', (response, socket) => {
      socket.destroy()
      resolve({ status: response.statusCode, headers: response.headers, text: '' })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

const withOrigin = (origin) => (origin ? { origin } : {})
const upgrade = (server, origin, version) => request(server, 'GET', `/socket.io/?EIO=${version}&transport=websocket`, {
  ...HANDSHAKE, 'sec-websocket-key': randomBytes(16).toString('base64'), ...withOrigin(origin),
})

async function opened(server, origin, version) {
  const answer = await request(server, 'GET', POLLING[version], withOrigin(origin))
  assert.equal(answer.status, 200, answer.text)
  const { sid } = JSON.parse(answer.text.slice(answer.text.indexOf('{'), answer.text.lastIndexOf('}') + 1))
  return { answer, address: `${POLLING[version]}&sid=${sid}` }
}

/** The close packet of Engine.IO, in the framing of that version. */
async function closed(server, address, version) {
  const answer = await request(server, 'POST', address, { 'content-type': 'text/plain;charset=UTF-8' }, version === 3 ? '1:1' : '1')
  assert.equal(answer.status, 200)
}

function assertReflected({ headers }, origin) {
  assert.equal(headers['access-control-allow-origin'], origin)
  assert.equal(headers['access-control-allow-credentials'], 'true')
  assert.match(headers.vary ?? '', /origin/i)
}

function assertNotReflected({ headers }) {
  assert.equal(headers['access-control-allow-origin'], undefined)
}

function preflight(server, path, origin, method = 'POST') {
  return request(server, 'OPTIONS', path, {
    origin, 'access-control-request-method': method, 'access-control-request-headers': 'content-type',
  })
}

suite('Origin', { CLIENT_URL: LISTED.join(',') }, (server) => {
  for (const version of [3, 4]) {
    describe(`Engine.IO ${version}`, () => {
      for (const origin of LISTED) {
        test(`${origin} is listed: reflected on polling, admitted on WebSocket`, async () => {
          const { answer, address } = await opened(server, origin, version)
          assertReflected(answer, origin)
          await closed(server, address, version)
          assert.equal((await upgrade(server, origin, version)).status, 101)
        })
      }

      for (const origin of FOREIGN) {
        test(`${origin} is foreign: 403 on polling and on the WebSocket handshake`, async () => {
          for (const answer of [
            await request(server, 'GET', POLLING[version], { origin }),
            await request(server, 'POST', POLLING[version], { origin }, '2'),
            await upgrade(server, origin, version),
          ]) {
            assert.equal(answer.status, 403)
            assertNotReflected(answer)
            const { code, error } = JSON.parse(answer.text)
            assert.deepEqual([typeof code, typeof error], ['string', 'string'])
          }
        })
      }

      test('a foreign page cannot use an open session', async () => {
        const { address } = await opened(server, undefined, version)
        for (const method of ['GET', 'POST']) {
          assert.equal((await request(server, method, address, { origin: FOREIGN[0] }, method === 'POST' ? '2' : undefined)).status, 403)
        }
        await closed(server, address, version)
      })

      test('none, as from a native client: admitted, and nothing is reflected', async () => {
        const { answer, address } = await opened(server, undefined, version)
        assertNotReflected(answer)
        await closed(server, address, version)
        assert.equal((await upgrade(server, undefined, version)).status, 101)
      })

      test("the server's own: admitted", async () => {
        const { address } = await opened(server, server.url, version)
        await closed(server, address, version)
        assert.equal((await upgrade(server, server.url, version)).status, 101)
      })
    })
  }

  test('a preflight is answered', async () => {
    for (const [path, method] of [[POLLING[4], 'POST'], [POLLING[3], 'GET'], ['/api/rooms', 'POST'], ['/api/rooms/a', 'DELETE']]) {
      const answer = await preflight(server, path, LISTED[0], method)
      assert([200, 204].includes(answer.status), `${path}: ${answer.status}`)
      assertReflected(answer, LISTED[0])
      assert.match(answer.headers['access-control-allow-methods'], new RegExp(method))
      assert.match(answer.headers['access-control-allow-headers'], /content-type/i)
    }
  })

  test('a preflight of a foreign page allows it nothing', async () => {
    for (const path of [POLLING[4], '/api/rooms']) {
      assertNotReflected(await preflight(server, path, FOREIGN[0]))
    }
  })

  test('REST: reflected where listed, not where foreign', async () => {
    for (const path of ['/health', '/api/rooms', '/api/rooms/none', '/no/such/path']) {
      assertReflected(await request(server, 'GET', path, { origin: LISTED[1] }), LISTED[1])
      assertNotReflected(await request(server, 'GET', path, { origin: FOREIGN[0] }))
    }
  })
})

suite('Origin with CLIENT_URL=*', { CLIENT_URL: '*' }, (server) => {
  test('every origin is reflected, never a literal *', async () => {
    for (const origin of ['https://any.example', 'http://localhost:1']) {
      const { answer, address } = await opened(server, origin, 4)
      assertReflected(answer, origin)
      await closed(server, address, 4)
      assert.equal((await upgrade(server, origin, 4)).status, 101)
      assertReflected(await preflight(server, POLLING[4], origin), origin)
      assertReflected(await request(server, 'GET', '/api/rooms', { origin }), origin)
    }
  })
})

suite('Origin by default, in development', {}, (server) => {
  test('every origin of this machine is allowed, others are not', async () => {
    for (const origin of ['http://localhost:3000', 'http://localhost:5173', 'http://127.0.0.1:8080', 'http://[::1]:3000', 'https://localhost']) {
      assertReflected(await request(server, 'GET', '/health', { origin }), origin)
      assert.equal((await upgrade(server, origin, 4)).status, 101)
    }
    assert.equal((await upgrade(server, 'http://192.168.0.7:3000', 4)).status, 403)
  })
})

suite('Origin by default, in production', { NODE_ENV: 'production', SFU: 'off' }, (server) => {
  test('http://localhost:3000 is allowed, others are not', async () => {
    assert.equal((await upgrade(server, 'http://localhost:3000', 4)).status, 101)
    assert.equal((await upgrade(server, 'http://localhost:3001', 4)).status, 403)
  })
})
