// The browser bundles, which many pages load from the server. They are committed; the demo's dependencies must be installed for comparison.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { REPOSITORY, suite } from '../support.js'

suite('/socket.io/socket.io.js', {}, (server) => {
  test('is the official bundle', async () => {
    const response = await fetch(`${server.url}/socket.io/socket.io.js`)
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-type'), /javascript/)
    assert.match(await response.text(), /Socket\.IO v4/)
  })

  test('the committed bundles are those of the installed packages', () => {
    assert(existsSync(path.join(REPOSITORY, 'client-demo/node_modules')), 'run `npm ci` in client-demo')
    execFileSync(process.execPath, [path.join(REPOSITORY, 'scripts/vendor.mjs'), '--check'], { encoding: 'utf8' })
  })
})
