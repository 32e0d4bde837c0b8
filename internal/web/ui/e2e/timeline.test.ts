// Footage on the timeline: from a month to a second, several cameras on one clock, marks, links to an instant, and instants where there is nothing.

import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { apart, barriers, clock, clockIn, clocks, until } from './screen'

let rig: Rig
let page: Page
let since = 0 // all record
const nine: string[] = []
let wrong: string // its clock is slow
const owl = '🦉'.repeat(64)
const shots = process.env.VIGIL_SHOTS
const second = 1000
const hour = 3600 * second
const day = 24 * hour
const slow = 76 // seconds
const sign = ['-user', 'demo', '-pass', 'camera-Pass-1']

beforeAll(async () => {
  rig = await Rig.start()
  page = await rig.page()
  await rig.claim(page, 'amy', 'Lantern-Harbour-42')
  const many = await rig.another(...sign, '-n', '8', '-source', 'clock-small')
  for (let i = 0; i < 8; i++) nine.push(rig.addCamera(i === 3 ? owl : `Room ${i + 1}`, `${many}/cam${i}`))
  wrong = rig.addCamera('Slow 慢', (await rig.another(...sign, '-n', '1', '-source', 'clock-small', '-clock', `-${slow}s`)) + '/cam0')
  nine.push(wrong)
  await page.reload()
  const recording = () => page.evaluate(async () => ((await (await fetch('api/v1/cameras')).json()) as { cameras: { recording: { now: boolean } }[] }).cameras.filter((c) => c.recording.now).length)
  await until(page, 'nine that record', async () => (await recording()) === 9, 60_000)
  since = Date.now()
})
afterAll(async () => {
  if (!rig) return
  await rig.close()
  expect(rig.sins).toEqual([])
})
afterEach(async (c) => {
  if (c.task.result?.state !== 'fail') return
  await shot('failed')
  console.error(page.url(), (await page.locator('body').innerText().catch(() => '')).slice(0, 1500), rig.said().slice(-2000))
})

async function shot(name: string, p: Page = page) {
  if (shots) await p.screenshot({ path: join(shots, 'timeline-' + name + '.png'), fullPage: true })
}

const line = () => page.getByRole('slider')
const view = async () => [Number(await line().getAttribute('aria-valuemin')), Number(await line().getAttribute('aria-valuemax'))] as [number, number]
const span = async () => view().then(([a, b]) => b - a)
const urlAt = () => Number(/[?&]t=(\d+)/.exec(page.url())?.[1])
const kept = () => page.locator('[data-screen]').evaluateAll((list) => list.map((e) => (e as HTMLElement).dataset.kept))

/** Opens an address as if it had been typed in. */
async function visit(hash: string, p: Page = page) {
  await p.goto(rig.address + hash)
  await p.reload()
}

/** Waits until so much was recorded of all, s. */
async function recorded(s: number) {
  await until(page, `${s} s of footage`, async () => Date.now() - since > s * second, 60_000)
}

test('nine cameras on one clock show one instant', async () => {
  await recorded(30)
  const t = since + 8 * second
  await visit(`#watch/${nine[0]}?t=${t}&with=${nine.slice(1).join()}`)
  await until(page, 'nine pictures', async () => (await kept()).filter((k) => k === 'shown').length === 9)
  const off: number[] = []
  await until(page, 'nine clocks that go together', async () => {
    const shown = await clocks(page, '[data-screen] video')
    if (shown.length !== 9 || shown.includes(null)) return false
    const list = shown as number[]
    const worst = Math.max(...list.map((a) => Math.max(...list.map((b) => apart(a, b)))))
    off.push(worst)
    return off.length > 3 && off.slice(-3).every((n) => n <= 100)
  })
  console.log(`nine cameras apart, ms: ${off.join(' ')}`)
  await shot('nine')
  expect(apart((await clocks(page, '[data-screen] video'))[0]!, urlAt())).toBeLessThan(30_000)
  // Held, all stand at one instant; a step goes on by a picture.
  await page.keyboard.press(' ')
  await page.getByRole('button', { name: 'Play', exact: true }).waitFor()
  const at = async () => {
    await until(page, 'nine pictures that stand', async () => (await kept()).every((k) => k === 'shown'))
    return (await clocks(page, '[data-screen] video')) as number[]
  }
  const before = await at()
  for (const n of before) expect(apart(n, before[0]!)).toBeLessThanOrEqual(100)
  await page.keyboard.press('.')
  await until(page, 'the next picture', async () => (await at()).some((n, i) => n !== before[i]))
  for (const n of await at()) expect(apart(n, before[0]!)).toBeLessThanOrEqual(200)
  await page.keyboard.press(' ')
  await page.keyboard.press('End') // all live
  await until(page, 'nine live', async () => (await page.locator('.livetag').count()) === 9)
  await page.keyboard.press(' ') // held, they all stand a moment before
  await until(page, 'nine that stand', async () => (await kept()).every((k) => k === 'shown'))
  for (const n of await at()) expect(apart(n, Date.now())).toBeLessThan(20_000)
  await page.keyboard.press('End')
  await until(page, 'nine live again', async () => (await page.locator('.livetag').count()) === 9)
  expect(await barriers(page)).toEqual([])
})

