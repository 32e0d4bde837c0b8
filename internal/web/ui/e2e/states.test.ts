// What happens on the days when not everything is as in the film: clock changes, ended sessions, empty days, other codings, small windows.

import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { apart, barriers, clock, clockIn, still, until } from './screen'

let rig: Rig
let page: Page
let gate: string
const password = 'Lantern-Harbour-42'
const shots = process.env.VIGIL_SHOTS
const hour = 3_600_000

beforeAll(async () => {
  rig = await Rig.start()
  page = await rig.page()
  await rig.claim(page, 'amy', password)
  gate = rig.addCamera('Gate 門口', '/clock')
  await page.goto(rig.address + '#watch/' + gate)
})
afterAll(async () => {
  if (!rig) return
  await rig.close()
  expect(rig.sins).toEqual([])
})
afterEach(async (c) => {
  if (c.task.result?.state !== 'fail') return
  await shot('failed')
  console.error(page.url(), (await page.locator('body').innerText().catch(() => '')).slice(0, 1500), rig.said().slice(-3000))
})

async function shot(name: string) {
  if (shots) await page.screenshot({ path: join(shots, name + '.png'), fullPage: true })
}

const at = async () => Number(await page.locator('video').getAttribute('data-at'))
const playing = () => until(page, 'a picture', async () => apart((await clock(page)).shown, (await clock(page)).claimed) < 2000)

async function api(method: string, path: string, body?: unknown): Promise<unknown> {
  return page.evaluate(
    async ([method, path, body]) => {
      const r = await fetch('api/v1' + path, { method, headers: { 'Content-Type': 'application/json' }, body: body || undefined })
      const text = await r.text()
      return text ? JSON.parse(text) : undefined
    },
    [method, path, body ? JSON.stringify(body) : ''] as [string, string, string],
  )
}

async function setZone(zone: string) {
  const settings = (await api('GET', '/settings')) as Record<string, unknown>
  await api('PUT', '/settings', { ...settings, timeZone: zone })
  await until(page, 'the zone ' + zone, async () => (await page.locator('.day .zone').innerText()) === zone)
}

test('the page is small', () => {
  const dist = join(import.meta.dirname, '../dist')
  const sizes = ['index.html', 'icon.svg', ...readdirSync(join(dist, 'assets')).map((f) => 'assets/' + f)].map((f) => gzipSync(readFileSync(join(dist, f)), { level: 9 }).length)
  const all = sizes.reduce((a, b) => a + b, 0)
  console.log(`first load: ${(all / 1000).toFixed(1)} kB gz in ${sizes.length} files`)
  expect(all).toBeLessThan(150_000)
})

