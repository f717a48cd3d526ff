// mediasoup-client in Node with a real WebRTC stack, through the media server: the decoded media must be that of the
// sender's camera and microphone.

import assert from 'node:assert/strict'
import test, { after, before, beforeEach, afterEach } from 'node:test'
import { Device } from 'mediasoup-client'
import { SfuMedia } from '../../packages/client/src/sfu-media.js'
import { Member, pathOf } from './support/member.js'
import { Listener } from './support/picture.js'
import { Server } from './support/server.js'

let server
let members

before(async () => { server = await Server.start() })
after(async () => {
  const { code } = await server.stop()
  assert.equal(code, 0, 'the server ends as it should')
  // @roamhq/wrtc crashes when Node tears down its environment after tracks were created, but not when the process
  // exits.
  process.once('beforeExit', () => process.exit())
})

beforeEach(() => { members = [] })

/** After each test all members leave, and the server must hold nothing. */
afterEach(async () => {
  await Promise.all(members.map((member) => member.goes()))
  await server.isEmpty()
})

async function join(id) {
  const member = await Member.joined(server.url, 'room', id)
  members.push(member)
  return member
}

/** Returns whether exactly these were decoded. At the beginning of a tone, a sample may contain no tone. */
function onlyEver(spectator, ...expected) {
  const unclear = spectator instanceof Listener ? ['silence', 'other'] : []
  const all = [...spectator.seen.keys()].filter((what) => !unclear.includes(what))
  assert.deepEqual(all.sort(), expected.sort(), JSON.stringify([...spectator.seen]))
}

test('two members receive audio and video of each other', async () => {
  const [ann, ben] = [await join('ann'), await join('ben')]
  const sent = {
    ann: [await ann.speaks('low'), await ann.films('red')],
    ben: [await ben.speaks('high'), await ben.films('blue')],
  }
  for (const [member, userId, tone, colour] of [[ben, 'ann', 'low', 'red'], [ann, 'ben', 'high', 'blue']]) {
    for (const { producer: { id: producerId, kind, appData } } of sent[userId]) {
      assert.deepEqual(await member.hears('new:producer', { producerId }), { producerId, userId, peerId: userId, kind, appData })
    }
    const [hears, sees] = [await member.receives(sent[userId][0].producer.id), await member.receives(sent[userId][1].producer.id)]
    assert.deepEqual([hears.created.userId, sees.created.userId], [userId, userId])
    await Promise.all([hears.spectator.gets(tone), sees.spectator.gets(colour)])
    onlyEver(sees.spectator, colour)
    onlyEver(hears.spectator, tone)
  }
  await server.holds({ parlor_media_transports: 4, parlor_media_producers: 4, parlor_media_consumers: 4 })
})

test('a later member receives the media of each existing member', async () => {
  const voices = { ann: ['low', 'red'], ben: ['high', 'blue'], cat: ['shrill', 'green'] }
  for (const [id, [tone, colour]] of Object.entries(voices)) {
    const member = await join(id)
    await member.speaks(tone)
    await member.films(colour)
  }
  const dan = await join('dan')
  const { producers } = await dan.ask('producers:list')
  assert.equal(producers.length, 6)
  const received = []
  for (const { producerId, userId, kind, paused, appData } of producers) {
    assert.equal(paused, false)
    const [tone, colour] = voices[userId]
    assert.deepEqual(appData, kind === 'video' ? { colour } : {})
    received.push({ what: kind === 'video' ? colour : tone, ...await dan.receives(producerId) })
  }
  await Promise.all(received.map(({ spectator, what }) => spectator.gets(what)))
  for (const { spectator, what } of received) onlyEver(spectator, what)
})

