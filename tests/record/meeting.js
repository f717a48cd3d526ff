// A call through the server of a family, and the profile that the recorder learns from it.

import assert from 'node:assert/strict'
import { Page, until } from './page.js'
import { connect, record, serve } from './support.js'

/** A call of two peers, a third that joins, a message to all, and a leave. */
export async function meet(url, family, room) {
  const pages = []
  const story = () => JSON.stringify(pages.map(({ name, calls, chats, gone, seen }) => ({ name, calls: [...calls], chats, gone, seen })))
  const enter = async (name) => {
    const page = new Page(connect(url, family), name, room)
    await until(`the connection of ${name}`, () => page.socket.connected)
    pages.push(page)
    family.open(page)
    return page
  }
  try {
    const ann = await enter('Ann')
    const bo = await enter('Bo')
    await until('the call of two', () => ann.held === 1 && bo.held === 1, story)
    const cy = await enter('Cy')
    await until('the call of three', () => pages.every((page) => page.held === 2), story)
    family.chat(ann, 'hello')
    await until('the chat', () => [bo, cy, ...(family.echoes ? [ann] : [])].every((page) => page.chats.length), story)
    family.leave(bo)
    await until('the leave', () => ann.gone.length === 1 && cy.gone.length === 1, story)
    assert(family.check?.(pages) ?? true, story())
    assert.deepEqual(pages.map(({ chats }) => chats.length), [family.echoes ? 1 : 0, 1, 1], story())
  } finally {
    for (const { socket } of pages) socket.close()
  }
}

/** Records the meeting; returns the summary and the settings that it names. `options` are those of `serve`. */
export async function learn(family, file, { flags = [], ...options } = {}) {
  const server = await serve(family, options)
  const recorder = await record(server.url, '--out', file, '--save-trace', `${file}.trace`, ...flags)
  await meet(recorder.url, family, 'red-7')
  assert.equal(await recorder.end('SIGINT'), 0, recorder.output)
  server.close()
  const summary = recorder.output
  const [, settings] = /^Settings: (.*)$/m.exec(summary)
  const env = Object.fromEntries([...settings.matchAll(/(\w+)='([^']*)'/g)].map(([, name, value]) => [name, value]))
  return { summary, env }
}