test('a camera without footage then says so, and the others go on', async () => {
  const away = rig.addCamera('Away', '/nowhere')
  await page.goto(rig.address + '#live') // it is told of it
  await page.getByText('Away').first().waitFor()
  await visit(`#watch/${nine[0]}?t=${since + 5 * second}&with=${away},${nine[3]}`)
  await until(page, 'two pictures', async () => (await kept()).join() === 'shown,none,shown')
  await page.locator(`[data-screen="${away}"]`).getByText(/Nothing was recorded then|not reachable/).waitFor()
  const first = (await clocks(page, '[data-screen] video'))[0]!
  await until(page, 'the others going on', async () => apart((await clocks(page, '[data-screen] video'))[0]!, first) > 1500)
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0) // the owls
  await page.getByRole('button', { name: 'Leave out Away' }).click()
  await until(page, 'two screens', async () => (await page.locator('[data-screen]').count()) === 2)
  await page.getByRole('button', { name: /Leave out 🦉/ }).click()
  await until(page, 'one screen', async () => (await page.locator('[data-screen]').count()) === 1 && apart((await clock(page)).shown, (await clock(page)).claimed) < 1000)
  await page.getByLabel('Add a camera').selectOption('Room 2')
  await until(page, 'both', async () => (await kept()).join() === 'shown,shown')
  expect(page.url()).toContain('with=' + nine[1])
})

test('from a month to a second, by wheel at the pointer and by keys', async () => {
  await visit(`#watch/${nine[0]}`)
  await line().waitFor()
  for (const [name, length] of [['Month', 28], ['Week', 7], ['Hour', 1 / 24], ['Day', 1]] as const) {
    await page.getByRole('button', { name, exact: true }).click()
    await until(page, name, async () => Math.abs((await span()) / day - length) < 3.5 && (length > 2 || Math.abs((await span()) / day - length) < 0.1))
    await until(page, name + ' that is pressed', async () => (await page.getByRole('button', { name, exact: true }).getAttribute('aria-pressed')) === 'true')
    await shot(name.toLowerCase())
    if (name !== 'Week') continue
    await until(page, 'the week in the address', async () => page.url().includes('span=week'))
    await page.reload()
    await until(page, 'the week again', async () => (await page.getByRole('button', { name, exact: true }).getAttribute('aria-pressed')) === 'true')
  }
  const box = (await line().boundingBox())!
  const px = 500 - (box.x % 1) // a wheel tells whole pixels
  const under = async () => view().then(([a, b]) => a + ((b - a) * px) / box.width)
  await page.mouse.move(box.x + px, box.y + 45)
  const wanted = await under()
  for (let i = 0; i < 60 && (await span()) > 1001; i++) await page.mouse.wheel(0, -200)
  await until(page, 'a second', async () => Math.abs((await span()) - second) < 1)
  expect(Math.abs((await under()) - wanted)).toBeLessThan(5)
  expect((await line().locator('text:not(.at)').allTextContents()).some((s) => /:\d\d\.\d$/.test(s))).toBe(true)
  await page.keyboard.press('-')
  expect(await span()).toBeCloseTo(2 * second, 0)
  await page.keyboard.press('0')
  await until(page, 'the day', async () => Math.abs((await span()) - day) < 2 * hour)
  await page.keyboard.press('PageUp')
  await page.keyboard.press('PageDown')
  // A drag moves it and plays nothing.
  const before = await view()
  await page.mouse.move(box.x + 300, box.y + 45)
  await page.mouse.down()
  await page.mouse.move(box.x + 400, box.y + 45, { steps: 4 })
  await page.mouse.up()
  expect(Math.abs((await view())[0] - (before[0] - (100 / box.width) * day))).toBeLessThan((3 / box.width) * day)
  expect(urlAt()).toBeNaN()
})

