// The processes of a test: the server of a family, the recorder in front of it, and Parlor as its replacement.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Server } from 'socket.io'
import io2 from 'socket.io-client-2'
import { io as io3 } from 'socket.io-client-3'
import { io as io4 } from 'socket.io-client-4'

const HERE = path.dirname(fileURLToPath(import.meta.url))
const BINARY = path.resolve(HERE, process.env.PARLOR_BIN ?? '../../target/debug/parlor')
// The processes end with the test, also if it is aborted.
const children = new Set()
process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')))
process.once('SIGTERM', () => process.exit(143))

const IO = { 2: io2, 3: io3, 4: io4 }

/** Starts the server of a family, over TLS with `tls` (a key and a certificate). */
export async function serve(family, { tls } = {}) {
  const http = tls ? createSecureServer(tls) : createServer()
  const io = new Server(http, { allowEIO3: true, cors: { origin: '*' } })
  family.serve(family.namespace ? io.of(family.namespace) : io)
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve))
  return { url: `${tls ? 'https' : 'http'}://127.0.0.1:${http.address().port}`, close: () => io.close() }
}

/** Runs `parlor` with these arguments. */
export class Program {
  output = ''

  constructor(args, env = {}) {
    const { PATH, HOME } = process.env
    this.child = spawn(BINARY, args, { env: { PATH, HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (chunk) => (this.output += chunk))
    this.ended = once(this.child, 'close').then(([code]) => code)
    children.add(this.child)
    this.child.once('close', () => children.delete(this.child))
  }

  /** Returns the first match in the output. */
  async printed(pattern) {
    for (;;) {
      const found = pattern.exec(this.output)
      if (found) return found
      const ended = await Promise.race([this.ended, once(this.child.stdout, 'data').then(() => null)])
      if (ended !== null && !pattern.exec(this.output)) throw new Error(`ended with ${ended}:\n${this.output}`)
    }
  }

  async end(signal) {
    this.child.kill(signal)
    return this.ended
  }
}

/** Starts the recorder in front of a server. */
export async function record(upstream, ...args) {
  const program = new Program(['profile', 'record', '--upstream', upstream, '--port', '0', ...args])
  const [, url] = await program.printed(/Recording \S+ at http:\/\/localhost(:\d+)/)
  return Object.assign(program, { url: `http://127.0.0.1${url}` })
}

/** Starts Parlor. */
export async function parlor(env) {
  const program = new Program([], { HOST: '127.0.0.1', PORT: '0', SFU: 'off', ...env })
  const [, url] = await program.printed(/listening on (http:\/\/127\.0\.0\.1:\d+)/)
  return Object.assign(program, { url })
}

export function connect(url, family) {
  const { client, transports, namespace = '' } = family
  return IO[client](`${url}${namespace}`, { forceNew: true, reconnection: false, ...(transports && { transports }) })
}
