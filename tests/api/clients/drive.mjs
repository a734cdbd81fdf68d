// Does what the lines on standard input say with the published SDK, and answers each with a line.
import { createInterface } from 'node:readline'

const { Sandbox } = await import(process.argv[2])

// A network configuration that functions choose from what the SDK gives them.
function selected(network) {
  const { chooses, ...rest } = network
  if (!chooses) return network
  return {
    ...rest,
    allowOut: ({ rules }) => [...rules.keys(), ...(chooses.alsoAllow ?? [])],
    denyOut: ({ allTraffic }) => [allTraffic],
  }
}

const plain = (info) => JSON.parse(JSON.stringify(info))

const actions = {
  async create({ template, network, ...options }) {
    const made = await Sandbox.create(template ?? 'base', { ...options, ...(network && { network: selected(network) }) })
    return { id: made.sandboxId, host: made.getHost(8080), trafficAccessToken: made.trafficAccessToken ?? null }
  },
  update: ({ id, network }) => Sandbox.updateNetwork(id, selected(network)),
  async updateConnected({ id, network }) {
    const sandbox = await Sandbox.connect(id)
    await sandbox.updateNetwork(selected(network))
  },
  info: async ({ id }) => plain(await Sandbox.getInfo(id)),
  async list({ metadata, limit }) {
    const paginator = Sandbox.list({ query: { metadata }, limit })
    const all = []
    let pages = 0
    while (paginator.hasNext) {
      all.push(...(await paginator.nextItems()).map((one) => one.sandboxId))
      pages += 1
    }
    return { ids: all, pages }
  },
  timeout: ({ id, ms }) => Sandbox.setTimeout(id, ms),
  kill: async ({ id }) => ({ killed: await Sandbox.kill(id) }),
  key: async ({ key }) => {
    process.env.E2B_API_KEY = key
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: action, ...rest } = JSON.parse(line)
  try {
    console.log(JSON.stringify({ ok: (await actions[action](rest)) ?? null }))
  } catch (error) {
    console.log(JSON.stringify({ error: { kind: error.constructor.name, message: String(error.message) } }))
  }
}