// Footage of nights long before the recorder was made cannot be had: the recorder's answer is put in, everything else is real.
const nights = [
  { zone: 'Europe/Berlin', day: '2025-03-30', hours: 23, first: '2025-03-29T23:00Z', change: '2025-03-30T01:00Z', back: false, offsets: 'UTC+1 → UTC+2' },
  { zone: 'Europe/Berlin', day: '2025-10-26', hours: 25, first: '2025-10-25T22:00Z', change: '2025-10-26T01:00Z', back: true, offsets: 'UTC+2 → UTC+1' },
  { zone: 'America/New_York', day: '2025-11-02', hours: 25, first: '2025-11-02T04:00Z', change: '2025-11-02T06:00Z', back: true, offsets: 'UTC−4 → UTC−5' },
  { zone: 'Europe/Berlin', day: '2026-03-29', hours: 23, first: '2026-03-28T23:00Z', change: '2026-03-29T01:00Z', back: false, offsets: 'UTC+1 → UTC+2' },
  { zone: 'America/New_York', day: '2026-03-08', hours: 23, first: '2026-03-08T05:00Z', change: '2026-03-08T07:00Z', back: false, offsets: 'UTC−5 → UTC−4' },
  { zone: 'Europe/Berlin', day: '2026-10-25', hours: 25, first: '2026-10-24T22:00Z', change: '2026-10-25T01:00Z', back: true, offsets: 'UTC+2 → UTC+1' },
]
test.each(nights.filter((n) => Date.parse(n.change) + 2 * 24 * hour < Date.now()))('the night of $day in $zone', async ({ zone, day, hours, first, change, back, offsets }) => {
  await setZone(zone)
  const from = Date.parse(first)
  const to = from + hours * hour
  const turn = Date.parse(change)
  // Footage of the hour before the change, a gap of the half hour after it.
  await page.route('**/timeline?**', (r) => {
    const q = new URL(r.request().url()).searchParams
    return r.fulfill({ json: { camera: gate, stream: gate, from: Number(q.get('from')), to: Number(q.get('to')), now: Date.now(), ranges: [{ from: turn - hour, to: turn }, { from: turn + hour / 2, to }], gaps: [{ from: turn, to: turn + hour / 2, cause: 'camera-offline' }] } })
  })
  const asked = page.waitForRequest((r) => r.url().includes('/timeline?') && new URL(r.url()).searchParams.get('from') === String(from - hours * hour))
  await page.getByLabel('Day', { exact: true }).fill(day)
  await asked // the day and as much on both sides, in UTC
  await page.getByText(`This day has ${hours} hours`).waitFor()
  expect(await page.locator('.day').innerText()).toContain(offsets)

  const line = page.getByRole('slider')
  expect(Number(await line.getAttribute('aria-valuemax')) - Number(await line.getAttribute('aria-valuemin'))).toBe(hours * hour)
  const box = (await line.boundingBox())!
  const perHour = box.width / hours
  const px = (ms: number) => ((ms - from) / hour) * perHour
  await until(page, 'the footage', async () => (await page.locator('rect.footage').count()) === 2)
  const bar = (await page.locator('rect.footage').first().boundingBox())!
  expect(Math.abs(bar.width - perHour)).toBeLessThan(2)
  expect(Math.abs(bar.x - box.x - px(turn - hour))).toBeLessThan(2)

  // A mark for every hour; labels without the one that the clock skips, and with the one that comes twice, told apart by its offsets.
  expect(await line.locator('rect.tick').count()).toBe(hours + 1)
  const labels = (await line.locator('text:not(.at)').allTextContents()).map((s) => s.trim())
  const local = (ms: number) => new Date(ms).toLocaleTimeString('en', { timeZone: zone, hourCycle: 'h23', hour: '2-digit', minute: '2-digit' })
  const twice = labels.filter((l) => l.includes('UTC'))
  if (back) expect(twice).toEqual(offsets.split(' → ').map((o) => local(turn) + o))
  else expect([twice, labels.includes('02:00')]).toEqual([[], false])

  // A click half an hour after the change asks for that instant, and the gap there is said.
  await page.mouse.move(box.x + px(turn + hour / 4), box.y + 45)
  await page.locator('.hint', { hasText: 'camera was not reachable' }).waitFor()
  const wanted = page.waitForRequest((r) => r.url().includes('/video.mp4?') && Math.abs(Number(new URL(r.url()).searchParams.get('from')) - (turn + hour / 2)) < 2 * (hour / perHour))
  await page.mouse.click(box.x + px(turn + hour / 2), box.y + 45)
  await wanted

  // The end of an export can be set to either of the two.
  await page.getByRole('button', { name: 'Export…' }).click()
  const field = page.getByLabel('From', { exact: true })
  await field.fill(`${day}T${local(turn).slice(0, 2)}:30:00`)
  await field.blur()
  const other = page.getByRole('button', { name: /this time comes twice/ }).first()
  if (back) {
    const before = await other.innerText()
    await other.click()
    await until(page, 'the other of the two', async () => (await other.innerText()) !== before)
    expect(await field.inputValue()).toContain(':30')
  } else expect(await other.count()).toBe(0)
  await shot(`night-${day}`)
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.unroute('**/timeline?**')
})

