// A cluster under test: an engine, three nodes, and a balancer that sends each resume to another node. Its faults.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { ours } from './children.js'
import { acceptsClients } from './health.js'
import { Server, within } from './server.js'

const NODES = ['one', 'two', 'three']
const HEALTH_MS = 100
const POLL_MS = 20
/** How long a fault lasts: from nothing that clients notice to what they do. */
const OUTAGE_MS = [0, 4000]
/** Time between two faults. */
const GAP_MS = [4000, 9000]
const PREFIX = 'parlor:1'
/** How long the nodes may take to agree after a fault. */
const HEALING_MS = 30_000
/** Counters of a node that a restart sets to zero. */
const COUNTED = {
  recovered: 'parlor_resumptions_total{outcome="recovered"}',
  refused: 'parlor_resumptions_total{outcome="refused"}',
  panics: 'parlor_panics_total',
  moved: 'parlor_cluster_moves_total{outcome="arrived"}',
  'not moved': 'parlor_cluster_moves_total{outcome="refused"}',
  'forwarded requests': 'parlor_cluster_hops_total',
  resent: 'parlor_cluster_resent_total',
  gaps: 'parlor_cluster_gaps_total',
  fenced: 'parlor_cluster_fenced_total',
  reaped: 'parlor_cluster_reaped_total',
  repairs: 'parlor_cluster_repairs_total',
}

/** Returns a port that is free now. */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address()
  await new Promise((done) => server.close(done))
  return port
}

/** A redis-server, which writes its data to disk only for a restart that keeps them. */
class Redis {
  #folder = mkdtempSync(path.join(tmpdir(), 'parlor-redis-'))
  #child

