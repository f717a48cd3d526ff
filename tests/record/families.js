// Six servers of different families, and a page for each that speaks its events.
//
// `serve(io)` is the server; `open(page)` attaches the page's listeners and joins; `chat(page, text)` and `leave(page)` execute these
// actions.

const relay = (socket, from, to) => socket.on(from, (data) => socket.to(data.to).emit(to, { ...data, from: socket.id }))

/** Each page receives the names of later pages: Ann and Bo may join in either order. */
const areNotified = (pages) => /^(Ann|Bo),Cy,Cy$/.test(pages.flatMap(({ seen }) => seen.names ?? []).sort().join())

/** Positions instead of objects, and ids chosen by the users. Existing peers send offers. */
const strings = {
  name: 'bare strings',
  client: 4,
  serve(io) {
    const sockets = new Map()
    io.on('connection', (socket) => {
      socket.on('join-room', (room, user) => {
        socket.join(room)
        sockets.set(user, socket)
        socket.to(room).emit('user-connected', user)
        for (const event of ['offer', 'answer', 'candidate']) {
          socket.on(event, (body, target) => sockets.get(target)?.emit(event, body, user))
        }
        socket.on('message', (text) => io.to(room).emit('createMessage', text))
        socket.on('disconnect', () => socket.to(room).emit('user-disconnected', user))
      })
    })
  },
  open(page) {
    const { socket } = page
    socket.on('user-connected', (user) => socket.emit('offer', page.describe(user, 'offer'), user))
    socket.on('offer', (body, user) => {
      socket.emit('answer', page.described(user, body), user)
      socket.emit('candidate', page.candidate(user), user)
    })
    socket.on('answer', (body, user) => {
      page.described(user, body)
      socket.emit('candidate', page.candidate(user), user)
    })
    socket.on('candidate', (body, user) => page.reached(user, body))
    socket.on('createMessage', (text) => page.chats.push(text))
    socket.on('user-disconnected', (user) => page.left(user))
    socket.emit('join-room', page.room, `user-${page.name}-${page.room}`)
  },
  chat: (page, text) => page.socket.emit('message', text),
  leave: (page) => page.socket.disconnect(),
  echoes: true,
}

/** Objects, a list for the joining peer, which offers; names of people; a leave event. */
const objects = {
  name: 'objects',
  client: 4,
  serve(io) {
    const rooms = new Map()
    io.on('connection', (socket) => {
      let room
      const leave = () => {
        if (!room) return
        socket.to(room).emit('peer:gone', { peerId: socket.id })
        rooms.get(room).delete(socket.id)
        socket.leave(room)
        room = undefined
      }
      socket.on('room:enter', ({ roomName, displayName }) => {
        room = roomName
        if (!rooms.has(room)) rooms.set(room, new Map())
        const peers = [...rooms.get(room)].map(([id, name]) => ({ socketId: id, displayName: name }))
        socket.emit('room:entered', { roomName, you: socket.id, peers })
        rooms.get(room).set(socket.id, displayName)
        socket.join(room)
        socket.to(room).emit('peer:new', { peerId: socket.id, displayName })
      })
      relay(socket, 'rtc:offer', 'rtc:offer')
      relay(socket, 'rtc:answer', 'rtc:answer')
      relay(socket, 'rtc:candidate', 'rtc:candidate')
      socket.on('chat:send', ({ text }) => room && socket.to(room).emit('chat:send', { text, from: socket.id }))
      socket.on('room:leave', leave)
      socket.on('disconnect', leave)
    })
  },
  open(page) {
    const { socket } = page
    socket.on('room:entered', ({ roomName, you, peers }) => {
      page.seen.entered = roomName === page.room && you === socket.id && peers.every((peer) => peer.displayName)
      for (const { socketId } of peers) socket.emit('rtc:offer', { to: socketId, offer: page.describe(socketId, 'offer') })
    })
    socket.on('peer:new', ({ displayName }) => (page.seen.names = [...(page.seen.names ?? []), displayName]))
    socket.on('rtc:offer', ({ from, offer }) => {
      socket.emit('rtc:answer', { to: from, answer: page.described(from, offer) })
      socket.emit('rtc:candidate', { to: from, candidate: page.candidate(from) })
    })
    socket.on('rtc:answer', ({ from, answer }) => {
      page.described(from, answer)
      socket.emit('rtc:candidate', { to: from, candidate: page.candidate(from) })
    })
    socket.on('rtc:candidate', ({ from, candidate }) => page.reached(from, candidate))
    socket.on('chat:send', ({ text }) => page.chats.push(text))
    socket.on('peer:gone', ({ peerId }) => page.left(peerId))
    socket.emit('room:enter', { roomName: page.room, displayName: page.name })
  },
  chat: (page, text) => page.socket.emit('chat:send', { text }),
  leave: (page) => page.socket.emit('room:leave'),
  check: (pages) => pages.every((page) => page.seen.entered) && areNotified(pages),
}

