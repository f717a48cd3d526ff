// A minimal relay with rooms in Node: `ws`, JSON, two maps.
const { randomUUID } = require('node:crypto')
const { WebSocketServer } = require('ws')

const server = new WebSocketServer({ port: Number(process.env.PORT), host: '127.0.0.1' })
const rooms = new Map() // room id -> Map of peer id -> socket

function tell(socket, message) {
  socket.send(JSON.stringify(message))
}

server.on('connection', (socket) => {
  const id = randomUUID()
  let roomId = null

  function others() {
    return [...rooms.get(roomId)].filter(([peer]) => peer !== id)
  }

  function leave() {
    if (roomId === null) return
    for (const [, peer] of others()) tell(peer, { type: 'user-left', id })
    const room = rooms.get(roomId)
    room.delete(id)
    if (room.size === 0) rooms.delete(roomId)
    roomId = null
  }

  socket.on('message', (data) => {
    const message = JSON.parse(data)
    switch (message.type) {
      case 'join': {
        roomId = message.roomId
        let room = rooms.get(roomId)
        if (!room) rooms.set(roomId, (room = new Map()))
        room.set(id, socket)
        const users = others()
        tell(socket, { type: 'room-users', id, users: users.map(([peer]) => peer) })
        for (const [, peer] of users) tell(peer, { type: 'user-joined', id })
        break
      }
      case 'offer':
      case 'answer':
      case 'candidate': {
        const { targetId, ...signal } = message
        const relayed = { ...signal, from: id }
        if (targetId) {
          const peer = rooms.get(roomId)?.get(targetId)
          if (peer) tell(peer, relayed)
        } else {
          for (const [, peer] of others()) tell(peer, relayed)
        }
        break
      }
      case 'leave':
        leave()
        break
    }
  })

  socket.on('close', leave)
})
