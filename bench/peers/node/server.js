// The page server with fastify, undici and eta; one process.

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Eta } from 'eta'
import Fastify from 'fastify'
import { Pool } from 'undici'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8080' },
    api: { type: 'string', default: 'http://127.0.0.1:9100' },
    version: { type: 'boolean' }
  }
})

if (values.version) {
  const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)))
  const packages = ['fastify', 'undici', 'eta'].map((name) => `${name} ${dependencies[name]}`)
  console.log([`Node ${process.version}`, ...packages].join(', '))
  process.exit()
}

// Compiled once; values are escaped unless a template says otherwise, which these do not.
const eta = new Eta({ views: new URL('views', import.meta.url).pathname, autoEscape: true })
const compile = (name) => eta.compile(eta.readFile(eta.resolvePath(name)))
const userTemplate = compile('user')
const listTemplate = compile('list')

// Enough for all that one process can do at an API of a second. Without a limit the pool opens more
// connections than there are fetches when it is overloaded, and a page costs half as much again.
const api = new Pool(values.api, {
  connections: 4096,
  pipelining: 1,
  keepAliveTimeout: 75_000,
  headersTimeout: 10_000,
  bodyTimeout: 10_000,
  connectTimeout: 10_000
})

async function get (path) {
  const { statusCode, body } = await api.request({ method: 'GET', path })
  if (statusCode !== 200) {
    await body.dump()
    throw new Error(`the API answered ${statusCode}`)
  }
  return body.json()
}

const app = Fastify({ logger: false, keepAliveTimeout: 75_000 })

app.get('/users/:id', async (request, reply) => {
  const page = await get(`/users/${encodeURIComponent(request.params.id)}`)
  reply.type('text/html; charset=utf-8')
  return eta.render(userTemplate, { page })
})

app.get('/lists/:id', async (request, reply) => {
  const list = await get(`/lists/${encodeURIComponent(request.params.id)}`)
  const items = await Promise.all(list.items.map((number) => get(`/items/${number}`)))
  reply.type('text/html; charset=utf-8')
  return eta.render(listTemplate, { list, items })
})

app.setErrorHandler((error, request, reply) => reply.code(502).send('Bad Gateway'))

await app.listen({ host: '127.0.0.1', port: Number(values.port), backlog: 4096 })
