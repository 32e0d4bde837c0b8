// Addresses of cameras, as people type and paste them.

const decode = (s: string) => {
  try {
    return decodeURIComponent(s)
  } catch {
    return s
  }
}

/** Takes user and password out of an address: it is shown in many places. undefined where there are none. */
export function credentials(address: string): { address: string; user: string; password?: string } | undefined {
  const m = /^(rtsps?:\/\/)([^/?#@:]*)(?::([^/?#]*))?@([^@]*)$/i.exec(address.trim())
  if (!m) return undefined
  return { address: m[1]! + m[4]!, user: decode(m[2]!), ...(m[3] === undefined ? {} : { password: decode(m[3]) }) }
}

/** The same address over TLS, on its registered port (RFC 7826). */
export function encrypted(address: string): string | undefined {
  const m = /^rtsp:\/\/([^/?]+)(.*)$/i.exec(address)
  return m ? `rtsps://${m[1]!.replace(/:\d+$/, '')}:322${m[2]}` : undefined
}

export const isPlain = (address: string) => /^rtsp:/i.test(address)

/** The most lines of one paste. */
export const mostLines = 64

/** One camera of a paste. */
export interface Line {
  /** As typed, without credentials. */
  typed: string
  name: string
  /** What to try, in order: encrypted first where no scheme was typed. */
  tries: string[]
  user?: string
  password?: string
  /** The path of the stream was left out. */
  bare: boolean
  /** What is wrong with it. */
  fault?: { why: 'not-rtsp' | 'not-address' | 'twice' | 'there'; arg: string }
}

const host = /^(\[[0-9a-f:.%]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)(:\d{1,5})?(\/\S*)?$/i
const trim = (s: string) => s.replace(/^[\s,;"']+|[\s,;"']+$/g, '')

/** Parts a line into name, address and what stands behind it: user, password. */
function fields(line: string): { name: string; address: string; rest: string[] } {
  const scheme = /[a-z][a-z0-9+.-]*:\/\/[^\s,;"']+/i.exec(line)
  if (scheme) {
    const rest = line.slice(scheme.index + scheme[0].length).split(/[\t,;]/).map(trim)
    return { name: trim(line.slice(0, scheme.index)), address: scheme[0], rest: rest.slice(1) }
  }
  const table = /[\t,;]/.test(line)
  const parts = (table ? line.split(/[\t,;]/) : line.split(/\s+/)).map(trim)
  let at = parts.findIndex((p) => /[.:/]/.test(p) && host.test(p))
  if (at < 0) at = table ? Math.min(1, parts.length - 1) : parts.length - 1
  return { name: parts.slice(0, at).join(' ').trim(), address: parts[at]!, rest: table ? parts.slice(at + 1) : [] }
}

/** Reads pasted text, one camera a line; there are those that the recorder has. */
export function parseLines(text: string, there: { name: string; streams: { url: string }[] }[]): Line[] {
  const names = new Set(there.map((c) => c.name.toLowerCase()))
  const known = new Map(there.flatMap((c) => c.streams.map((s) => [s.url, c.name] as const)))
  const seen = new Map<string, string>()
  const lines: Line[] = []
  for (const raw of text.split(/\r?\n/)) {
    if (!raw.trim() || raw.trim().startsWith('#') || lines.length > mostLines) continue
    const f = fields(raw.trim())
    const secret = credentials(f.address)
    const address = secret?.address ?? f.address
    const line: Line = { typed: address, name: f.name, tries: [], user: secret?.user ?? (f.rest[0] || undefined), password: secret?.password ?? (f.rest[1] || undefined), bare: false }
    const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(address)?.[1]?.toLowerCase()
    const m = host.exec(scheme ? address.slice(scheme.length + 3) : address)
    if (scheme && scheme !== 'rtsp' && scheme !== 'rtsps') line.fault = { why: 'not-rtsp', arg: address }
    else if (!scheme && !m) line.fault = { why: 'not-address', arg: address }
    else if (scheme) line.tries = [address]
    else {
      const path = m![3] ?? '/'
      line.tries = [`rtsps://${m![1]}${m![2] ?? ':322'}${path}`, `rtsp://${m![1]}${m![2] ?? ''}${path}`]
      line.bare = path === '/'
    }
    const place = scheme ? address : line.tries[1]
    if (place && !line.fault) {
      const twice = seen.get(place)
      const mine = known.get(address) ?? line.tries.map((a) => known.get(a)).find((n) => n)
      if (twice) line.fault = { why: 'twice', arg: twice }
      else if (mine) line.fault = { why: 'there', arg: mine }
      else seen.set(place, f.name || address)
    }
    const wanted = (line.name || (m?.[1] ?? address)).slice(0, 60)
    line.name = wanted
    for (let n = 2; names.has(line.name.toLowerCase()); n++) line.name = `${wanted} ${n}`
    if (!line.fault) names.add(line.name.toLowerCase())
    lines.push(line)
  }
  return lines
}