test('a month from far away: how much there is, and a gap of a week with its cause', async () => {
  const cell = 30 * 60 * second
  await page.route('**/timeline?**', (r) => {
    const q = new URL(r.request().url()).searchParams
    const from = Math.floor(Number(q.get('from')) / cell) * cell
    const to = Number(q.get('to'))
    const gap = { from: to - 20 * day, to: to - 13 * day, cause: 'camera-offline' as const }
    const seconds = Array.from({ length: Math.ceil((to - from) / cell) }, (_, i) => (from + i * cell >= gap.from && from + i * cell < gap.to ? 0 : i % 2 ? 1800 : 900))
    return r.fulfill({ json: { camera: nine[0], stream: nine[0], from, to, now: Date.now(), ranges: [{ from, to: gap.from }, { from: gap.to, to }], gaps: [gap], cells: { from, length: cell, seconds } } })
  })
  await page.getByRole('button', { name: 'Month', exact: true }).click()
  await page.locator('path.density').waitFor()
  const box = (await line().boundingBox())!
  const hole = page.locator('rect.hole').first()
  await hole.waitFor()
  expect(Math.abs((await hole.boundingBox())!.width - (7 * day * box.width) / (await span()))).toBeLessThan(3)
  await page.getByText('How much was recorded').waitFor()
  const at = (await hole.boundingBox())!
  await page.mouse.move(at.x + at.width / 2, at.y + 10)
  await page.locator('.hint', { hasText: 'camera was not reachable' }).waitFor()
  await page.getByText('Gaps with their causes: 1').click()
  await page.getByText('7 d', { exact: true }).waitFor()
  await shot('week-gap')
  await page.unroute('**/timeline?**')
})

test('marks: put by a key, found again, removed and brought back; another tab shows them', async () => {
  const other = await page.context().newPage()
  await visit(`#watch/${nine[0]}`, other)
  await visit(`#watch/${nine[0]}?t=${since + 4 * second}`)
  await until(page, 'a picture', async () => apart((await clock(page)).shown, (await clock(page)).claimed) < 1000)
  const put = async (text: string) => {
    await page.keyboard.press('m')
    await page.getByLabel('What is to be seen').fill(text)
    if (text.startsWith('車')) {
      expect(await barriers(page)).toEqual([])
      await shot('mark')
    }
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
  }
  await put('車禍 🚑')
  const first = urlAt()
  await page.keyboard.press('ArrowRight')
  await until(page, 'ten seconds on', async () => urlAt() - first > 8000)
  await put('')
  await until(page, 'both on the line', async () => (await page.locator('path.mark').count()) === 2)
  await until(other, 'both in the other tab', async () => (await other.locator('path.mark').count()) === 2)
  await page.keyboard.press('p')
  await page.keyboard.press('p')
  await until(page, 'the first mark', async () => Math.abs(urlAt() - first) < 3000)
  await page.keyboard.press('n')
  await until(page, 'the second', async () => urlAt() - first > 7000)
  await page.getByText('Marks: 2').click()
  const item = page.locator('.marks li', { hasText: '車禍 🚑' })
  expect(await item.innerText()).toContain('amy')
  await item.getByRole('button', { name: /^Remove/ }).click()
  await until(other, 'one in the other tab', async () => (await other.locator('path.mark').count()) === 1)
  await page.getByRole('button', { name: 'Undo' }).click()
  await until(other, 'both again', async () => (await other.locator('path.mark').count()) === 2)

  // Somebody who did not put them and does not administer the recorder finds them and has no button that would be refused.
  const asked: string[] = []
  await other.route('**/api/v1/session', async (route) => {
    const answer = await route.fetch()
    const session = (await answer.json()) as { rights: string[] }
    asked.push(...session.rights)
    await route.fulfill({ response: answer, json: { ...session, account: 'bob', rights: session.rights.filter((r) => r !== 'configure') } })
  })
  await other.reload()
  await other.getByText('Marks: 2').click()
  await other.locator('.marks li', { hasText: '車禍 🚑' }).waitFor()
  expect(asked).toContain('configure')
  expect(await other.locator('.marks').getByRole('button', { name: /^Remove/ }).count()).toBe(0)
  await other.close()
})