/** The server sends both sides the other's id, and which of them offers. */
const addPeer = {
  name: 'add-peer',
  client: 2,
  serve(io) {
    io.on('connection', (socket) => {
      socket.on('check-in', ({ channel }) => {
        for (const id of io.sockets.adapter.rooms.get(channel) ?? []) {
          io.to(id).emit('meet', { peer: socket.id, offers: false })
          socket.emit('meet', { peer: id, offers: true })
        }
        socket.join(channel)
      })
      socket.on('pass-sdp', ({ peer, sessionDescription }) => {
        io.to(peer).emit('sdp', { peer: socket.id, sessionDescription })
      })
      socket.on('pass-ice', ({ peer, ice }) => io.to(peer).emit('ice', { peer: socket.id, ice }))
      socket.on('shout', (data) => socket.broadcast.emit('shout', data))
      socket.on('disconnecting', () => {
        for (const room of socket.rooms) socket.to(room).emit('part', { peer: socket.id })
      })
    })
  },
  open(page) {
    const { socket } = page
    socket.on('meet', ({ peer, offers }) => {
      if (offers) socket.emit('pass-sdp', { peer, sessionDescription: page.describe(peer, 'offer') })
    })
    socket.on('sdp', ({ peer, sessionDescription }) => {
      const answer = page.described(peer, sessionDescription)
      if (answer) socket.emit('pass-sdp', { peer, sessionDescription: answer })
      socket.emit('pass-ice', { peer, ice: page.candidate(peer) })
    })
    socket.on('ice', ({ peer, ice }) => page.reached(peer, ice))
    socket.on('shout', ({ text }) => page.chats.push(text))
    socket.on('part', ({ peer }) => page.left(peer))
    socket.emit('check-in', { channel: page.room })
  },
  chat: (page, text) => page.socket.emit('shout', { text }),
  leave: (page) => page.socket.disconnect(),
}

/** One event for descriptions and candidates. */
const signal = {
  name: 'one signal event',
  client: 3,
  serve(io) {
    io.on('connection', (socket) => {
      socket.on('enter', (room) => {
        const others = [...(io.sockets.adapter.rooms.get(room) ?? [])]
        socket.join(room)
        socket.emit('others', others)
        socket.on('wave', (data) => socket.to(room).emit('waved', data))
        socket.on('disconnect', () => io.to(room).emit('bye', socket.id))
      })
      socket.on('signal', ({ peer, data }) => io.to(peer).emit('signal', { peer: socket.id, data }))
    })
  },
  open(page) {
    const { socket } = page
    const send = (peer, data) => socket.emit('signal', { peer, data })
    socket.on('others', (ids) => ids.forEach((id) => send(id, page.describe(id, 'offer'))))
    socket.on('signal', ({ peer, data }) => {
      if (data.candidate) return page.reached(peer, data)
      const answer = page.described(peer, data)
      if (answer) send(peer, answer)
      send(peer, page.candidate(peer))
    })
    socket.on('waved', ({ text }) => page.chats.push(text))
    socket.on('bye', (id) => page.left(id))
    socket.emit('enter', page.room)
  },
  chat: (page, text) => page.socket.emit('wave', { text }),
  leave: (page) => page.socket.disconnect(),
}

