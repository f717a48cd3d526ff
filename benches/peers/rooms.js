// The rooms of a widespread Express and Socket.IO signaling server, on any Socket.IO server.
const rooms = new Map() // room id -> Map of socket id -> user

function leave(socket, roomId) {
  const room = rooms.get(roomId)
  const user = room?.get(socket.id)
  if (!user) return
  room.delete(socket.id)
  if (room.size === 0) rooms.delete(roomId)
  socket.leave(roomId)
  socket.to(roomId).emit('user-left', user)
}

function serve(io) {
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
}

module.exports = { rooms, serve }
