// The parameters of mediasoup-client's own tests: those of a browser that cannot run here, such as Safari. Nothing is decoded.

import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { FakeHandler } from 'mediasoup-client/handlers/FakeHandler'
import * as fakeParameters from 'mediasoup-client/fakeParameters'
import { Device } from 'mediasoup-client'
import { Member } from './support/member.js'
import { Camera, Microphone } from './support/picture.js'
import { Server } from './support/server.js'

let server

before(async () => { server = await Server.start() })
after(async () => {
  await server.stop()
  // @roamhq/wrtc crashes if Node tears down its environment after tracks were created, but not when the process exits.
  process.once('beforeExit', () => process.exit())
})

test('tracks with the parameters of a fake browser are produced, and consumed with the numbers of the router', async () => {
  const device = new Device({ handlerFactory: FakeHandler.createFactory(fakeParameters) })
  const [ann, ben] = [await Member.joined(server.url, 'room', 'ann'), await Member.joined(server.url, 'room', 'ben')]
  await device.load({ routerRtpCapabilities: (await ann.ask('router:capabilities')).rtpCapabilities })
  const transport = device.createSendTransport(await ann.ask('transport:create', { direction: 'send' }))
  const sent = []
  transport.on('connect', (_, done) => done())
  transport.on('produce', ({ kind, rtpParameters }, done, fail) => {
    sent.push(rtpParameters)
    ann.ask('produce', { transportId: transport.id, kind, rtpParameters }).then(done, fail)
  })
  const encodings = [{ rid: 'low', maxBitrate: 100_000 }, { rid: 'high', maxBitrate: 500_000 }]
  const tracks = [new Microphone('low'), new Camera('red'), new Camera('blue')]
  const producers = [
    await transport.produce({ track: tracks[0].track }),
    await transport.produce({ track: tracks[1].track }),
    await transport.produce({ track: tracks[2].track, encodings }),
  ]
  const payloadTypes = async ({ id }) => (await ben.consumes(id)).created.rtpParameters.codecs.map(({ payloadType }) => payloadType)
  assert.deepEqual(await Promise.all(producers.map(payloadTypes)), [[100], [101, 102], [101, 102]])
  assert.notDeepEqual(sent.map(({ codecs }) => codecs[0].payloadType), [100, 101, 101], 'the numbers of the browser are its own')
  tracks.forEach((track) => track.stop())
  await Promise.all([ann.goes(), ben.goes()])
  await server.isEmpty()
})