test('a time that is typed in; of one that comes twice one says which', async () => {
  const zone = async (timeZone: string) => {
    await page.evaluate(async (timeZone) => {
      const s = (await (await fetch('api/v1/settings')).json()) as object
      await fetch('api/v1/settings', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...s, timeZone }) })
    }, timeZone)
    await until(page, 'the zone ' + timeZone, async () => (await page.locator('.day .zone').innerText()) === timeZone)
  }
  await zone('Europe/Berlin')
  const fill = async (date: string, time: string) => {
    await page.keyboard.press('t')
    await page.getByRole('dialog').getByLabel('Date').fill(date)
    await page.getByRole('dialog').getByLabel('Time').fill(time)
  }
  await fill('2026-03-29', '02:30:00')
  await page.getByText('there is no 02:30:00. It will be 03:30:00').waitFor()
  await page.keyboard.press('Escape')
  await fill('2026-10-25', '02:30:00')
  await page.getByLabel('The second time (UTC+1)').check()
  expect(await barriers(page)).toEqual([])
  await shot('jump')
  await page.getByRole('button', { name: 'Go there' }).click()
  // That was before the first recording.
  await page.getByText('Nothing was recorded then. The first footage is of').waitFor()
  await until(page, 'the instant in the address', async () => urlAt() === Date.parse('2026-10-25T01:30:00Z'))
  await zone('Asia/Taipei')
})

test('a link to an instant before the first recording leads to the first', async () => {
  await visit(`#watch/${nine[0]}?t=${since - 40 * day}`)
  await page.getByText('Nothing was recorded then. The first footage is of').waitFor()
  await shot('early')
  expect(await barriers(page)).toEqual([])
  await page.getByRole('button', { name: 'Go to the first footage' }).click()
  await until(page, 'the first footage', async () => Math.abs(urlAt() - since) < 60_000 && apart((await clock(page)).shown, (await clock(page)).claimed) < 1000)
})

test('footage that retention takes: it goes on with what is left, and says so', async () => {
  const edge = since + 40 * second
  await page.route('**/video.mp4?**', (r) => {
    const u = new URL(r.request().url())
    u.searchParams.set('from', String(Math.max(Number(u.searchParams.get('from')), edge)))
    return r.continue({ url: u.href })
  })
  await page.route('**/timeline?**', (r) => {
    const q = new URL(r.request().url()).searchParams
    const [from, to] = [Number(q.get('from')), Number(q.get('to'))]
    return r.fulfill({ json: { camera: nine[0], stream: nine[0], from, to, now: Date.now(), ranges: [{ from: edge, to: Date.now() }], gaps: [{ from, to: edge, cause: 'retention' }] } })
  })
  await visit(`#watch/${nine[0]}?t=${since + 3 * second}`)
  await page.getByText(/Nothing was recorded at .*: old footage made room/).waitFor()
  await until(page, 'what is left', async () => Math.abs(urlAt() - edge) < 20_000 && apart((await clock(page)).shown, (await clock(page)).claimed) < 1000)
  await page.unrouteAll()
})

