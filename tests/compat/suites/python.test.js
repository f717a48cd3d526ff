// python-socketio, a client in another language, in a whole call with the official JavaScript client.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { before } from 'node:test'
import { promisify } from 'node:util'
import { wholeCall } from '../call.js'
import { HERE, Peer, scenarios, suite, within } from '../support.js'

const VENV = path.join(HERE, '.venv')
const PYTHON = path.join(VENV, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python')
const REQUIREMENTS = path.join(HERE, 'python/requirements.txt')

/** Creates the virtual environment, once for each version of the requirements. */
async function install() {
  const wanted = readFileSync(REQUIREMENTS, 'utf8')
  const stamp = path.join(VENV, 'installed.txt')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  rmSync(VENV, { recursive: true, force: true })
  mkdirSync(VENV)
  await run('python3', ['-m', 'venv', VENV], 'python3 and its venv module are needed (Debian: python3-venv)')
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', REQUIREMENTS]
  await run(PYTHON, pip, 'python-socketio cannot be installed')
  writeFileSync(stamp, wanted)
}

async function run(command, args, failure) {
  try {
    await promisify(execFile)(command, args, { timeout: 240_000 })
  } catch (error) {
    assert.fail(`${failure}\n${error.message}\n${error.stdout}\n${error.stderr}`)
  }
}

class PythonClient extends Peer {
  alive = false
  #child
  #questions = []

  constructor(url, transports) {
    super(`python (${transports})`)
    const child = spawn(PYTHON, [path.join(HERE, 'python/peer.py'), url, transports.join(',')])
    this.#child = child
    process.once('exit', () => child.kill('SIGKILL'))
    child.stderr.on('data', (text) => this.received.push(`stderr: ${text}`))
    this.transport = new Promise((resolve) => {
      createInterface(child.stdout).on('line', (line) => {
        this.received.push(line)
        const { connected, event, answer, args } = JSON.parse(line)
        if (connected) resolve(connected)
        else if (event) this.receive(event, args)
        else if (args) this.#questions[answer](...args)
      })
    })
    this.ended = new Promise((resolve) => child.once('close', resolve))
  }

  async connected() {
    const ended = this.ended.then((code) => assert.fail(`${this.name} ended with ${code}\n${this.story()}`))
    ended.catch(() => {})
    const transport = await within(Promise.race([this.transport, ended]), () => `${this.name} does not connect\n${this.story()}`)
    this.alive = true
    return transport
  }

  send(event, args, acknowledge) {
    const ask = acknowledge ? this.#questions.push(acknowledge) - 1 : null
    this.#child.stdin.write(`${JSON.stringify({ event, args, ask })}\n`)
  }

  close() {
    this.alive = false
    if (this.#child.stdin.writable) this.#child.stdin.end('{"close":true}\n')
  }
}

suite('python-socketio', {}, (server) => {
  before(install)
  const scenario = scenarios(server)
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const travels = transports.join(' + ')
    const last = transports.at(-1)

    scenario(`${travels}: calls a JavaScript client`, async ({ server, room, connect, adopt }) => {
      const caller = new PythonClient(server.url, transports)
      adopt(caller)
      assert.equal(await caller.connected(), last)
      await wholeCall({ room, caller, callee: await connect('callee') })
      caller.close()
      assert.equal(await caller.ended, 0)
    })

    scenario(`${travels}: is called by a JavaScript client`, async ({ server, room, connect, adopt }) => {
      const callee = new PythonClient(server.url, transports)
      adopt(callee)
      assert.equal(await callee.connected(), last)
      await wholeCall({ room, caller: await connect('caller'), callee })
      assert.equal(await callee.ended, 0)
    })
  }
})
