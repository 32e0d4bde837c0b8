// Where the page is: "#watch/<camera>?t=<ms>". What a person looks at stands in the address, so that reload, back and a
// sign-in in between come back to it.

export const places = ['live', 'watch', 'exports', 'cameras', 'alerts', 'system'] as const
export type Place = (typeof places)[number]

export interface Where {
  place: Place
  id: string
  query: Record<string, string>
}

export function parse(hash: string): Where {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  const [name, id = ''] = path === 'log' ? ['system', 'log'] : path.split('/') // a part of System, and a place of its own once
  return { place: places.find((p) => p === name) ?? 'live', id, query: Object.fromEntries(new URLSearchParams(query)) }
}

/** The address of a place; what is undefined is left out. */
export function href(place: Place, id = '', query: Record<string, string | number | undefined> = {}): string {
  const q = new URLSearchParams()
  for (const [k, v] of Object.entries(query)) if (v !== undefined) q.set(k, String(v))
  return `#${place}${id && '/' + id}${q.size ? '?' + q.toString().replaceAll('%2C', ',') : ''}`
}

class Route {
  at = $state.raw<Where>(parse(location.hash))

  constructor() {
    addEventListener('hashchange', () => (this.at = parse(location.hash)))
  }

  /** Goes there, as a new step of the history; at is another at once, though the event comes later. */
  go(to: string): void {
    location.hash = to
    this.at = parse(to)
  }

  /** Goes on within the same step of the history. */
  replace(to: string): void {
    if (to === location.hash) return
    history.replaceState(null, '', to)
    this.at = parse(to)
  }
}

export const route = new Route()
