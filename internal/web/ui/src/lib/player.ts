// Plays stored footage and live video of one stream in a <video>, through Media Source Extensions. Decode times of the fragments are
// wall-clock times, so the instant on the screen is the origin plus currentTime, without a table. Where the recorder's clock was set
// back they go back: what was fetched before is played out, then the origin is another one.
//
// A player has its own time, or keeps to a clock that several have together (clock.ts).

import { Splitter, type Piece } from './mp4'

export type State =
  | { kind: 'idle' }
  | { kind: 'loading' }
  | { kind: 'playing' }
  | { kind: 'ended' } // no footage after this instant
  | { kind: 'unsupported'; type: string } // this browser cannot decode it, or said that it can and did not
  | { kind: 'failed'; error: unknown }

/** What is known of the sound: none is sent, it can be heard, or it is of a coding that browsers do not play. */
export type Sound = 'none' | 'heard' | 'not-playable'

/** What a player that keeps to a clock has of its instant: the picture, not yet, there is none, or the recorder does not give it. */
export type Kept = 'shown' | 'coming' | 'none' | 'failed'

/** What the clock does: it goes on, it stands because somebody wants it to, or for a moment because not all have their picture. */
export type Pace = 'runs' | 'stands' | 'waits'

export interface Feed {
  /** Opens the bytes from an instant on (ms since the epoch), or live when undefined; undefined result: nothing there. */
  open(from: number | undefined, signal: AbortSignal): Promise<Response | undefined>
}

const ahead = 20 // seconds fetched ahead of the picture, and more where it goes faster,
const fastest = 4 // up to so many times: browsers have no room for more
const unread = 8000 // ms after which an answer that is not read on is given back: the recorder would break it off, and other answers would wait behind it
const behind = 30 // seconds kept behind it
const liveDelay = 0.35 // seconds behind the newest picture, live
const liveSlack = 1.5 // more than this behind: jump
const firstSlack = 0.6 // the same, before anything was seen
const lowest = 10 // looks over which the least that is fetched ahead counts, live: pieces come at once and are played little by little
const cushion = { least: 0.15, most: 1, less: 0.0005 } // seconds fetched ahead that live keeps; where it ran dry more, which goes back by so much at each look
const hurry = { from: 0.1, most: 0.25 } // seconds beyond that from which on it goes faster, and by how much at most
const gapStep = 0.05
const lead = 1000 // ms of media time before the first picture
const maxPictures = 6000 // a minute at 60 a second, and more
const maxOwed = 25 // steps that wait for their pictures
const pastFrame = 0.001 // seconds into a picture, where it is not the end of the one before
const firstReach = 1000 // ms before the picture on the screen where the ones before it are looked for,
const lastReach = 600_000 // then more and more: there may be a gap
const setBack = 0.5 // seconds by which times go back when a clock was set
const reachable = 15 // seconds beyond what is fetched that are waited for; farther away is asked for anew
const jump = 0.5 // seconds off the clock from which on a player seeks; what is less it makes up by its speed
const near = { stands: 0.002, waits: 0.2 } // seconds off it that a picture which stands may be
const rest = 3000 // ms without asking after there was nothing, or something went wrong
const maxClocks = 500
const refusals = 2 // once it may be a damaged picture

/** The browser did not take what it was given. */
class Refused extends Error {}