test('speeds by j, k and l', async () => {
  await visit(`#watch/${nine[0]}?t=${since + 2 * second}`)
  await until(page, 'a picture', async () => apart((await clock(page)).shown, (await clock(page)).claimed) < 1000)
  await page.keyboard.press('l')
  await page.keyboard.press('l')
  expect(await page.getByLabel('Speed').inputValue()).toBe('4')
  const pace = () => page.locator('video').evaluate(async (v: HTMLVideoElement) => {
    const [at, now] = [v.currentTime, performance.now()]
    await new Promise((ok) => setTimeout(ok, 1500))
    return ((v.currentTime - at) * 1000) / (performance.now() - now)
  })
  expect(await pace()).toBeGreaterThan(2.5)
  for (let i = 0; i < 3; i++) await page.keyboard.press('j')
  expect(await page.getByLabel('Speed').inputValue()).toBe('0.5')
  expect(await pace()).toBeLessThan(0.7)
  await page.keyboard.press('k')
  await page.getByRole('button', { name: 'Play', exact: true }).waitFor()
  await page.keyboard.press('l')
  await page.getByRole('button', { name: 'Pause', exact: true }).waitFor()
})

test('a camera with a wrong clock has its own beside ours', async () => {
  await visit(`#watch/${wrong}?t=${since + 10 * second}`)
  const text = page.locator('.their')
  await text.waitFor()
  const [ours, theirs] = await Promise.all([page.locator('.tag .at').innerText(), text.innerText()])
  const of = (s: string) => Date.parse(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/.exec(s)![0].replace(' ', 'T') + 'Z')
  expect(Math.abs(of(ours) - of(theirs) - slow * second)).toBeLessThan(3000)
  expect(theirs).toMatch(/\(1 min 1\d s slow\)/)
  await shot('wrong-clock')
})

test('a link to an instant: copied by a key, and nothing without the right', async () => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.keyboard.press('c')
  await page.getByText('The link to this instant is copied.').waitFor()
  const link = await page.evaluate(() => navigator.clipboard.readText())
  expect(link).toMatch(new RegExp(`#watch/${wrong}\\?t=\\d+$`))
  const stranger = await rig.page()
  await stranger.goto(link)
  await stranger.getByRole('button', { name: 'Sign in' }).waitFor()
  expect(await stranger.locator('body').innerText()).not.toContain('Slow')
  await stranger.context().close()
  // A right that was taken away: no picture, no timeline, and why.
  const denied = (path: string) => page.route(path, (r) => r.fulfill({ status: 403, contentType: 'application/problem+json', body: JSON.stringify({ type: 'about:blank', title: 'You may not do this', status: 403, code: 'forbidden' }) }))
  await denied('**/video.mp4?**')
  await denied('**/timeline?**')
  await visit(link.slice(link.indexOf('#')))
  await page.locator('.say', { hasText: 'You may not do this' }).waitFor()
  expect(await page.locator('rect.footage').count()).toBe(0)
  await page.unrouteAll()
})

// A measurement, so not among the tests: `make bench` runs it.
test.runIf(process.env.VIGIL_BENCH)('how long the first picture takes after a click, and the picture under the pointer', async () => {
  await visit(`#watch/${nine[0]}`)
  await page.getByRole('button', { name: 'Hour', exact: true }).click()
  await until(page, 'the hour', async () => Math.abs((await span()) - hour) < 1)
  for (let i = 0; i < 5; i++) await page.keyboard.press('+')
  await until(page, 'footage', async () => (await page.locator('rect.footage').count()) > 0)
  const took: number[] = []
  for (let i = 0; i < 15; i++) {
    await page.keyboard.press('End') // so that nothing of it is fetched already
    await until(page, 'live', async () => (await page.locator('.livetag').count()) === 1)
    const [from, to] = await view()
    const box = (await line().boundingBox())!
    const first = Math.max(since + 2 * second, from + 2 * second)
    const wanted = first + ((i * 7919) % (Date.now() - first - 6000))
    const x = box.x + ((wanted - from) / (to - from)) * box.width
    await page.mouse.move(x, box.y + 45)
    await page.evaluate(() => {
      const v = document.querySelector('video')!
      const w = window as unknown as { took?: number }
      w.took = undefined
      document.querySelector('[role=slider]')!.addEventListener('pointerup', () => {
        const began = performance.now()
        v.addEventListener('emptied', () => v.addEventListener('loadeddata', () => v.requestVideoFrameCallback(() => (w.took = performance.now() - began)), { once: true }), { once: true })
      }, { once: true })
    })
    await page.mouse.click(x, box.y + 45)
    await until(page, 'a picture', async () => (await page.evaluate(() => (window as unknown as { took?: number }).took)) !== undefined)
    took.push(await page.evaluate(() => (window as unknown as { took?: number }).took!))
  }
  took.sort((a, b) => a - b)
  console.log(`first picture after a click: median ${took[7]!.toFixed(0)} ms, slowest ${took[14]!.toFixed(0)} ms`)
  const hovers: number[] = []
  for (let i = 0; i < 10; i++) {
    const [from, to] = await view()
    const box = (await line().boundingBox())!
    const wanted = Math.max(since, from) + 3 * second + i * 2100
    const asked = page.waitForResponse((r) => r.url().includes('/picture.jpg') && r.status() === 200, { timeout: 5000 }).catch(() => undefined)
    await page.mouse.move(box.x + ((wanted - from) / (to - from)) * box.width, box.y + 45)
    const r = await asked
    if (r) hovers.push((await r.finished(), r.request().timing().responseEnd))
  }
  hovers.sort((a, b) => a - b)
  console.log(`picture under the pointer: median ${hovers[Math.floor(hovers.length / 2)]?.toFixed(0)} ms of ${hovers.length}`)
  expect(await clockIn(page, '.hint img')).not.toBeNull()
})

