// Each family: one call of two and a third that joins, recorded through its own server; then the same pages hold the same call
// on Parlor with the profile that was learned.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, test } from 'node:test'
import { FAMILIES } from './families.js'
import { learn, meet } from './meeting.js'
import { Page, until } from './page.js'
import { Program, connect, parlor, record, serve } from './support.js'

const folder = mkdtempSync(path.join(tmpdir(), 'parlor-record-'))
after(() => rmSync(folder, { recursive: true }))

for (const family of FAMILIES) {
  test(`the pages of "${family.name}" complete their call on Parlor`, async () => {
    const file = path.join(folder, `${family.name.replaceAll(' ', '-')}.toml`)
    const { summary, env } = await learn(family, file)
    const [, reproduced, expected] = /(\d+) of (\d+) server events reproduced, the call connects/.exec(summary) ?? []
    assert(Number(expected) > 10 && reproduced === expected, summary)
    assert.match(readFileSync(file, 'utf8'), /^# \d+ of \d+ server events reproduced, the call connects/)

    const server = await parlor(env)
    // Another room, so that the profile must not contain the recorded one.
    await meet(server.url, family, 'blue-9')
    assert.equal(await server.end('SIGTERM'), 0, server.output)

    // The trace has placeholders only, and the same rules follow from it.
    const trace = readFileSync(`${file}.trace`, 'utf8')
    for (const secret of ['red-7', 'Ann', 'hello', 'v=0\\r\\n']) assert(!trace.includes(secret), secret)
    const again = new Program(['profile', 'infer', `${file}.trace`])
    assert.equal(await again.ended, 0, again.output)
    const rules = (text) => text.split('\n').filter((line) => !line.startsWith('#') && !/^(name|about) = /.test(line)).join('\n').trim()
    assert.equal(rules(again.output), rules(readFileSync(file, 'utf8')))
  })
}

describe('invalid input causes a one-line error, and no file is written', () => {
  const out = path.join(folder, 'none.toml')

  async function fails(program, pattern) {
    assert.equal(await program.ended, 1, program.output)
    const lines = program.output.trim().split('\n').filter((line) => line.startsWith('parlor: '))
    assert.equal(lines.length, 1, program.output)
    assert.match(lines[0], pattern)
    assert(!existsSync(out))
  }

  test('an upstream that is down', async () => {
    const program = new Program(['profile', 'record', '--upstream', 'http://127.0.0.1:9', '--port', '0', '--out', out])
    await fails(program, /cannot be reached: .*refused/)
  })

  test('an upstream that is not a Socket.IO server', async () => {
    const server = createServer((_, response) => response.writeHead(404).end())
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    const recorder = await record(`http://127.0.0.1:${server.address().port}`, '--out', out)
    assert.equal((await fetch(`${recorder.url}/socket.io/?EIO=4&transport=polling`)).status, 404)
    recorder.child.kill('SIGINT')
    await fails(recorder, /no Socket.IO connection came through/)
    server.close()
  })

  test('an upstream that ends in the middle', async () => {
    const family = FAMILIES[1]
    const server = await serve(family)
    const recorder = await record(server.url, '--out', out)
    const page = new Page(connect(recorder.url, family), 'Ann', 'red')
    await until('the connection', () => page.socket.connected)
    family.open(page)
    await until('the join', () => page.seen.entered)
    server.close()
    await until('the end of the connection', () => !page.socket.connected)
    await fetch(recorder.url)
    await fails(recorder, /ended during the recording .*nothing was written/)
    page.socket.close()
  })

  test('a trace of one client only', async () => {
    const family = FAMILIES[1]
    const server = await serve(family)
    const recorder = await record(server.url, '--out', out)
    const page = new Page(connect(recorder.url, family), 'Ann', 'red')
    await until('the connection', () => page.socket.connected)
    family.open(page)
    await until('the join', () => page.seen.entered)
    recorder.child.kill('SIGINT')
    await fails(recorder, /only one client was seen/)
    page.socket.close()
    server.close()
  })

  test('a file that is not a trace', async () => {
    await fails(new Program(['profile', 'infer', path.join(import.meta.dirname, 'package.json')]), /not a trace/)
  })
})