test('a paused consumer receives nothing, and continues with current media', async () => {
  const [ann, ben, cat] = [await join('ann'), await join('ben'), await join('cat')]
  const { microphone, producer: voice } = await ann.speaks('low')
  const { camera, producer: picture } = await ann.films('red')
  const benHears = await ben.receives(voice.id)
  const benSees = await ben.receives(picture.id)
  const catHears = await cat.receives(voice.id)
  const catSees = await cat.receives(picture.id)
  const paused = [benHears, benSees]
  await Promise.all([benHears.spectator.gets('low'), benSees.spectator.gets('red')])
  for (const { consumer: { id: consumerId } } of paused) {
    assert.deepEqual(await ben.ask('consumer:pause', { consumerId }), { consumerId })
  }
  microphone.tone = 'high'
  camera.colour = 'blue'
  await Promise.all([catHears.spectator.gets('high', 10), catSees.spectator.gets('blue', 20)])
  microphone.tone = 'shrill'
  camera.colour = 'green'
  await Promise.all([catHears.spectator.gets('shrill'), catSees.spectator.gets('green')])
  for (const { consumer: { id: consumerId } } of paused) {
    assert.deepEqual(await ben.ask('consumer:resume', { consumerId }), { consumerId })
  }
  await Promise.all([benHears.spectator.gets('shrill'), benSees.spectator.gets('green')])
  onlyEver(benSees.spectator, 'red', 'green')
  onlyEver(benHears.spectator, 'low', 'shrill')
})

test('consumers of a paused producer receive nothing, and are notified', async () => {
  const [ann, ben] = [await join('ann'), await join('ben')]
  const { microphone, producer: voice } = await ann.speaks('low')
  const { camera, producer: picture } = await ann.films('red')
  const benHears = await ben.receives(voice.id)
  const benSees = await ben.receives(picture.id)
  await Promise.all([benHears.spectator.gets('low'), benSees.spectator.gets('red')])
  // The client keeps sending.
  const producerId = picture.id
  assert.deepEqual(await ann.ask('producer:pause', { producerId }), { producerId })
  await ben.hears('producer:paused', { producerId, userId: 'ann' })
  camera.colour = 'blue'
  microphone.tone = 'high'
  await benHears.spectator.gets('high', 10)
  const late = await join('late')
  const lateSees = await late.receives(producerId)
  assert.equal(lateSees.created.producerPaused, true)
  camera.colour = 'green'
  microphone.tone = 'middle'
  await benHears.spectator.gets('middle', 10)
  assert.deepEqual(await ann.ask('producer:resume', { producerId }), { producerId })
  await ben.hears('producer:resumed', { producerId, userId: 'ann' })
  await Promise.all([benSees.spectator.gets('green'), lateSees.spectator.gets('green')])
  onlyEver(benSees.spectator, 'red', 'green')
  onlyEver(lateSees.spectator, 'green')
})

test('closing ends media at both ends, and other media continues', async () => {
  const [ann, ben] = [await join('ann'), await join('ben')]
  const { producer: voice } = await ann.speaks('low')
  const { producer: picture } = await ann.films('red')
  const { producer: screen } = await ann.films('violet')
  const hears = await ben.receives(voice.id)
  const sees = await ben.receives(picture.id)
  const seesScreen = await ben.receives(screen.id)
  await Promise.all([hears.spectator.gets('low'), sees.spectator.gets('red'), seesScreen.spectator.gets('violet')])
  const consumerId = sees.consumer.id
  assert.deepEqual(await ben.ask('consumer:close', { consumerId }), { consumerId })
  sees.consumer.close()
  await assert.rejects(ben.ask('consumer:resume', { consumerId }), { code: 'CONSUME_ERROR' })
  await server.holds({ parlor_media_producers: 3, parlor_media_consumers: 2 })
  assert.deepEqual(await ann.ask('producer:close', { producerId: screen.id }), { producerId: screen.id })
  screen.close()
  await ben.hears('producer:closed', { producerId: screen.id, userId: 'ann' })
  await ben.hears('consumer:closed', { consumerId: seesScreen.consumer.id })
  seesScreen.consumer.close()
  await server.holds({ parlor_media_producers: 2, parlor_media_consumers: 1 })
  await hears.spectator.gets('low')
  // The session can be resumed.
  const again = await ben.receives(picture.id)
  await Promise.all([again.spectator.gets('red'), hears.spectator.gets('low')])
  onlyEver(again.spectator, 'red')
  assert.deepEqual(await ann.ask('transport:close', { transportId: ann.sending.id }), { transportId: ann.sending.id })
  for (const { consumer: { id } } of [hears, again]) await ben.hears('consumer:closed', { consumerId: id })
  await server.holds({ parlor_media_transports: 3, parlor_media_producers: 0, parlor_media_consumers: 0 })
})

