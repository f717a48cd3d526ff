// Tests of a selection of the matrix.

import assert from 'node:assert/strict'
import test, { after, afterEach, before } from 'node:test'
import { callOfTwo, exchange } from './matrix.js'
import { Server } from './server.js'

const title = ({ client, handlerName }) => `${client}, ${handlerName}`

export function runMatrix(cells) {
  let server

  before(async () => { server = await Server.start() })
  after(async () => {
    const { code } = await server.stop()
    assert.equal(code, 0, 'the server ends as it should')
    // @roamhq/wrtc crashes where Node takes down its environment after tracks were made, and not where the process exits.
    process.once('beforeExit', () => process.exit())
  })
  afterEach(() => server.isEmpty())

  for (const cell of cells) test(`call of two with ${title(cell)}`, () => callOfTwo(server.url, cell))

  // Each with the one that is farthest from it.
  for (const [index, cell] of cells.slice(0, cells.length / 2).entries()) {
    const other = cells.at(-1 - index)
    test(`exchange of ${title(cell)} and ${title(other)}`, () => exchange(server.url, [cell, other]))
  }
}