test('the address keeps the place: reload, back, and a session that ends in between', async () => {
  await setZone('Asia/Taipei')
  await page.goto(rig.address + '#watch/' + gate)
  await page.reload()
  await playing()
  await page.waitForTimeout(6000) // footage to go back in
  await page.keyboard.press('ArrowLeft')
  await until(page, 'stored footage', async () => /t=\d+/.test(page.url()) && (await page.locator('.livetag').count()) === 0)
  await playing()
  // The instant in the address is the one that the page asks for. The picture is held before, so that time stands still however slow the machine is.
  const wanted = () => Number(/[?&]t=(\d+)/.exec(page.url())?.[1])
  const asks = async (act: () => Promise<unknown>) => {
    if (await page.locator('video').count()) {
      await page.keyboard.press(' ')
      await page.getByRole('button', { name: 'Play', exact: true }).waitFor()
      await until(page, 'the instant in the address', async () => Math.abs(wanted() - (await at())) < 1000)
    }
    const t = wanted()
    // Not just any request: the player before may still read ahead.
    const asked = page.waitForRequest((r) => r.url().includes('/video.mp4?') && Math.abs(Number(new URL(r.url()).searchParams.get('from')) - t) < 1000)
    await act()
    await asked
    await playing()
  }
  await asks(() => page.reload())
  await asks(async () => {
    await page.getByRole('link', { name: 'System' }).click()
    await page.getByRole('heading', { name: 'System' }).waitFor()
    await page.goBack()
  })

  const place = page.url().replace(/\?.*/, '')
  await api('DELETE', '/session') // as if it had ended by itself
  await page.getByText('Your session has ended').waitFor()
  await asks(async () => {
    await page.getByLabel('Name').fill('amy')
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Sign in' }).click()
  })
  expect(page.url().replace(/\?.*/, '')).toBe(place)
})

test('a tab frozen for a night: live again at once, and where the session is over it asks for the password', async () => {
  await page.goto(rig.address + '#watch/' + gate)
  await page.keyboard.press('End')
  const live = () => until(page, 'live', async () => (await page.locator('.livetag').count()) > 0 && apart((await clock(page)).shown, Date.now()) < 3000)
  await live()
  const cdp = await page.context().newCDPSession(page)
  const other = await page.context().newPage()
  await other.goto(rig.address + '#system/about')
  await page.bringToFront()
  for (const over of [false, true]) {
    await cdp.send('Page.setWebLifecycleState', { state: 'frozen' })
    await other.waitForTimeout(12_000) // longer than the recorder waits for who does not read
    if (over) await other.evaluate(() => fetch('api/v1/session', { method: 'DELETE', headers: { 'Content-Type': 'application/json' } }).then((r) => r.status))
    await cdp.send('Page.setWebLifecycleState', { state: 'active' })
    if (!over) await live()
  }
  await page.getByText('Your session has ended').waitFor()
  await page.getByLabel('Name').fill('amy')
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await live()
  await other.close()
})

test('a live picture that is paused holds, and goes on as footage', async () => {
  await page.keyboard.press('End')
  await page.locator('.livetag').waitFor()
  await playing()
  await page.keyboard.press(' ')
  await page.getByRole('button', { name: 'Play', exact: true }).waitFor()
  const held = (await still(page)).shown
  await page.waitForTimeout(3000)
  expect((await clock(page)).shown).toBe(held)
  expect(await page.locator('.livetag').count()).toBe(0)
  for (const [key, what] of [['.', 'the next picture'], ['.', 'the one after'], [',', 'the one before'], ['.', 'the next one again']] as const) {
    const before = (await still(page)).shown
    await page.keyboard.press(key) // once: pictures have no even distance
    await until(page, what, async () => apart((await clock(page)).shown, before) > 0)
  }
  await until(page, 'pictures that were not fetched while it was live', async () => {
    for (let i = 0; i < 8; i++) await page.keyboard.press('.')
    return apart((await clock(page)).shown, held) > 1000
  })
  await until(page, 'pictures before those that were fetched', async () => {
    for (let i = 0; i < 24; i++) await page.keyboard.press(',')
    const before = (held - (await clock(page)).shown + 60_000) % 60_000
    return before > 3000 && before < 30_000
  })
  await page.keyboard.press(' ')
  const from = (await clock(page)).shown
  await until(page, 'footage from there on', async () => apart((await clock(page)).shown, from) > 1000)
  expect(Date.now() - (await at())).toBeGreaterThan(2000)
})