test('a tab asleep for a night: footage stays at its instant, live is live again', async () => {
  const hide = (hidden: boolean) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  }, hidden)
  await visit(`#watch/${nine[0]}?t=${since + 5 * second}&with=${nine[1]}`)
  for (const several of [true, false]) {
    await until(page, 'pictures', async () => apart((await clock(page)).shown, (await clock(page)).claimed) < 1000)
    await hide(true)
    const stood = (await clock(page)).shown
    await page.waitForTimeout(3000)
    expect(apart((await clock(page)).shown, stood)).toBeLessThan(200)
    await hide(false)
    await until(page, 'footage from there on', async () => apart((await clock(page)).shown, stood) > 500 && apart((await clock(page)).shown, stood) < 6000)
    if (several) await page.getByRole('button', { name: 'Leave out Room 2' }).click()
  }
  await page.keyboard.press('End')
  await until(page, 'live', async () => apart((await clock(page)).shown, Date.now()) < 2000)
  await hide(true)
  await until(page, 'nothing is fetched', async () => !(await page.locator('video').evaluate((v: HTMLVideoElement) => v.src)))
  await hide(false)
  await until(page, 'live at once', async () => apart((await clock(page)).shown, Date.now()) < 2000)
})

test('the recorder started again under footage that plays on one clock', async () => {
  await visit(`#watch/${nine[0]}?t=${since + 2 * second}&with=${nine[1]},${nine[2]}`)
  await until(page, 'pictures', async () => (await kept()).every((k) => k === 'shown'))
  await rig.restart('SIGKILL')
  const target = since + 12 * second
  await page.evaluate((t) => (location.hash = location.hash.replace(/t=\d+/, 't=' + t)), target)
  await until(page, 'pictures after the restart', async () => (await kept()).every((k) => k === 'shown') && urlAt() >= target, 45_000)
  const shown = (await clocks(page, '[data-screen] video')) as number[]
  for (const n of shown) expect(apart(n, shown[0]!)).toBeLessThanOrEqual(250)
})

test('both languages, dark, phone: several cameras', async () => {
  await page.getByRole('button', { name: '中文' }).click()
  await page.emulateMedia({ colorScheme: 'dark' })
  for (const width of [1280, 360]) {
    await page.setViewportSize({ width, height: 760 })
    await visit(`#watch/${nine[3]}?t=${since + 6 * second}&with=${wrong},${nine[1]}`)
    await until(page, 'pictures', async () => (await kept()).every((k) => k === 'shown'))
    expect(await barriers(page)).toEqual([])
    await shot(`zh-dark-${width}`)
    await page.keyboard.press('?')
    await page.getByRole('dialog').waitFor()
    expect(await barriers(page)).toEqual([])
    await shot(`zh-dark-keys-${width}`)
    await page.keyboard.press('Escape')
  }
})