export class Player {
  private session = new AbortController()
  private origin = 0
  private since = 0 // media time from which on origin holds
  private live = false
  private held = false // stays on one picture
  private wanted: number | undefined // the instant that the session was started to show
  private owed = 0 // pictures that are still to be gone on or, negative, back
  private reach = firstReach
  private goal: number | undefined // media time
  private pictures: number[] = [] // media times of those that are fetched, in the order in which they are shown
  private low: number[] = [] // seconds ahead at the last looks, live
  private cushion = cushion.least
  private seen = false // something of this live picture
  private timer: ReturnType<typeof setInterval>
  private kept = false // to a clock that others have too
  private from = 0 // the instant from which on all was fetched, and is kept in the buffer
  private dry = false // there is nothing more for now
  private broken = false // what was asked for last did not come
  private idleUntil = 0 // by performance.now(): not asked for again before, while kept
  private type = '' // of what is fetched
  private refused = 0 // times in a row that the browser gave up before it showed a picture
  private clocks: { from: number; ahead: number }[] = [] // of the camera, by instant

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly feed: Feed,
    private readonly report: (s: State) => void,
    private readonly hear: (s: Sound) => void = () => {},
    private readonly recoded: (yes: boolean) => void = () => {},
  ) {
    this.timer = setInterval(() => this.tend(), 200)
    video.addEventListener('loadedmetadata', this.reachGoal)
    video.addEventListener('loadeddata', this.shown)
    video.addEventListener('seeked', this.shown)
    video.addEventListener('waiting', this.ranDry)
    video.addEventListener('error', this.gaveUp)
  }

  /** The browser decodes no more of this. */
  private gaveUp = () => this.fail(new Refused(this.video.error?.message))

  private fail(error: unknown): void {
    if (this.session.signal.aborted) return
    this.session.abort() // what it fetched does not grow any more
    this.broken = true
    if (error instanceof Refused || this.video.error) this.refused++ // the one may be told before the other
    const never = this.refused >= refusals
    this.idleUntil = never ? Infinity : performance.now() + rest
    this.report(never ? { kind: 'unsupported', type: this.type } : { kind: 'failed', error })
  }

  /** Goes to a media time, as soon as there is a video. */
  private go(time: number): void {
    this.goal = time
    if (this.video.readyState >= 1) this.video.currentTime = time
  }

  /** Goes there again, if the browser forgot it: it does when it is told before the first picture is there. */
  private reachGoal = () => {
    if (this.goal === undefined || this.video.readyState < 1) return
    const off = this.video.currentTime - this.goal
    if (off < -pastFrame / 2 || off > 1) this.video.currentTime = this.goal
    else if (!this.video.seeking && this.video.readyState >= 2) this.goal = undefined
  }

  private shown = () => {
    this.reachGoal()
    if (!this.origin || this.video.readyState < 2) return
    this.refused = 0
    this.report({ kind: 'playing' })
  }

  /** The instant on the screen, ms since the epoch; undefined before the first picture. */
  instant(): number | undefined {
    return this.origin && this.video.readyState >= 2 ? this.origin + this.video.currentTime * 1000 : undefined
  }

  isLive(): boolean {
    return this.live
  }

  /** The camera's clock less the recorder's at the instant on the screen, ms; undefined where it is not known. */
  cameraAhead(): number | undefined {
    const at = this.instant()
    return at === undefined ? undefined : this.clocks.findLast((c) => c.from <= at + 1)?.ahead
  }

  /** The instant of the picture n before or after an instant; undefined where it is not fetched. */
  beside(at: number, n: number): number | undefined {
    const time = (at - this.origin) / 1000
    const here = this.origin ? this.pictureAt(time) : -1
    const picture = here < 0 ? undefined : this.pictures[here + n]
    return picture === undefined || !this.fetched(picture + pastFrame) ? undefined : this.origin + (picture + pastFrame) * 1000
  }

  /**
   * Shows what there is of an instant of a clock that goes on by itself, at a rate, or stands. Called several times a second: between
   * two calls the player goes on alone, and what it is off by then is made up by its speed, so that nothing is seen of it.
   */
  keepTo(at: number, rate: number, pace: Pace): Kept {
    this.kept = this.held = true // it does not start by itself
    const v = this.video
    if (!this.follows(at, rate)) {
      if (performance.now() < this.idleUntil && at >= this.from && at < this.from + reachable * 1000) return this.broken ? 'failed' : 'none'
      if (this.idleUntil === Infinity) return 'none'
      this.start(at, at)
      return 'coming'
    }
    const time = (at - this.origin) / 1000
    if (!this.origin || !this.fetched(time)) {
      v.pause()
      for (let i = 0; this.origin && i < v.buffered.length; i++) if (v.buffered.start(i) > time) return 'none' // what comes is later
      return this.dry ? 'none' : 'coming'
    }
    const off = (v.seeking && this.goal !== undefined ? this.goal : v.currentTime) - time
    if (Math.abs(off) > (pace === 'runs' ? jump * Math.max(1, rate) : near[pace])) this.go(time)
    if (pace !== 'runs') v.pause()
    else {
      v.playbackRate = Math.min(16, Math.max(0.0625, rate * (1 - Math.max(-0.25, Math.min(0.25, off / Math.max(1, rate))))))
      if (v.paused) void v.play().catch(() => {})
    }
    return v.readyState >= 2 && !v.seeking ? 'shown' : 'coming'
  }

  /** The place among the pictures of the one that belongs to a media time; negative: it is not fetched. */
  private pictureAt(time: number): number {
    return this.pictures.findLastIndex((p) => p <= time + pastFrame / 2)
  }

  /** Whether an instant is fetched, or will be before long. */
  private follows(at: number, rate: number): boolean {
    if (this.live || this.session.signal.aborted) return false
    const b = this.video.buffered
    const time = (at - this.origin) / 1000
    if (at < this.from && !(this.origin && this.fetched(time))) return false
    if (this.dry && !this.origin) return performance.now() < this.idleUntil
    const farthest = this.origin && b.length ? this.origin + b.end(b.length - 1) * 1000 : this.from
    return at < farthest + reachable * 1000 * Math.max(1, rate)
  }

  /** Plays from an instant on, or live. What is fetched already is shown without asking again. */
  play(from?: number): void {
    if (this.kept) this.kept = this.held = false
    this.owed = 0
    if (from !== undefined && this.has(from)) this.go((from - this.origin) / 1000)
    else this.start(from, from)
  }

  /** Fetches from an instant on, or live, and shows an instant of that. */
  private start(from: number | undefined, at: number | undefined): void {
    this.session.abort()
    const session = (this.session = new AbortController())
    this.live = from === undefined
    this.wanted = at
    this.origin = this.since = 0
    this.goal = undefined
    this.pictures = []
    this.clocks = []
    this.low = []
    this.cushion = cushion.least
    this.seen = false
    this.dry = false
    this.from = from ?? 0
    this.report({ kind: 'loading' })
    this.run(from, session.signal).catch((error) => {
      if (!session.signal.aborted) this.fail(error)
    })
  }

  private has(ms: number): boolean {
    if (this.live || !this.origin || this.session.signal.aborted) return false
    const at = (ms - this.origin) / 1000
    return at >= this.since && this.fetched(at, gapStep)
  }

  /** Whether the picture at a media time is in the buffer, with so many seconds more. */
  private fetched(at: number, more = 0): boolean {
    const b = this.video.buffered
    for (let i = 0; i < b.length; i++) if (at >= b.start(i) && at <= b.end(i) - more) return true
    return false
  }

  /**
   * Goes so many pictures on or back. It goes as far as they are fetched and asks for the others; as they come it goes on, and steps
   * that are asked for meanwhile add up.
   */
  step(n: number): void {
    if (this.owed * n < 0) this.owed = 0 // the other way: what did not come is not waited for
    this.owed = Math.max(-maxOwed, Math.min(maxOwed, this.owed + n))
    this.reach = firstReach
    this.stepOn()
  }

  private stepOn(): void {
    const way = Math.sign(this.owed)
    if (!way) return
    const time = this.goal ?? this.video.currentTime // where it is going, while it seeks
    const here = this.origin && this.fetched(time) ? this.pictureAt(time) : -1
    let to = here
    if (here >= 0) {
      for (; this.owed; this.owed -= way, to += way) {
        const next = this.pictures[to + way]
        if (next === undefined || !this.fetched(next + pastFrame)) break
      }
      if (to !== here) this.go(this.pictures[to]! + pastFrame)
    }
    if (!this.owed) return
    const grows = !this.live && !this.session.signal.aborted
    if (grows && (way > 0 || here < 0)) return // it comes
    const at = this.origin ? this.origin + time * 1000 : this.wanted
    if (at === undefined || this.reach > lastReach) {
      this.owed = 0 // nothing was shown yet, or there is no picture before this one
      return
    }
    this.start(way > 0 ? at : at - this.reach, at)
    this.reach *= 8
  }

  /** How fast it goes, 1 being the time in which it was recorded. */
  speed(rate: number): void {
    this.video.defaultPlaybackRate = this.video.playbackRate = rate // the default too: another source begins with it
  }

  /** Stays on the picture that is shown. Of what is live nothing more is fetched: it would only pile up. */
  hold(): void {
    this.held = true
    if (this.live) this.session.abort()
    this.video.pause()
    // A browser that stops may have the next picture on the screen already, and need not know it: goes to the one that its time says.
    const here = this.goal === undefined && this.origin ? this.pictureAt(this.video.currentTime) : -1
    if (here >= 0) this.go(this.pictures[here]! + pastFrame)
  }

  /** Goes on after hold; what was live goes on as footage, from the picture that was held. */
  release(): void {
    const at = this.instant()
    this.held = this.kept = false
    this.owed = 0
    if (!this.session.signal.aborted) void this.video.play().catch(() => {})
    else this.play(at)
  }

  isHeld(): boolean {
    return this.held
  }

  stop(): void {
    this.session.abort()
    this.video.removeAttribute('src')
    this.video.load()
    this.report({ kind: 'idle' })
  }

  close(): void {
    clearInterval(this.timer)
    this.video.removeEventListener('loadedmetadata', this.reachGoal)
    this.video.removeEventListener('loadeddata', this.shown)
    this.video.removeEventListener('seeked', this.shown)
    this.video.removeEventListener('waiting', this.ranDry)
    this.video.removeEventListener('error', this.gaveUp)
    this.stop()
  }

  private async run(from: number | undefined, signal: AbortSignal): Promise<void> {
    const source = new MediaSource()
    const url = URL.createObjectURL(source)
    const opened = new Promise<void>((ok) => source.addEventListener('sourceopen', () => ok(), { once: true }))
    this.video.src = url
    await opened
    URL.revokeObjectURL(url)

    let buffer: SourceBuffer | undefined
    let next = from
    let shown = 0 // the newest instant that was fetched
    for (let empty = 0; !signal.aborted; ) {
      const response = await this.feed.open(next, signal)
      if (!response?.body) {
        this.dry = true
        // Nothing more yet: what is being recorded grows, so ask again; say so only when the picture stands.
        if (!buffer || end(buffer) - this.video.currentTime < 0.3) this.report({ kind: 'ended' })
        if (!buffer && this.kept) { // the clock asks again, for what it is at then
          this.idleUntil = performance.now() + rest
          return
        }
        await pause(1000, signal)
        continue
      }
      const type = (this.type = response.headers.get('Content-Type') ?? '')
      if (!MediaSource.isTypeSupported(type)) {
        await response.body.cancel()
        this.dry = true
        this.idleUntil = Infinity // it will not learn it
        this.report({ kind: 'unsupported', type })
        return
      }
      if (!buffer) buffer = source.addSourceBuffer(type)
      else buffer.changeType(type)

      this.recoded(response.headers.get('Vigil-Recoded') === 'true')
      this.hear(response.headers.get('Vigil-Muted') ? 'not-playable' : /mp4a|opus/i.test(type) ? 'heard' : 'none')
      this.shown()
      const splitter = new Splitter()
      const reader = response.body.getReader()
      let last = 0
      const before = shown
      let broken = false
      for (;;) {
        const { done, value } = await reader.read().catch((error: unknown) => {
          // Broken off: the recorder was started again, or waited too long. What came is good; go on from there.
          if (signal.aborted || this.live || shown <= before) throw error
          broken = true
          return { done: true, value: undefined }
        })
        if (done || !value) break
        for (const piece of splitter.push(value)) {
          if (piece.time && piece.time < last - setBack * 1000) await this.turnBack(buffer, piece.time, signal)
          await this.append(buffer, piece, signal)
          if (piece.time) last = piece.time
          shown = Math.max(shown, this.newest(buffer))
        }
        this.dry = this.broken = false
        if (!(await this.room(signal, unread))) {
          broken = true
          await reader.cancel()
          await this.room(signal, Infinity)
          break
        }
      }
      if (broken) next = shown + 1
      else if (this.live) {
        empty = last ? 0 : empty + 1
        await pause(Math.min(500 * 2 ** empty, 10_000), signal) // the recorder ended it: a camera went away, or a restart
        next = undefined
      } else {
        next = Number(response.headers.get('Vigil-Next')) || (last ? shown + 1 : next)
        if (!last) await pause(1000, signal)
      }
    }
  }

  /** The instant from which on the buffer has all, after what is older was dropped. */
  private newer(buffer: SourceBuffer): number {
    return buffer.buffered.length ? Math.max(this.from, this.origin + buffer.buffered.start(0) * 1000) : this.from
  }

  /** The newest instant in the buffer. */
  private newest(buffer: SourceBuffer): number {
    return this.origin + end(buffer) * 1000
  }

  /** Goes on at an earlier instant, when all before it has been shown. */
  private async turnBack(buffer: SourceBuffer, time: number, signal: AbortSignal): Promise<void> {
    while (end(buffer) - this.video.currentTime > 0.1) await pause(50, signal)
    this.since = end(buffer)
    this.origin = time - this.since * 1000
    buffer.timestampOffset = -this.origin / 1000
  }

  private async append(buffer: SourceBuffer, piece: Piece, signal: AbortSignal): Promise<void> {
    if (piece.kind === 'fragment' && !this.origin) {
      // Not at 0: a picture that rounding puts a microsecond before it is dropped, and with it all up to the next key picture.
      const first = piece.pictures.length ? Math.min(...piece.pictures) : piece.time
      this.origin = Math.floor(Math.min(first, piece.time)) - lead
      buffer.timestampOffset = -this.origin / 1000
      this.goal = (Math.max(this.wanted ?? 0, first) - this.origin) / 1000 + pastFrame
    }
    if (piece.ahead !== undefined && Math.abs(piece.ahead - (this.clocks.at(-1)?.ahead ?? Infinity)) > 100) {
      this.clocks = [...this.clocks, { from: piece.time, ahead: piece.ahead }].slice(-maxClocks)
    }
    if (piece.pictures.length) {
      this.pictures.push(...piece.pictures.map((ms) => (ms - this.origin) / 1000))
      // At the end of what is recorded each look there brings pictures again that were there.
      this.pictures = this.pictures.sort((a, b) => a - b).filter((p, i, all) => !i || p - all[i - 1]! > pastFrame / 2).slice(-maxPictures)
    }
    const keepFrom = this.video.currentTime - behind
    if (buffer.buffered.length && buffer.buffered.start(0) < keepFrom - behind) {
      buffer.remove(0, keepFrom)
      await settled(buffer, signal)
      this.from = this.newer(buffer)
    }
    for (;;) {
      try {
        buffer.appendBuffer(piece.bytes)
        break
      } catch (e) {
        // The browser has no more room: what was watched goes, and the rest waits until some more is.
        if (!(e instanceof DOMException) || e.name !== 'QuotaExceededError') throw e
        const played = this.video.currentTime - 1
        if (buffer.buffered.length && buffer.buffered.start(0) < played - 1) {
          buffer.remove(0, played)
          await settled(buffer, signal)
          this.from = this.newer(buffer)
        } else await pause(250, signal)
      }
    }
    await settled(buffer, signal)
    this.reachGoal()
    this.stepOn()
    signal.throwIfAborted() // a step back asks anew
    if (piece.kind === 'fragment' && this.video.paused && !this.video.ended && !this.held) {
      this.video.play().catch(() => {}) // the browser wants a click first; the controls are there
    }
  }

  /** Waits until the picture has come near enough to what is fetched; not reading holds the sender back. False: it took longer than ms. */
  private async room(signal: AbortSignal, ms: number): Promise<boolean> {
    const v = this.video
    const since = performance.now()
    while (!this.live && v.buffered.length && v.buffered.end(v.buffered.length - 1) - v.currentTime > ahead * Math.min(Math.max(1, v.playbackRate), fastest)) {
      if (performance.now() - since > ms) return false
      await pause(250, signal)
    }
    return true
  }

  /** What held live up once, a slow start or a net that stood still, is made up: a little faster, until there is no more ahead than it needs. */
  private keepUp(left: number): void {
    const v = this.video
    if (v.defaultPlaybackRate !== 1 || this.goal !== undefined) return
    this.cushion = Math.max(cushion.least, this.cushion - cushion.less)
    this.low = [...this.low, left].slice(-lowest)
    const over = Math.min(...this.low) - this.cushion
    const fast = this.low.length === lowest && over > (v.playbackRate > 1 ? 0 : hurry.from)
    const rate = fast ? 1 + Math.min(hurry.most, over / 2) : 1
    if (v.playbackRate !== rate) v.playbackRate = rate
  }

  /** What is live came later than it was needed: more is kept ahead from now on. */
  private ranDry = () => {
    if (!this.live || !this.seen || this.goal !== undefined || this.video.seeking) return
    this.cushion = Math.min(cushion.most, this.cushion * 2)
    this.low = []
    if (this.video.defaultPlaybackRate === 1) this.video.playbackRate = 1
  }

  /** Steps over gaps, and keeps live close to now. */
  private tend(): void {
    this.reachGoal()
    const { buffered: b, currentTime: at, paused } = this.video
    if (!b.length || paused || !this.origin || this.kept) return
    const newest = b.end(b.length - 1)
    if (this.live && this.video.readyState >= 2) {
      const slack = this.seen ? liveSlack : firstSlack
      this.seen = true
      if (newest - at > slack + this.cushion - cushion.least) {
        this.low = []
        this.go(newest - Math.max(liveDelay, this.cushion))
        return
      }
      this.keepUp(newest - at)
    }
    for (let i = 0; i < b.length; i++) {
      if (at < b.start(i)) {
        if (i === 0 || at >= b.end(i - 1) - gapStep) this.go(b.start(i) + pastFrame)
        return
      }
      if (at < b.end(i) - gapStep) return
    }
  }
}

function end(b: SourceBuffer): number {
  return b.buffered.length ? b.buffered.end(b.buffered.length - 1) : 0
}

function settled(b: SourceBuffer, signal: AbortSignal): Promise<void> {
  return new Promise((ok, fail) => {
    if (signal.aborted) return fail(signal.reason)
    const done = () => {
      b.removeEventListener('updateend', done)
      b.removeEventListener('error', bad)
      signal.aborted ? fail(signal.reason) : ok()
    }
    const bad = () => fail(new Refused('the browser could not take this video'))
    b.addEventListener('updateend', done)
    b.addEventListener('error', bad)
    if (!b.updating) done()
  })
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((ok, fail) => {
    const t = setTimeout(ok, ms)
    signal.addEventListener('abort', () => (clearTimeout(t), fail(signal.reason)), { once: true })
  })
}