test('the keyboard is explained, and its letters can be switched off', async () => {
  await page.keyboard.press('?')
  await page.getByRole('dialog').getByText('Play, pause').waitFor()
  await page.getByRole('dialog').getByRole('checkbox').uncheck()
  await page.keyboard.press('Escape')
  await page.reload() // it is kept
  await playing()
  await page.keyboard.press('e')
  expect(await page.getByRole('heading', { name: 'Export a range' }).count()).toBe(0)
  await page.getByRole('slider').focus()
  await page.keyboard.press('e')
  await page.getByRole('heading', { name: 'Export a range' }).waitFor()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.getByRole('button', { name: 'Keyboard' }).click()
  await page.getByRole('dialog').getByRole('checkbox').check()
  await page.keyboard.press('Escape')
})

test('a day without footage says so and leads to the nearest one that has some', async () => {
  const today = await page.getByLabel('Day', { exact: true }).inputValue()
  await page.getByRole('button', { name: 'The day before' }).click()
  await page.getByText('No footage in this stretch of time.').waitFor()
  await page.getByRole('button', { name: 'Go to ' + today }).click()
  await until(page, 'the day with footage', async () => (await page.getByLabel('Day', { exact: true }).inputValue()) === today)
  expect(await page.getByRole('button', { name: 'The day after' }).isDisabled()).toBe(true)
  await page.goto(`${rig.address}#watch/${gate}?day=2031-01-01`)
  await page.reload()
  await page.getByText('This time is still to come.').waitFor()
})

test('a main stream that the browser cannot play: the second one is shown, and it is said', async () => {
  const yard = rig.addCamera('Yard', '/h265', '/sub')
  await page.goto(rig.address + '#watch/' + yard)
  await page.getByText('This browser cannot play H.265, so the second stream is shown').waitFor({ timeout: 40_000 })
  await playing()
  expect(await page.getByLabel('Stream', { exact: true }).inputValue()).toBe('second')
  await shot('second')
})

test('a browser that says that it plays a coding and does not: single pictures small, converted large', async () => {
  const cellar = rig.addCamera('Cellar', (await rig.another('-user', 'demo', '-pass', 'camera-Pass-1', '-stream', 'h265=clock-h265')) + '/h265')
  await page.goto(rig.address + '#exports')
  await page.reload()
  await page.evaluate(() => {
    const real = fetch
    window.fetch = async (what, how) => {
      const r = await real(what, how)
      if (!/\.mp4/.test(String(what)) || r.headers.get('Vigil-Recoded') === 'true') return r
      return new Response(r.body, { headers: { 'Content-Type': 'video/mp4; codecs="avc1.64001e"' } }) // it is H.265
    }
  })
  await page.goto(rig.address + '#live')
  const tile = page.locator(`[data-tile="${cellar}"]`)
  await tile.getByText('one picture a second').waitFor({ timeout: 40_000 })
  await until(page, 'a picture', async () => (await clockIn(page, `[data-tile="${cellar}"] img`)) !== null)
  await page.goto(rig.address + '#watch/' + cellar)
  await page.getByText('converted', { exact: true }).waitFor({ timeout: 40_000 })
  await until(page, 'a live picture', async () => apart((await clock(page)).shown, Date.now()) < 5000)
  await page.reload()
})

