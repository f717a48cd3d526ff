// A client machine: a process with several callers, which can be suspended like a laptop.

import { EnvelopeCaller } from './support/envelope.js'
import { SocketIoCaller } from './support/socketio.js'

const callers = new Map()

const orders = {
  begin(id, options) {
    const ProtocolCaller = options.protocol === 'envelope' ? EnvelopeCaller : SocketIoCaller
    const caller = new ProtocolCaller({ id, ...options }, (what, ...rest) => process.send({ id, what, rest }))
    callers.set(id, caller)
    caller.begin()
  },
  finish: (id) => callers.get(id).finish(),
  leave: (id, how) => callers.get(id).leave(how),
  report(id) {
    process.send({ id, what: 'log', rest: [callers.get(id).log] })
    callers.delete(id)
  },
}

process.on('message', ({ order, id, rest }) => orders[order](id, ...rest))
process.on('disconnect', () => process.exit())
