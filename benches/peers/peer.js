// PeerJS's own server, with room for more than its 5,000 connections.
const { PeerServer } = require('peer')

PeerServer({ port: Number(process.env.PORT), host: '127.0.0.1', path: '/', concurrent_limit: 100000 })
