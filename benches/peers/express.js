// The signaling server that so many frontends were written against: Express and Socket.IO, rooms in a map.
const http = require('node:http')
const cors = require('cors')
const express = require('express')
const { Server } = require('socket.io')

const CLIENT_URL = process.env.CLIENT_URL || 'http://localhost:3000'
const app = express()
app.use(cors({ origin: CLIENT_URL, credentials: true }))
app.use(express.json())

const server = http.createServer(app)
const io = new Server(server, { cors: { origin: CLIENT_URL, methods: ['GET', 'POST'], credentials: true } })

const rooms = new Map() // room id -> Map of socket id -> user

app.get('/health', (request, response) => {
  response.json({ status: 'ok', timestamp: new Date().toISOString(), rooms: rooms.size })
})
app.get('/api/rooms', (request, response) => {
  response.json([...rooms].map(([id, users]) => ({ id, participants: [...users.keys()], participantCount: users.size })))
})

function leave(socket, roomId) {
  const room = rooms.get(roomId)
  const user = room?.get(socket.id)
  if (!user) return
  room.delete(socket.id)
  if (room.size === 0) rooms.delete(roomId)
  socket.leave(roomId)
  socket.to(roomId).emit('user-left', user)
}

io.on('connection', (socket) => {
  const joined = new Set()

  socket.on('join-room', ({ roomId, userId }) => {
    let room = rooms.get(roomId)
    if (!room) rooms.set(roomId, (room = new Map()))
    const user = { id: socket.id, userId: userId ?? socket.id, socketId: socket.id, roomId, joinedAt: new Date().toISOString() }
    socket.join(roomId)
    joined.add(roomId)
    socket.emit('room-users', [...room.values()].filter(({ id }) => id !== socket.id))
    room.set(socket.id, user)
    socket.to(roomId).emit('user-joined', user)
  })

  for (const event of ['offer', 'answer', 'ice-candidate']) {
    socket.on(event, ({ roomId, targetId, ...signal }) => {
      const message = { ...signal, roomId, from: socket.id }
      if (targetId) io.to(targetId).emit(event, message)
      else socket.to(roomId).emit(event, message)
    })
  }

  socket.on('leave-room', ({ roomId }) => {
    joined.delete(roomId)
    leave(socket, roomId)
  })

  socket.on('disconnect', () => {
    for (const roomId of joined) leave(socket, roomId)
  })
})

server.listen(Number(process.env.PORT), '127.0.0.1')