/** Users are called by their own ids, and receive the name of the caller. */
const callUser = {
  name: 'call-user with personal ids',
  client: 4,
  transports: ['websocket'],
  serve(io) {
    const people = new Map()
    io.on('connection', (socket) => {
      socket.on('sign-in', ({ team, email, fullName }) => {
        people.set(email, socket)
        socket.join(team)
        const caller = { email, fullName }
        socket.to(team).emit('person-online', caller)
        socket.on('call-user', ({ to, offer }) => people.get(to)?.emit('incoming-call', { from: email, fullName, offer }))
        socket.on('accept-call', ({ to, answer }) => people.get(to)?.emit('call-accepted', { from: email, answer }))
        socket.on('trickle', ({ to, candidate }) => people.get(to)?.emit('trickle', { from: email, candidate }))
        socket.on('note', ({ text }) => socket.to(team).emit('noted', { text }))
        socket.on('disconnect', () => socket.to(team).emit('person-offline', { email }))
      })
    })
  },
  open(page) {
    const { socket } = page
    socket.on('person-online', ({ email, fullName }) => {
      page.seen.names = [...(page.seen.names ?? []), fullName]
      socket.emit('call-user', { to: email, offer: page.describe(email, 'offer') })
    })
    socket.on('incoming-call', ({ from, fullName, offer }) => {
      page.seen.callers = [...(page.seen.callers ?? []), fullName]
      socket.emit('accept-call', { to: from, answer: page.described(from, offer) })
      socket.emit('trickle', { to: from, candidate: page.candidate(from) })
    })
    socket.on('call-accepted', ({ from, answer }) => {
      page.described(from, answer)
      socket.emit('trickle', { to: from, candidate: page.candidate(from) })
    })
    socket.on('trickle', ({ from, candidate }) => page.reached(from, candidate))
    socket.on('noted', ({ text }) => page.chats.push(text))
    socket.on('person-offline', ({ email }) => page.left(email))
    socket.emit('sign-in', { team: page.room, email: `${page.name}@${page.room}.example`, fullName: page.name })
  },
  chat: (page, text) => page.socket.emit('note', { text }),
  leave: (page) => page.socket.disconnect(),
  check: (pages) => areNotified(pages) && pages[2].seen.callers.sort().join() === 'Ann,Bo',
}

/** All peers get the list of all peers after each change. The new peer calls. */
const lists = {
  name: 'lists to all',
  client: 2,
  transports: ['polling'],
  serve(io) {
    const rooms = new Map()
    io.on('connection', (socket) => {
      const tell = (room) => io.to(room).emit('people', rooms.get(room), rooms.get(room).length)
      socket.on('come-in', (room, nickname) => {
        socket.join(room)
        rooms.set(room, [...(rooms.get(room) ?? []), { id: socket.id, nickname }])
        tell(room)
        socket.on('disconnect', () => {
          rooms.set(room, rooms.get(room).filter(({ id }) => id !== socket.id))
          tell(room)
        })
      })
      socket.on('dial', ({ target, sdp }) => io.to(target).emit('ringing', { caller: socket.id, sdp }))
      socket.on('pick-up', ({ target, sdp }) => io.to(target).emit('picked-up', { callee: socket.id, sdp }))
      socket.on('route', ({ target, candidate }) => io.to(target).emit('route', { sender: socket.id, candidate }))
      socket.on('say', (text) => socket.broadcast.emit('say', text))
    })
  },
  open(page) {
    const { socket } = page
    let list = null
    socket.on('people', (people, count) => {
      if (people.length !== count) throw new Error(`${count} people in ${JSON.stringify(people)}`)
      const me = people.find(({ nickname }) => nickname === page.name)
      const others = people.filter((person) => person !== me).map(({ id }) => id)
      if (!list) others.forEach((target) => socket.emit('dial', { target, sdp: page.describe(target, 'offer') }))
      else list.filter((id) => !others.includes(id)).forEach((id) => page.left(id))
      list = others
    })
    socket.on('ringing', ({ caller, sdp }) => {
      socket.emit('pick-up', { target: caller, sdp: page.described(caller, sdp) })
      socket.emit('route', { target: caller, candidate: page.candidate(caller) })
    })
    socket.on('picked-up', ({ callee, sdp }) => {
      page.described(callee, sdp)
      socket.emit('route', { target: callee, candidate: page.candidate(callee) })
    })
    socket.on('route', ({ sender, candidate }) => page.reached(sender, candidate))
    socket.on('say', (text) => page.chats.push(text))
    socket.emit('come-in', page.room, page.name)
  },
  chat: (page, text) => page.socket.emit('say', text),
  leave: (page) => page.socket.disconnect(),
}

export const FAMILIES = [strings, objects, addPeer, signal, callUser, lists]
