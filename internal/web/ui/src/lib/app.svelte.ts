// What the whole page shares: language, zone, who is signed in, cameras and alerts as the recorder last said.

import { call, configure, base, type Alert, type Camera, type Export, type Mark, type Problem, type Session, type Setup } from './api'
import { merge, put } from './news'
import { initialLocale, text, type Key, type Locale } from './i18n'
import { units } from './time'

class App {
  locale = $state<Locale>(initialLocale())
  zone = $state('UTC')
  /** Of the settings; another one says that somebody changed them. */
  version = $state(0)
  /** Set-up goes on: its page shows instead of the others. */
  settingUp = $state(false)
  /** The recorder starts anew because it was asked to: that it does not answer is no trouble. */
  expected = $state(false)
  /** Set-up has just ended: the page of live pictures says what was reached. */
  started = $state(false)
  setup = $state<Setup>()
  session = $state<Session>()
  cameras = $state<Camera[]>([])
  alerts = $state<Alert[]>([])
  exports = $state<Export[]>([])
  /** By instant; of the cameras that may be watched. */
  marks = $state.raw<Mark[]>([])
  loaded = $state(false)
  /** The recorder answers. */
  reachable = $state(true)
  /** The recorder's clock minus the browser's, ms. */
  private skew = 0
  private events: EventSource | undefined
  private retry = 0
  private changing = false
  private listening = new Set<Set<string>>()
  private asked = 0
  private taken = 0
  /** The session ended under the page: said where one signs in again. */
  expired = $state(false)

  setLocale(locale: Locale): void {
    this.locale = locale
    localStorage.setItem('vigil.locale', locale)
    this.apply()
    if (this.session) {
      void call('put', '/session/language', { body: { language: locale } }) // of the account, in every browser
      void this.refresh()
    }
  }

  private apply(): void {
    document.documentElement.lang = this.locale
    configure(this.locale, () => this.ended())
  }

  /** The recorder's clock. */
  now(): number {
    return Date.now() + this.skew
  }

  /** An answer said what the recorder's clock was: it may have been set meanwhile. */
  heard(now: number): void {
    if (Math.abs(now - this.now()) > 1000) this.skew = now - Date.now()
  }

  /** Asks for the marks again: somebody, maybe in another tab, has put or removed one. */
  async readMarks(): Promise<void> {
    const r = await call('get', '/marks')
    if (r.kind === 'ok') this.marks = r.data.marks
  }

  async start(): Promise<void> {
    this.apply()
    const setup = await call('get', '/setup')
    if (setup.kind !== 'ok') {
      this.reachable = false
      setTimeout(() => void this.start(), 3000)
      return
    }
    this.reachable = true
    this.setup = setup.data
    if (setup.data.state === 'done') {
      const session = await call('get', '/session')
      if (session.kind === 'ok') await this.signedIn(session.data)
    }
    this.loaded = true
  }

  async signedIn(session: Session): Promise<void> {
    if (session.language && session.language !== this.locale) {
      this.locale = session.language
      localStorage.setItem('vigil.locale', session.language)
      this.apply()
    }
    if (!session.passwordMustChange) await this.refresh() // before a page shows: it would say that there are no cameras
    this.session = session
    if (this.setup) this.setup.state = 'done' // not before: the page of set-up would go in between, and with it where the keyboard was
    this.expired = false
    if (!session.passwordMustChange) this.listen()
  }

  /** Asks for everything again: after sign-in, after the event stream broke, after a change of language. */
  async refresh(): Promise<void> {
    const number = ++this.asked
    const heard = new Set<string>() // what there was news of meanwhile: that is newer than the answers
    this.listening.add(heard)
    void this.readMarks()
    const [cameras, alerts, exports, settings, status] = await Promise.all([
      call('get', '/cameras'), call('get', '/alerts'), call('get', '/exports'), call('get', '/settings'), call('get', '/status'),
    ])
    this.listening.delete(heard)
    if (number < this.taken) return // a later answer is here already
    this.taken = number
    if (cameras.kind === 'ok') this.cameras = merge(cameras.data.cameras, this.cameras, heard).sort(byName)
    if (alerts.kind === 'ok') this.alerts = merge(alerts.data.alerts, this.alerts, heard)
    if (exports.kind === 'ok') this.exports = merge(exports.data.exports, this.exports, heard)
    if (settings.kind === 'ok') {
      this.zone = settings.data.timeZone
      this.version = settings.data.version
      this.settingUp = settings.data.settingUp ?? false
    }
    if (status.kind === 'ok') this.skew = status.data.now - Date.now()
  }

  private listen(): void {
    this.events?.close()
    const events = (this.events = new EventSource(base + '/events'))
    const on = <T extends { id?: string }>(kind: string, act: (data: T) => void) =>
      events.addEventListener(kind, (e) => {
        const data = JSON.parse((e as MessageEvent<string>).data) as T
        if (data.id) for (const heard of this.listening) heard.add(data.id)
        act(data)
      })
    on<Camera>('camera', (c) => (this.cameras = put(this.cameras, c).sort(byName)))
    on<{ id: string }>('camera-removed', ({ id }) => (this.cameras = this.cameras.filter((c) => c.id !== id)))
    on<Alert>('alert', (a) => (this.alerts = put(this.alerts, a, true)))
    on<Export>('export', (x) => (this.exports = put(this.exports, x, true)))
    on('settings', () => void this.refresh())
    on('marks', () => void this.readMarks())
    on('signed-out', () => this.ended())
    events.onopen = () => {
      void this.refresh() // also at first: something may have happened between the answers and now
      this.retry = 0
      this.reachable = true
    }
    events.onerror = () => {
      events.close()
      if (!this.session) return
      this.reachable = false
      setTimeout(() => void this.again(), Math.min(500 * 2 ** this.retry++, 15_000))
    }
  }

  /** After the event stream broke: is the session still good? */
  private async again(): Promise<void> {
    if (!this.session) return
    const session = await call('get', '/session')
    if (session.kind === 'ok' || session.kind === 'error' && session.problem.code !== 'signed-out') this.listen()
  }

  /** All sessions of the account end but the one that the answer begins, so its end is no news. */
  async changePassword(old: string, fresh: string): Promise<Problem | undefined> {
    this.changing = true
    const r = await call('post', '/session/password', { body: { old, new: fresh } })
    if (r.kind === 'ok') await this.signedIn(r.data)
    this.changing = false
    return r.kind === 'error' ? r.problem : undefined
  }

  ended(): void {
    if (this.changing) return
    this.events?.close()
    if (this.session) this.expired = true
    this.session = undefined
    this.cameras = []
    this.alerts = []
    this.exports = []
    this.marks = []
  }

  async signOut(): Promise<void> {
    await call('delete', '/session')
    this.ended()
    this.expired = false
  }
}

const byName = (a: Camera, b: Camera) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.id.localeCompare(b.id)

export const app = new App()

/** The text for a key in the page's language. */
export function t(key: Key, args?: Record<string, string | number>): string {
  return text(app.locale, key, args)
}

/** A length of time in the page's language: "1 h 5 min". */
export function span(ms: number): string {
  return units(ms).map((u) => t(`unit.${u.unit}`, { n: u.n })).join(' ')
}
