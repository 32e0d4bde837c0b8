// A whole recorder with a simulated camera, and a browser in front of it: the real programs, on loopback, in a folder of their own.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { accessSync, chmodSync, closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { chromium, firefox, type Browser, type Page } from 'playwright-core'

const root = resolve(import.meta.dirname, '../../../..')

const browsers = {
  chromium: (_: string) => chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  }),
  // Debian's own, unchanged, by WebDriver BiDi.
  firefox: async (downloadsPath: string) => {
    const browser = await firefox.launch({ channel: 'moz-firefox', executablePath: '/usr/bin/firefox-esr', downloadsPath })
    // It does not know this command yet, without which no page is opened; none of our tests need it there.
    const session = (browser as any)._connection.toImpl(browser)._browserSession
    const send = session.send.bind(session)
    session.send = (method: string, params: unknown) => (method === 'emulation.setMediaFeaturesOverride' ? Promise.resolve({}) : send(method, params))
    return browser
  },
} satisfies Record<string, (downloads: string) => Promise<Browser>>

/** The digest of an empty rule that the driver tries to put into a page of Firefox before each screenshot; the page's policy stops it. */
const drivers = "'sha256-YjaKGiklmzC6wjXA513HAMmzus8VE61XCOT+SmwNZWA='"

export class Rig {
  readonly dir = mkdtempSync(join(tmpdir(), 'vigil-e2e-'))
  readonly downloads = join(this.dir, 'downloads') // of Firefox: its driver does not tell of files that the page itself has made
  address = ''
  code = ''
  fingerprint = ''
  rtsp = ''
  private camera!: ChildProcess
  private recorder!: ChildProcess
  private browser!: Browser
  private log = ''
  private others: ChildProcess[] = []
  private program = join(root, 'bin/vigil')

  /** With `clock` the recorder is one whose wall clock can be set (setClock). */
  static async start(browser: keyof typeof browsers = process.env.VIGIL_BROWSER === 'firefox' ? 'firefox' : 'chromium', clock = false): Promise<Rig> {
    const rig = new Rig()
    if (clock) rig.build()
    rig.rtsp = `rtsp://127.0.0.1:${await freePort()}`
    await rig.film()
    await rig.serve(await freePort())
    rig.browser = await browsers[browser](rig.downloads)
    return rig
  }

  /** The same program but for its clock, which is ahead by as many seconds as a file beside it says. */
  private build(): void {
    chmodSync(this.dir, 0o755) // the workers are another user
    writeFileSync(join(this.dir, 'clock'), '0\n'.padEnd(32), { mode: 0o644 })
    execFileSync('python3', [join(root, 'tools/vclock.py'), join(this.dir, 'overlay')])
    this.program = join(this.dir, 'vigil')
    execFileSync('go', ['build', '-trimpath', '-overlay', join(this.dir, 'overlay/overlay.json'), '-o', this.program, './cmd/vigil'], {
      cwd: root, env: { ...process.env, GOFIPS140: 'v1.0.0', CGO_ENABLED: '0' },
    })
  }

  /** Sets the recorder's wall clock: so many seconds ahead of the true one. */
  setClock(ahead: number): void {
    const f = openSync(join(this.dir, 'clock'), 'r+') // in place: it is mapped
    writeSync(f, `${ahead}\n`.padEnd(32), 0)
    closeSync(f)
  }

  private async film(): Promise<void> {
    this.camera = this.run('bin/simcam', ['-addr', new URL(this.rtsp).host, '-user', 'demo', '-pass', 'camera-Pass-1'])
    await this.line(this.camera, /^ready/m)
  }

  /** One more simulated camera, with arguments of its own; returns its address without a path. */
  async another(...args: string[]): Promise<string> {
    const port = await freePort()
    const p = this.run('bin/simcam', ['-addr', `127.0.0.1:${port}`, ...args])
    this.others.push(p)
    await this.line(p, /^ready/m)
    return `${args.includes('-tls') ? 'rtsps' : 'rtsp'}://127.0.0.1:${port}`
  }

  /** The cameras have no power while something is looked at. */
  async restartCamera(meanwhile: () => Promise<void>): Promise<void> {
    await end(this.camera)
    await meanwhile()
    await this.film()
  }

  private async serve(port: number): Promise<void> {
    this.recorder = this.run(this.program, ['serve', '--lang', 'en', '--state', join(this.dir, 'state'), '--listen', `127.0.0.1:${port}`])
    const said = await this.line(this.recorder, /https:\/\/\S+[\s\S]*?(?:code|ready)[^\n]*\n/)
    this.address = /https:\/\/\S+/.exec(said)![0]
    this.fingerprint = /[0-9a-f]{64}/.exec(said)?.[0] ?? ''
    this.code = /([0-9A-Z]{4}-[0-9A-Z-]+)/.exec(said)?.[1] ?? ''
  }

