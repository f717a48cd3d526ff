// Families of frontends with the events of their pages: with the default settings, and with one profile or setting.

import assert from 'node:assert/strict'
import { BY_DEFAULT, WITH_SETTINGS } from '../families.js'
import { scenarios, suite } from '../support.js'

const WEBSOCKET = { name: 'websocket', major: 4, transports: ['websocket'] }

/** Runs the steps of a family in order: an event is complete when its acknowledgement has arrived. */
function play(server, { title, namespace = '', cell, events, steps }) {
  const scenario = scenarios(server, { ...WEBSOCKET, ...cell, events })
  scenario(title, async ({ room, create }) => {
    const address = { url: server.url + namespace }
    const pages = { ann: create('ann', undefined, address), bob: create('bob', undefined, address) }
    for (const peer of Object.values(pages)) await peer.settled()
    const page = { room, ann: pages.ann.socket.id, bob: pages.bob.socket.id, received: {} }
    for (const step of steps) {
      const peer = pages[step.who]
      if (step.sends) {
        const args = step.args.map((argument) => (typeof argument === 'function' ? argument(page) : argument))
        const ack = await peer.ask(step.sends, ...args)
        assert.equal(ack.ok, true, `${step.who} sends ${step.sends} ${JSON.stringify(args)}: ${JSON.stringify(ack)}`)
      } else if (step.receives) {
        const args = await peer.nextArguments(step.receives)
        page.received[step.receives] = args
        assert(step.check(args, page), `${step.who} receives ${step.receives} ${JSON.stringify(args)}`)
      } else {
        peer.close()
      }
    }
  })
}

suite('families, by default', {}, (server) => BY_DEFAULT.forEach((family) => play(server, family)))
for (const family of WITH_SETTINGS) suite(`families, ${family.title}`, family.settings, (server) => play(server, family))
