// Socket.IO on Bun, with the engine that its authors wrote for it.
import { Server as Engine } from '@socket.io/bun-engine'
import { Server } from 'socket.io'
import { serve } from './rooms'

const io = new Server()
const origin = process.env.CLIENT_URL || 'http://localhost:3000'
const engine = new Engine({ path: '/socket.io/', cors: { origin, methods: ['GET', 'POST'], credentials: true } })
io.bind(engine)
serve(io)

// `bun run` serves the default export.
export default { hostname: '127.0.0.1', port: Number(process.env.PORT), ...engine.handler() }