test('consumers that the client module closes are closed at the server', async () => {
  const [ann, ben] = [await join('ann'), await join('ben')]
  const { producer } = await ann.speaks('low')
  const media = new SfuMedia({ ask: (type, payload) => ben.ask(type, payload), device: new Device({ handlerName: 'Chrome111' }) })
  await media.open()
  const unwanted = await media.consume(producer.id)
  await server.holds({ parlor_media_consumers: 1 })
  media.dismiss(unwanted)
  assert(unwanted.closed)
  await server.holds({ parlor_media_consumers: 0 })
  const wanted = await media.consume(producer.id)
  assert.notEqual(wanted.id, unwanted.id)
  media.close()
})

test('a leave closes the media of the member, and no other media', async () => {
  const [ann, ben, cat] = [await join('ann'), await join('ben'), await join('cat')]
  await ann.speaks('low')
  await ben.speaks('high')
  const { producer: annFilm } = await ann.films('red')
  const { producer: benFilm } = await ben.films('blue')
  const ofAnn = await cat.receives(annFilm.id)
  const ofBen = await cat.receives(benFilm.id)
  await ann.receives(benFilm.id)
  await Promise.all([ofAnn.spectator.gets('red'), ofBen.spectator.gets('blue')])
  await ann.ask('room:leave', { roomId: 'room' })
  await cat.hears('producer:closed', { producerId: annFilm.id, userId: 'ann' })
  await cat.hears('consumer:closed', { consumerId: ofAnn.consumer.id })
  await server.holds({ parlor_media_transports: 4, parlor_media_producers: 2, parlor_media_consumers: 1 })
  await ofBen.spectator.gets('blue', 20)
  onlyEver(ofBen.spectator, 'blue')
})

/** Two members, of which one receives the audio and video of the other. */
async function talk() {
  const [sender, receiver] = [await join('ann'), await join('ben')]
  const { microphone, producer: voice } = await sender.speaks('low')
  const { camera, producer: picture } = await sender.films('red')
  const hears = await receiver.receives(voice.id)
  const sees = await receiver.receives(picture.id)
  await Promise.all([hears.spectator.gets('low'), sees.spectator.gets('red')])
  return { sender, microphone, camera, receiver, hears: hears.spectator, sees: sees.spectator }
}

test('media continues after an ICE restart of the sender', async () => {
  const { sender, microphone, camera, hears, sees } = await talk()
  const before = await sender.restartsIce(sender.sending)
  microphone.tone = 'high'
  camera.colour = 'blue'
  await Promise.all([hears.gets('high', 10), sees.gets('blue', 20)])
  onlyEver(sees, 'red', 'blue')
  const { pair, sent } = await pathOf(sender.sending)
  assert.notEqual(pair, before.pair)
  assert(sent > 20, `${sent} packets went over the new path`)
})

test('media continues after an ICE restart of the receiver', async () => {
  const { microphone, camera, receiver, hears, sees } = await talk()
  const before = await receiver.restartsIce(receiver.receiving)
  microphone.tone = 'high'
  camera.colour = 'blue'
  await Promise.all([hears.gets('high', 10), sees.gets('blue', 20)])
  onlyEver(sees, 'red', 'blue')
  assert.notEqual((await pathOf(receiver.receiving)).pair, before.pair)
})

// The server must not keep sending to the address from before the restart.
test('media uses the new path after an ICE restart', async () => {
  const { receiver, hears, sees } = await talk()
  await receiver.restartsIce(receiver.receiving)
  await Promise.all([hears.gets('low', 10), sees.gets('red', 20)])
  const { received } = await pathOf(receiver.receiving)
  assert(received > 20, `${received} packets came over the new path`)
})
