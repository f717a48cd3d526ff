// The browser bundle, which many pages load from the server. The demo's dependencies must be installed.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { REPOSITORY, suite } from '../support.js'

suite('/socket.io/socket.io.js', {}, (server) => {
  test('is the official bundle', async () => {
    const installed = path.join(REPOSITORY, 'client-demo/node_modules/socket.io-client/dist/socket.io.js')
    assert(existsSync(installed), 'client-demo/node_modules is missing: run `npm ci` in client-demo')
    const response = await fetch(`${server.url}/socket.io/socket.io.js`)
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-type'), /javascript/)
    assert.match(await response.text(), /Socket\.IO v4/)
  })
})
