// pymediasoup with aiortc, in a call with mediasoup-client in Node: each decodes the colour and the tone of the other.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test, { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Member } from './support/member.js'
import { COLOURS, TONES } from './support/picture.js'
import { Server } from './support/server.js'
import { within } from './support/within.js'

const SCRIPTS = fileURLToPath(new URL('python/', import.meta.url))
/** Tolerances of a decoded colour, and of a measured frequency in Hertz. */
const [SHADE, DETUNE] = [15, 20]

let folder
let python
let server

before(async () => {
  const run = promisify(execFile)
  folder = mkdtempSync(join(tmpdir(), 'parlor media '))
  python = join(folder, 'bin/python')
  await run('python3', ['-m', 'venv', folder])
  await run(python, ['-m', 'pip', '--quiet', '--disable-pip-version-check', 'install', '-r', join(SCRIPTS, 'requirements.txt')])
  server = await Server.start()
})
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  assert.equal((await server.stop()).code, 0, 'the server ends as it should')
  // @roamhq/wrtc crashes if Node tears down its environment after tracks were created, but not when the process exits.
  process.once('beforeExit', () => process.exit())
})

/** A member in Python, and the media that it decodes. */
class PythonMember {
  #seen = []
  #check = () => {}

  constructor(room, id, colour, tone) {
    const given = [join(SCRIPTS, 'member.py'), server.url, room, id, COLOURS[colour].join(), TONES[tone]]
    this.child = spawn(python, given, { stdio: ['pipe', 'pipe', 'inherit'] })
    process.once('exit', () => this.child.kill('SIGKILL'))
    this.ended = new Promise((done) => this.child.once('exit', done))
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.#seen.push(JSON.parse(line))
      this.#check()
    })
  }

  /** Waits until a colour and a tone are decoded. */
  async gets(colour, tone) {
    const isColour = ({ colour: seen }) => seen?.every((value, index) => Math.abs(value - COLOURS[colour][index]) <= SHADE)
    const isTone = ({ hertz }) => Math.abs(hertz - TONES[tone]) <= DETUNE
    const found = new Promise((done) => {
      this.#check = () => this.#seen.some(isColour) && this.#seen.some(isTone) && done()
    })
    this.#check()
    await within(found, () => `${colour} and ${tone}: ${JSON.stringify(this.#seen.slice(-10))}`)
  }

  async goes() {
    this.child.stdin.end()
    assert.equal(await within(this.ended, () => 'the member ends'), 0)
  }
}

test('pymediasoup and mediasoup-client decode the media of each other', async () => {
  const ann = await Member.joined(server.url, 'room', 'ann')
  await ann.speaks('low')
  await ann.films('red')
  const ben = new PythonMember('room', 'ben', 'blue', 'high')
  const received = {}
  for (let count = 0; count < 2; count += 1) {
    const { producerId, kind } = await ann.hears('new:producer', { userId: 'ben' })
    received[kind] = await ann.receives(producerId)
  }
  await Promise.all([received.video.spectator.gets('blue'), received.audio.spectator.gets('high'), ben.gets('red', 'low')])
  await ben.goes()
  await ann.goes()
  await server.isEmpty()
})

test('two members with pymediasoup decode the media of each other', async () => {
  const [ann, ben] = [new PythonMember('room', 'ann', 'red', 'low'), new PythonMember('room', 'ben', 'blue', 'high')]
  await Promise.all([ann.gets('blue', 'high'), ben.gets('red', 'low')])
  await Promise.all([ann.goes(), ben.goes()])
  await server.isEmpty()
})