  /** Stops and starts the recorder on the same port, as a service manager would. */
  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await end(this.recorder, signal)
    await this.serve(Number(new URL(this.address).port))
  }

  /** Makes the administrator and ends set-up without its page, and is signed in then. */
  async claim(page: Page, name: string, password: string): Promise<void> {
    await page.goto(this.address)
    const status = await page.evaluate(
      async ([code, name, password]) => (await fetch('api/v1/setup', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ code, name, password, timeZone: 'Asia/Taipei' }) })).status,
      [this.code, name, password],
    )
    if (status !== 201) throw new Error(`set-up: ${status}`)
    await page.evaluate(async () => {
      const settings = await (await fetch('api/v1/settings')).json()
      await fetch('api/v1/settings', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...settings, settingUp: false }) })
    })
    await page.reload()
  }

  /** Adds a camera by the command line, and returns its id. A path without an address is one of the first simulated camera. */
  addCamera(name: string, path: string, second?: string, ...more: string[]): string {
    if (second) more.push('--second', this.rtsp + second)
    const said = execFileSync(join(root, 'bin/vigil'), ['camera', 'add', '--state', join(this.dir, 'state'), '--name', name, '--url', path.startsWith('/') ? this.rtsp + path : path, ...more, '--user', 'demo', '--link', 'plain'], {
      env: { ...process.env, VIGIL_CAMERA_PASSWORD: 'camera-Pass-1' }, encoding: 'utf8',
    })
    return said.split(' ')[0]!
  }

  /** With `touch` it is a telephone. */
  async page(viewport = { width: 1280, height: 900 }, touch = false): Promise<Page> {
    const context = await this.browser.newContext({ ignoreHTTPSErrors: true, viewport, locale: 'en', acceptDownloads: true, ...(touch && { hasTouch: true, isMobile: true }) })
    const page = await context.newPage()
    page.on('pageerror', (e) => String(e).includes(drivers) || this.blame(`page: ${e}`))
    page.on('console', (m) => /Content Security Policy/.test(m.text()) && this.blame(`policy: ${m.text()}`))
    page.on('request', (r) => !r.url().startsWith(this.address) && !/^(blob|data|about):/.test(r.url()) && this.blame(`asked elsewhere: ${r.url()}`))
    return page
  }

  /** What no page may do at any time: an error that nobody caught, something the policy stopped, a request to somebody else. */
  readonly sins: string[] = []

  private blame(sin: string): void {
    this.sins.push(sin)
    this.log += sin + '\n'
  }

  /** What went wrong in the page and what the programs said, for a failing test. */
  said(): string {
    return this.log
  }

  async close(): Promise<void> {
    await this.browser?.close()
    await end(this.recorder)
    await end(this.camera)
    await Promise.all(this.others.map((p) => end(p)))
    rmSync(this.dir, { recursive: true, force: true })
  }

  private run(program: string, args: string[]): ChildProcess {
    const p = spawn(resolve(root, program), args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const keep = (b: Buffer) => (this.log = (this.log + b).slice(-100_000))
    p.stderr!.on('data', keep)
    p.stdout!.on('data', keep)
    return p
  }

  /** Waits for a program to print something. */
  private line(p: ChildProcess, wanted: RegExp): Promise<string> {
    return new Promise((ok, fail) => {
      let all = ''
      p.stdout!.on('data', (b: Buffer) => {
        all += b
        const m = wanted.exec(all)
        if (m) ok(m[0])
      })
      p.on('exit', (code) => fail(new Error(`${p.spawnfile} ended with ${code}:\n${this.log}`)))
    })
  }
}

function end(p: ChildProcess | undefined, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  return new Promise((ok) => {
    if (!p || p.exitCode !== null || p.signalCode !== null) return ok()
    p.on('exit', () => ok())
    p.kill(signal)
  })
}

// freePort finds a port for a server that must be told one. It lies below those
// that the system gives away, which somebody else may get meanwhile.
/** A folder that is neither in memory nor in a place that the system empties: there footage may lie. */
export function diskFolder(): string {
  const emptied = /^\/(tmp|var\/tmp|run|dev)(\/|$)/
  const place = [homedir(), root, '/srv', '/var/lib'].find((dir) => {
    try {
      accessSync(dir, constants.W_OK)
      return !emptied.test(dir)
    } catch {
      return false
    }
  })
  if (!place) throw new Error('the home, the sources, /srv and /var/lib are all in memory, or not to be written to')
  return mkdtempSync(join(place, '.vigil-e2e-'))
}

export function freePort(tries = 100): Promise<number> {
  return new Promise((ok, fail) => {
    const port = 20000 + Math.floor(Math.random() * 12000)
    const s = createServer()
    s.on('error', (e) => (tries > 1 ? ok(freePort(tries - 1)) : fail(e)))
    s.listen(port, '127.0.0.1', () => s.close(() => ok(port)))
  })
}
