// Versions and handlers of mediasoup-client, and the call that each of them must complete.

import { Member } from './member.js'

/** Handlers of each version that run on the WebRTC of @roamhq/wrtc, which is that of Chromium. */
export const CELLS = ['mediasoup-client-3.6', 'mediasoup-client-3.7', 'mediasoup-client-3.11', 'mediasoup-client-3.18', 'mediasoup-client']
  .flatMap((client) => ['Chrome74', 'Chrome111', 'Safari12'].map((handlerName) => ({ client, handlerName })))
  // The newest handler for Safari requires session descriptions in Safari's form.
  .filter(({ client, handlerName }) => client !== 'mediasoup-client' || handlerName !== 'Safari12')

const LAYERS = [{ rid: 'r0', scaleResolutionDownBy: 2, maxBitrate: 60_000 }, { rid: 'r1', maxBitrate: 150_000 }]
const SCREEN = [{ maxBitrate: 50_000 }]

/** A call of two: audio, a camera in layers, a screen, pauses, layer changes, ICE restarts. */
export async function callOfTwo(url, senderCell, receiverCell = senderCell) {
  const sender = await Member.joined(url, 'matrix', 'sender', senderCell)
  const receiver = await Member.joined(url, 'matrix', 'receiver', receiverCell)
  try {
    // Two producers of one kind on one transport: the first determines the numbers of its browser.
    const screen = await sender.films('violet', SCREEN)
    const camera = await sender.films('red', LAYERS)
    const voice = await sender.speaks('low')
    const [seesScreen, seesCamera, hears] =
      await Promise.all([screen, camera, voice].map(({ producer }) => receiver.receives(producer.id)))
    await Promise.all([seesScreen.spectator.gets('violet'), seesCamera.spectator.gets('red'), hears.spectator.gets('low')])

    const consumerId = seesCamera.consumer.id
    await receiver.ask('consumer:pause', { consumerId })
    camera.camera.colour = 'blue'
    await receiver.ask('consumer:resume', { consumerId })
    await seesCamera.spectator.gets('blue')
    for (const [spatialLayer, width] of [[0, 320], [1, 640]]) {
      await receiver.ask('consumer:layers', { consumerId, spatialLayer })
      await seesCamera.spectator.widths.gets(width, 10)
    }

    await sender.restartsIce(sender.sending)
    await receiver.restartsIce(receiver.receiving)
    voice.microphone.tone = 'high'
    camera.camera.colour = 'green'
    await Promise.all([seesScreen.spectator.gets('violet'), seesCamera.spectator.gets('green'), hears.spectator.gets('high')])
  } finally {
    await Promise.all([sender, receiver].map((member) => member.goes()))
  }
}

/** Two members that send and receive over their own transports, on which the same numbers may have different meanings. */
export async function exchange(url, cells) {
  const members = await Promise.all(cells.map((cell, index) => Member.joined(url, 'exchange', `member-${index}`, cell)))
  const [tones, colours] = [['low', 'high'], ['red', 'blue']]
  try {
    // One starts with audio, the other with video: their browsers number header extensions differently.
    const voices = [await members[0].speaks(tones[0])]
    const cameras = await Promise.all(members.map((member, index) => member.films(colours[index])))
    voices.push(await members[1].speaks(tones[1]))
    await Promise.all(members.map(async (member, index) => {
      const other = 1 - index
      const hears = await member.receives(voices[other].producer.id)
      const sees = await member.receives(cameras[other].producer.id)
      await Promise.all([hears.spectator.gets(tones[other]), sees.spectator.gets(colours[other])])
    }))
  } finally {
    await Promise.all(members.map((member) => member.goes()))
  }
}