test('names and addresses of any length', async () => {
  const name = '🦉'.repeat(64)
  await page.goto(rig.address + '#cameras/new')
  await page.getByLabel('Name', { exact: true }).fill('🦉'.repeat(200))
  await page.getByLabel('Address of the stream').fill('rtsp://demo:camera%2DPass-1@192.0.2.9/' + 'x'.repeat(500))
  await page.getByLabel('User on the camera').fill('demo')
  await page.getByLabel(/I accept an unencrypted link/).check()
  expect(await page.getByLabel('Address of the stream').inputValue()).not.toContain('camera') // moved into their fields
  expect(await page.getByLabel('Password on the camera').inputValue()).toBe('camera-Pass-1')
  await page.getByRole('button', { name: 'Save untested and record' }).click()
  await page.getByRole('alert').getByText('At most 64 characters').waitFor()
  expect(await page.getByRole('alert').innerText()).toContain('Name')
  await page.getByLabel('Name', { exact: true }).fill(name)
  await page.getByRole('button', { name: 'Save untested and record' }).dblclick()
  await page.getByRole('heading', { name }).waitFor({ state: 'attached' })
  const list = ((await api('GET', '/cameras')) as { cameras: { name: string }[] }).cameras
  expect(list.filter((c) => c.name === name)).toHaveLength(1)
})

test('no barrier: every page, both languages, light and dark, desk and phone', async () => {
  const places = ['live', 'live?camera=' + gate, 'watch/' + gate, 'exports', 'cameras', 'cameras/new', 'cameras/' + gate, 'alerts', 'log', 'system']
  for (const [language, scheme, width] of [['English', 'light', 1280], ['中文', 'dark', 360], ['中文', 'light', 360], ['English', 'dark', 360], ['中文', 'dark', 1280]] as const) {
    const button = page.getByRole('button', { name: language, exact: true })
    if (await button.count()) await button.click()
    await page.emulateMedia({ colorScheme: scheme })
    await page.setViewportSize({ width, height: 760 })
    expect(await page.evaluate(() => document.documentElement.lang)).toBe(language === 'English' ? 'en' : 'zh-TW')
    for (const place of places) {
      await page.goto(rig.address + '#' + place)
      await page.locator('main h1').first().waitFor({ state: 'attached' })
      await until(page, 'the page', async () => (await page.locator('main').getByText(/^(Loading…|載入中…)$/).count()) === 0)
      expect(await barriers(page), `${place} ${language} ${scheme} ${width}`).toEqual([])
      await shot(`${language === 'English' ? 'en' : 'zh'}-${scheme}-${width}-${place.split('/').map((s) => (s.length > 20 ? 'one' : s)).join('-')}`)
    }
    // What opens on a page counts too.
    await page.goto(rig.address + '#watch/' + gate)
    await page.getByRole('slider').waitFor()
    await page.keyboard.press('?')
    await page.getByRole('dialog').waitFor()
    expect(await barriers(page), `keys ${language} ${scheme} ${width}`).toEqual([])
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
    await page.keyboard.press('e')
    await page.locator('#export-title').waitFor()
    expect(await barriers(page), `export ${language} ${scheme} ${width}`).toEqual([])
    await shot(`${language === 'English' ? 'en' : 'zh'}-${scheme}-${width}-export`)
    await page.goto(rig.address + '#cameras')
    await page.locator('button.bad').first().click()
    await page.getByRole('dialog').waitFor()
    expect(await barriers(page), `remove ${language} ${scheme} ${width}`).toEqual([])
    await page.keyboard.press('Escape')
  }
  await page.getByRole('button', { name: /Sign out|登出/ }).click()
  await page.locator('[name=password]').waitFor()
  expect(await barriers(page), 'sign-in').toEqual([])
}, 400_000)