  async start() {
    this.port ??= await freePort()
    const flags = ['--port', this.port, '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '', '--appendonly', 'yes', '--appendfsync', 'no']
    this.#child = ours(spawn('redis-server', flags.map(String), { stdio: 'ignore' }))
    const missing = new Promise((_, fail) => this.#child.once('error', () => fail(new Error('redis-server is not installed: apt-get install redis-server'))))
    const listens = async () => {
      while ((await this.ask('PING').catch(() => undefined)) !== '+PONG') await pause(POLL_MS)
    }
    await within(Promise.race([listens(), missing]), () => 'redis-server does not listen')
  }

  /** Executes a command; returns the first line of its reply. */
  async ask(command) {
    const socket = net.connect(this.port, '127.0.0.1')
    socket.write(`${command}\r\n`)
    try {
      return await new Promise((done, fail) => {
        let reply = ''
        socket.on('data', (piece) => {
          reply += piece.toString('latin1')
          if (reply.includes('\r\n')) done(reply.slice(0, reply.indexOf('\r\n')))
        })
        socket.once('error', fail)
        socket.once('end', () => fail(new Error('no reply')))
      })
    } finally {
      socket.destroy()
    }
  }

  async count(command) {
    return Number((await this.ask(command)).slice(1))
  }

  async kill({ keep }) {
    const ended = new Promise((done) => this.#child.once('exit', done))
    this.#child.kill('SIGKILL')
    await ended
    if (!keep) rmSync(path.join(this.#folder, 'appendonlydir'), { recursive: true, force: true })
  }

  async end() {
    await this.kill({ keep: false })
    rmSync(this.#folder, { recursive: true })
  }
}

export class Cluster {
  /** The faults so far: `{ what, from, to }`; `to` is when all nodes agreed again, or `Infinity`. */
  faults = []
  /** Violations, as text. */
  wrong = []
  #redis = new Redis()
  #nodes = []
  #settings
  #turn = 0
  #isOpen = true
  #former = Object.fromEntries(Object.keys(COUNTED).map((name) => [name, 0]))

  constructor(settings) {
    this.#settings = settings
  }

  async start() {
    await this.#redis.start()
    for (const name of NODES) {
      const node = new Server({ ...this.#settings, CLUSTER_URL: `redis://127.0.0.1:${this.#redis.port}`, CLUSTER_NODE: name })
      node.name = name
      this.#nodes.push(node)
    }
    await Promise.all(this.#nodes.map((node) => node.start()))
    await this.#agree()
    for (const node of this.#nodes) {
      node.ownTasks = await this.#tasks(node)
      this.#watch(node)
    }
    this.logFile = this.#nodes[0].logFile
  }

  /** Returns the number of tasks of an idle node: the least of some samples, since each request is a task. */
  async #tasks(node) {
    let least = Infinity
    for (let sample = 0; sample < 5; sample += 1) least = Math.min(least, (await node.metrics()).parlor_tasks - 1)
    return least
  }

  /** Learns like a balancer which nodes accept clients. */
  async #watch(node) {
    while (this.#isOpen) {
      node.isWell = await acceptsClients(node.address)
      await pause(HEALTH_MS)
    }
  }

  /** Waits until all nodes are one cluster. */
  async #agree() {
    const isAgreed = async (node) => {
      const { status, cluster } = await node.health().catch(() => ({}))
      return status === 'ok' && cluster.nodes === NODES.length && cluster.engine === 'connected'
    }
    const agreed = async () => {
      while (!(await Promise.all(this.#nodes.map(isAgreed))).every(Boolean)) await pause(POLL_MS)
    }
    await within(agreed(), () => 'the nodes do not agree', HEALING_MS)
  }

  #next(nodes) {
    this.#turn += 1
    return nodes[this.#turn % nodes.length]
  }

  /**
   * Returns for each side of a call a function that selects the node of a connection: for a new session, or to resume one,
   * neither the node of the last time nor that of the other side; for a polling session, any.
   */
  place() {
    const last = [undefined, undefined]
    return last.map((_, index) => (head) => {
      const well = this.#nodes.filter(({ isWell }) => isWell)
      if (/^[A-Z]+ [^ ]*[?&]sid=/.test(head)) return (this.#next(well) ?? this.#nodes[0]).address
      const others = well.filter((node) => node !== last[index])
      const apart = others.filter((node) => node !== last[1 - index])
      const node = this.#next([apart, others, well, this.#nodes].find(({ length }) => length > 0))
      last[index] = node
      return { ...node.address, name: node.name }
    })
  }

  #kinds = {
    /** A node dies, and is started again. */
    kill: async (node, chance) => {
      await this.#keepCounts(node)
      await node.kill()
      await pause(chance.between(...OUTAGE_MS))
      await node.start()
    },
    /** A node is restarted by its service manager. */
    restart: async (node) => {
      await this.#keepCounts(node)
      const { code, ms } = await node.stop()
      if (code !== 0) this.wrong.push(`${node.name} ended with ${code} after ${ms} ms`)
      await node.start()
    },
    'engine, empty': async (_, chance) => this.#engineReturns(chance, { keep: false }),
    'engine, with its data': async (_, chance) => this.#engineReturns(chance, { keep: true }),
    /** All connections to the engine are cut. */
    cut: async () => {
      for (const type of ['pubsub', 'normal']) await this.#redis.ask(`CLIENT KILL TYPE ${type}`)
    },
  }

  async #engineReturns(chance, how) {
    await this.#redis.kill(how)
    await pause(chance.between(...OUTAGE_MS))
    await this.#redis.start()
  }

  /** Causes faults, one after the other, until `isOver()`. */
  async disturb(chance, isOver) {
    let kinds = []
    while (!isOver()) {
      await pause(chance.between(...GAP_MS))
      if (kinds.length === 0) kinds = chance.shuffled(Object.keys(this.#kinds))
      const what = kinds.pop()
      const fault = { what, from: Date.now(), to: Infinity }
      this.faults.push(fault)
      try {
        await this.#kinds[what](chance.pick(this.#nodes), chance)
        await this.#agree()
      } catch (error) {
        this.wrong.push(`${what}: ${error.message}`)
        return
      }
      fault.to = Date.now()
    }
  }

  /** Returns what nodes or engine keep of clients. */
  async emptied() {
    const left = []
    for (const node of this.#nodes) left.push(...(await node.emptied()).map(([what, count]) => [`${node.name}: ${what}`, count]))
    for (const command of [`KEYS ${PREFIX}:r:*`, `KEYS ${PREFIX}:of:*`, `ZCARD ${PREFIX}:rooms`, `ZCARD ${PREFIX}:waiting`]) {
      const count = await this.#redis.count(command)
      if (count !== 0) left.push([command, count])
    }
    return left
  }

  async #keepCounts(node) {
    const metrics = await node.metrics()
    for (const [what, name] of Object.entries(COUNTED)) this.#former[what] += metrics[name] ?? 0
  }

  async counted() {
    for (const node of this.#nodes) await this.#keepCounts(node)
    return this.#former
  }

  forgetLog() {
    for (const node of this.#nodes) node.forgetLog()
  }

  /** Returns the log lines of a room on all nodes. */
  lines(room) {
    return this.#nodes.flatMap((node) => [`log of ${node.name}, ${node.logFile}:`, ...node.lines(room)])
  }

  /** Stops everything; returns the first exit status of a node that is not 0. */
  async stop() {
    this.#isOpen = false
    const ends = await Promise.all(this.#nodes.map((node) => node.stop()))
    await this.#redis.end()
    return ends.find(({ code }) => code !== 0) ?? ends[0]
  }
}
