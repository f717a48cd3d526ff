// Whether a node accepts clients, as load balancers ask.

import http from 'node:http'

/** @param {{ host: string, port: number }} address */
export function acceptsClients(address) {
  return new Promise((done) => {
    const request = http.get({ ...address, path: '/healthz', agent: false }, (response) => {
      response.resume()
      done(response.statusCode === 200)
    })
    request.once('error', () => done(false))
  })
}
