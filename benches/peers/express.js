// Express and Socket.IO on Node.
const http = require('node:http')
const cors = require('cors')
const express = require('express')
const { Server } = require('socket.io')
const { rooms, serve } = require('./rooms')

const CLIENT_URL = process.env.CLIENT_URL || 'http://localhost:3000'
const app = express()
app.use(cors({ origin: CLIENT_URL, credentials: true }))
app.use(express.json())

const server = http.createServer(app)
const io = new Server(server, { cors: { origin: CLIENT_URL, methods: ['GET', 'POST'], credentials: true } })

app.get('/health', (request, response) => {
  response.json({ status: 'ok', timestamp: new Date().toISOString(), rooms: rooms.size })
})
app.get('/api/rooms', (request, response) => {
  response.json([...rooms].map(([id, users]) => ({ id, participants: [...users.keys()], participantCount: users.size })))
})

serve(io)

server.listen(Number(process.env.PORT), '127.0.0.1')
