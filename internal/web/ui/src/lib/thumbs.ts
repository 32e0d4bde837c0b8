// Small pictures of the instants under the pointer. One is asked for at a time; while it comes the newest wish replaces the ones
// before it, so that moving over a day asks for as many as can be made, not for as many as there are pixels.

/** The picture of an instant, and when it was taken; undefined where nothing was recorded. Throws where there is none for another reason. */
export type Ask = (stream: string, at: number, signal: AbortSignal) => Promise<{ blob: Blob; at: number } | undefined>

/** A picture to be shown: its object URL, and when it was taken. */
export interface Thumb {
  url: string
  at: number
}

interface Wish {
  key: string
  stream: string
  at: number
}

const most = 300 // of some 10 kB each
const rest = 5000 // ms without asking after something went wrong

export class Thumbs {
  private kept = new Map<string, Thumb | undefined>() // the last used at the end; undefined: nothing was recorded then
  private wish: Wish | undefined
  private busy = false
  private until = 0
  private closed = new AbortController()

  constructor(
    private readonly ask: Ask,
    private readonly show: (thumb: Thumb | undefined) => void,
  ) {}

  /** The pointer is at an instant; step is what a pixel stands for, ms. */
  want(stream: string, at: number, step: number): void {
    const grid = Math.max(1000, 4 * step)
    at = Math.floor(at / grid) * grid
    const key = `${stream} ${at}`
    if (this.kept.has(key)) {
      const thumb = this.kept.get(key)
      this.wish = undefined
      this.kept.delete(key)
      this.kept.set(key, thumb)
      this.show(thumb)
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
    for (const thumb of this.kept.values()) if (thumb) URL.revokeObjectURL(thumb.url)
    this.kept.clear()
  }

  private async next(): Promise<void> {
    if (this.busy || this.closed.signal.aborted || Date.now() < this.until) return
    this.busy = true
    for (let w = this.wish; w && !this.closed.signal.aborted; w = this.wish) {
      let thumb: Thumb | undefined
      try {
        const picture = await this.ask(w.stream, w.at, this.closed.signal)
        if (this.closed.signal.aborted) break
        if (picture) thumb = { url: URL.createObjectURL(picture.blob), at: picture.at }
      } catch {
        this.until = Date.now() + rest
        this.clear()
        break
      }
      this.keep(w.key, thumb)
      if (this.wish === w) {
        this.wish = undefined
        this.show(thumb)
      } else if (this.wish?.stream === w.stream) this.show(thumb) // on the way: better than nothing
    }
    this.busy = false
  }

  private keep(key: string, thumb: Thumb | undefined): void {
    this.kept.set(key, thumb)
    for (const [k, old] of this.kept) {
      if (this.kept.size <= most) break
      if (old) URL.revokeObjectURL(old.url)
      this.kept.delete(k)
    }
  }
}
