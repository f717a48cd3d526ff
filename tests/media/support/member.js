// A member of a room, with `/ws` and mediasoup-client, which treats Node as Chromium: its WebRTC is that of
// @roamhq/wrtc.

import { randomUUID } from 'node:crypto'
import wrtc from '@roamhq/wrtc'
import WebSocket from 'ws'
import { Camera, Listener, Microphone, Watcher } from './picture.js'
import { within } from './within.js'

const { MediaStream, MediaStreamTrack, RTCPeerConnection, RTCSessionDescription } = wrtc
Object.assign(globalThis, { MediaStream, MediaStreamTrack, RTCPeerConnection, RTCSessionDescription })

/** The error of a refused request; `code` is the server's. */
class Refused extends Error {
  constructor({ code, message }) {
    super(`${code}: ${message}`)
    this.code = code
  }
}

/** Makes a sender of layers start with enough bandwidth for all of them: on a busy machine its estimate is too low. */
const CODEC_OPTIONS = { videoGoogleStartBitrate: 1000, videoGoogleMinBitrate: 600 }

/** The newest version, with its handler for current Chromium. */
export const NEWEST = { client: 'mediasoup-client', handlerName: 'Chrome111' }

export class Member {
  #socket
  #requests = new Map()
  /** Received messages that no test has awaited, and pending waits. */
  #notices = []
  #waiting = new Set()
  #stops = []

  /**
   * Creates a member that has joined a room, and can send and receive, with the given package and handler of
   * mediasoup-client.
   */
  static async joined(url, roomId, id, { client, handlerName } = NEWEST) {
    const member = new Member()
    member.id = id
    const { Device } = await import(client)
    member.device = new Device({ handlerName })
    await member.#connect(url)
    await member.ask('room:join', { roomId, user: { id } })
    await member.#load()
    return member
  }

  async #connect(url) {
    const socket = new WebSocket(url)
    this.#socket = socket
    this.ended = new Promise((done) => socket.once('close', done))
    socket.on('message', (text) => this.#receive(JSON.parse(text)))
    await within(new Promise((done, fail) => socket.once('open', done).once('error', fail)), () => 'a connection')
  }

  #receive({ type, payload, correlationId }) {
    const request = this.#requests.get(correlationId)
    this.#requests.delete(correlationId)
    if (type === 'error') request?.reject(new Refused(payload))
    else if (request) request.resolve(payload)
    else {
      this.#notices.push({ type, payload })
      for (const check of this.#waiting) check()
    }
  }

  ask(type, payload = {}) {
    const correlationId = randomUUID()
    const answer = new Promise((resolve, reject) => this.#requests.set(correlationId, { resolve, reject }))
    this.#socket.send(JSON.stringify({ type, payload, timestamp: Date.now(), correlationId }))
    return within(answer, () => `an answer to ${type}`)
  }

  /** Waits for a message of this type and returns it. Each message is returned once. */
  async hears(type, about = {}) {
    const isThat = (notice) =>
      notice.type === type && Object.entries(about).every(([key, value]) => notice.payload[key] === value)
    let check
    const found = new Promise((done) => {
      check = () => {
        const index = this.#notices.findIndex(isThat)
        if (index >= 0) done(this.#notices.splice(index, 1)[0].payload)
      }
    })
    this.#waiting.add(check)
    check()
    try {
      return await within(found, () => `${this.id} is notified of ${type} ${JSON.stringify(about)}`)
    } finally {
      this.#waiting.delete(check)
    }
  }

  async #load() {
    const { rtpCapabilities: routerRtpCapabilities } = await this.ask('router:capabilities')
    await this.device.load({ routerRtpCapabilities })
    const sending = await this.ask('transport:create', { direction: 'send' })
    this.sending = this.#connecting(this.device.createSendTransport(sending))
    this.sending.on('produce', ({ kind, rtpParameters, appData }, done, fail) => {
      this.ask('produce', { transportId: this.sending.id, kind, rtpParameters, appData }).then(done, fail)
    })
    const receiving = await this.ask('transport:create', { direction: 'recv' })
    this.receiving = this.#connecting(this.device.createRecvTransport(receiving))
  }

  #connecting(transport) {
    transport.on('connect', ({ dtlsParameters }, done, fail) => {
      this.ask('transport:connect', { transportId: transport.id, dtlsParameters }).then(done, fail)
    })
    return transport
  }

  /** Sends a tone: returns the microphone and its producer. */
  async speaks(tone) {
    const microphone = new Microphone(tone)
    this.#stops.push(microphone)
    return { microphone, producer: await this.sending.produce({ track: microphone.track, stopTracks: false }) }
  }

  /**
   * Sends a colour: returns the camera and its producer. With `encodings`, the video is large enough for two layers.
   */
  async films(colour, encodings) {
    const camera = new Camera(colour, encodings && [640, 360])
    this.#stops.push(camera)
    const options = { track: camera.track, stopTracks: false, appData: { colour }, encodings, codecOptions: encodings && CODEC_OPTIONS }
    return { camera, producer: await this.sending.produce(options) }
  }

  /** Consumes a producer: returns the paused consumer and its listener or viewer. */
  async consumes(producerId) {
    // Before version 3.18, capabilities have no direction.
    const rtpCapabilities = this.device.recvRtpCapabilities ?? this.device.rtpCapabilities
    const about = { transportId: this.receiving.id, producerId, rtpCapabilities }
    const created = await this.ask('consume', about)
    const consumer = await this.receiving.consume(created)
    const spectator = consumer.kind === 'video' ? new Watcher(consumer.track) : new Listener(consumer.track)
    this.#stops.push(spectator)
    return { consumer, created, spectator }
  }

  /** Consumes a producer and resumes the consumer. */
  async receives(producerId) {
    const received = await this.consumes(producerId)
    await this.ask('consumer:resume', { consumerId: received.consumer.id })
    return received
  }

  /** Restarts ICE while media flows; returns the candidate pair used before. */
  async restartsIce(transport) {
    const before = await pathOf(transport)
    const { iceParameters } = await this.ask('transport:restart-ice', { transportId: transport.id })
    await transport.restartIce({ iceParameters })
    return before
  }

  /** Leaves and disconnects, and closes its own transports. */
  async goes() {
    for (const stopped of this.#stops) stopped.stop()
    this.#socket.close(1000)
    await within(this.ended, () => 'the connection is closed')
    this.sending?.close()
    this.receiving?.close()
  }
}

/** Returns the candidate pair of a transport, and its number of packets. */
export async function pathOf(transport) {
  const stats = await transport.getStats()
  const { selectedCandidatePairId: pair } = [...stats.values()].find(({ type }) => type === 'transport')
  const { packetsSent: sent, packetsReceived: received } = stats.get(pair)
  return { pair, sent, received }
}
