// Small pictures of the instants under the pointer. One is asked for at a time; while it comes the newest wish replaces the ones
// before it, so that moving over a day asks for as many as can be made, not for as many as there are pixels.

/** The picture of an instant: undefined where nothing was recorded. Throws where there is none for another reason. */
export type Ask = (stream: string, at: number, signal: AbortSignal) => Promise<Blob | undefined>

interface Wish {
  key: string
  stream: string
  at: number
}

const most = 300 // of some 10 kB each
const rest = 5000 // ms without asking after something went wrong

export class Thumbs {
  private kept = new Map<string, string>() // object URLs, the last used at the end; '': nothing was recorded then
  private wish: Wish | undefined
  private busy = false
  private until = 0
  private closed = new AbortController()

  constructor(
    private readonly ask: Ask,
    private readonly show: (url: string | undefined) => void,
  ) {}

  /** The pointer is at an instant; step is what a pixel stands for, ms. */
  want(stream: string, at: number, step: number): void {
    const grid = Math.max(1000, 4 * step)
    at = Math.floor(at / grid) * grid
    const key = `${stream} ${at}`
    const url = this.kept.get(key)
    if (url !== undefined) {
      this.wish = undefined
      this.kept.delete(key)
      this.kept.set(key, url)
      this.show(url || undefined)
      return
    }
    this.wish = { key, stream, at }
    void this.next()
  }

  /** Nothing is under the pointer. */
  clear(): void {
    this.wish = undefined
    this.show(undefined)
  }

  close(): void {
    this.closed.abort()
    this.clear()
    for (const url of this.kept.values()) if (url) URL.revokeObjectURL(url)
    this.kept.clear()
  }

  private async next(): Promise<void> {
    if (this.busy || this.closed.signal.aborted || Date.now() < this.until) return
    this.busy = true
    for (let w = this.wish; w && !this.closed.signal.aborted; w = this.wish) {
      let url = ''
      try {
        const blob = await this.ask(w.stream, w.at, this.closed.signal)
        if (this.closed.signal.aborted) break
        if (blob) url = URL.createObjectURL(blob)
      } catch {
        this.until = Date.now() + rest
        this.clear()
        break
      }
      this.keep(w.key, url)
      if (this.wish === w) {
        this.wish = undefined
        this.show(url || undefined)
      } else if (this.wish?.stream === w.stream) this.show(url || undefined) // on the way: better than nothing
    }
    this.busy = false
  }

  private keep(key: string, url: string): void {
    this.kept.set(key, url)
    for (const [k, old] of this.kept) {
      if (this.kept.size <= most) break
      if (old) URL.revokeObjectURL(old)
      this.kept.delete(k)
    }
  }
}
