// All cameras at once: small and large, far away and out of sight, arranged by mouse and by keys, sound, zoom, and cameras that are not there.

import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { apart, clock, clockIn, delays, until } from './screen'

let rig: Rig
let page: Page
const ids: Record<string, string> = {}
const shots = process.env.VIGIL_SHOTS

beforeAll(async () => {
  rig = await Rig.start()
  page = await rig.page()
  await rig.claim(page, 'amy', 'Lantern-Harbour-42')
  ids.gate = rig.addCamera('Gate 門口', '/clock', '/sub')
  ids.hall = rig.addCamera('Hall', '/aac', undefined, '--audio')
  ids.yard = rig.addCamera('Yard', '/h265')
  ids.away = rig.addCamera('🦉'.repeat(64), '/nowhere')
  await page.goto(rig.address + '#live')
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

const tile = (id: string) => page.locator(`[data-tile="${id}"]`)
const order = () => page.locator('[data-tile]').evaluateAll((list) => list.map((e) => (e as HTMLElement).dataset.tile!))

test('each camera is there: live, or with the reason why not', async () => {
  for (const id of [ids.gate!, ids.hall!]) {
    await until(page, 'a live picture', async () => apart((await clock(page, 5, `[data-tile="${id}"] video`)).shown, Date.now()) < 2000)
  }
  // H.265, which this browser cannot play: pictures one by one, never black.
  await until(page, 'a picture of the yard', async () => apart((await clockIn(page, `[data-tile="${ids.yard}"] img`))!, Date.now()) < 5000)
  expect(await tile(ids.yard!).innerText()).toContain('one picture a second')
  await until(page, 'the reason', async () => /Offline/.test(await tile(ids.away!).innerText()))
  await tile(ids.away!).getByRole('link', { name: 'See the camera' }).waitFor()
  await shot('live-grid')
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0)
})

test('small it is the second stream, large the main one, with zoom; Escape goes back to where one was', async () => {
  expect(await tile(ids.gate!).locator('video').evaluate((v: HTMLVideoElement) => v.videoWidth)).toBe(320)
  await page.getByRole('button', { name: 'Show Gate 門口 large' }).click()
  await until(page, 'the main stream', async () => (await page.locator('video').evaluate((v: HTMLVideoElement) => v.videoWidth)) === 640)
  await until(page, 'a live picture', async () => apart((await clock(page)).shown, Date.now()) < 2000)
  const picture = page.locator('.picture')
  const scale = () => picture.evaluate((e) => new DOMMatrix(getComputedStyle(e).transform).a)
  await page.locator('.one').hover()
  await page.mouse.wheel(0, -300)
  await until(page, 'the picture larger', async () => (await scale()) > 1.1)
  await shot('live-zoom')
  await page.keyboard.press('0')
  expect(await scale()).toBe(1)
  await page.reload() // the address says it
  await until(page, 'the main stream', async () => (await page.locator('video').evaluate((v: HTMLVideoElement) => v.videoWidth)) === 640)
  await page.keyboard.press('Escape')
  await until(page, 'all again', async () => (await order()).length === 4)
  await until(page, 'the keyboard where it was', () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') === 'Show Gate 門口 large'))
})

test('a live picture that has fallen behind comes near to now again', async () => {
  const which = `[data-tile="${ids.gate}"] video`
  await until(page, 'a live picture', async () => apart((await clock(page, 5, which)).shown, Date.now()) < 2000)
  const late = () => page.locator(which).evaluate((v: HTMLVideoElement) => v.buffered.end(v.buffered.length - 1) - v.currentTime)
  await page.locator(which).evaluate((v: HTMLVideoElement) => (v.currentTime = v.buffered.end(v.buffered.length - 1) - 1.2))
  await until(page, 'the picture behind', async () => (await late()) > 0.8)
  await until(page, 'the picture near to now', async () => (await late()) < 0.6)
  await until(page, 'the usual speed', () => page.locator(which).evaluate((v: HTMLVideoElement) => v.playbackRate === 1))
})

// A measurement, so not among the tests: `make bench` runs it.
test.runIf(process.env.VIGIL_BENCH)('how long after it was filmed a live picture is on the screen', async () => {
  for (const [name, place, which] of [['one of four', 'live', `[data-tile="${ids.gate}"] video`], ['large', 'live?camera=' + ids.gate, 'video'], ['beside its timeline', 'watch/' + ids.gate, 'video']] as const) {
    await page.goto(rig.address + '#' + place)
    await until(page, 'a live picture', async () => apart((await clock(page, 5, which)).shown, Date.now()) < 2000)
    const all = (await delays(page, which, 100)).sort((a, b) => a - b)
    console.log(`glass to glass, ${name}: median ${all[50]!.toFixed(0)} ms, fastest ${all[0]!.toFixed(0)}, slowest ${all[99]!.toFixed(0)}`)
  }
  await page.goto(rig.address + '#live')
}, 300_000)

test('one has the sound, and only when asked', async () => {
  const quiet = () => page.locator('video').evaluateAll((list) => list.map((v) => (v as HTMLVideoElement).muted))
  const button = page.getByRole('button', { name: 'Sound of Hall' })
  await button.waitFor()
  expect(await quiet()).not.toContain(false)
  await button.click()
  expect((await quiet()).filter((m) => !m)).toHaveLength(1)
  await button.click()
  expect(await quiet()).not.toContain(false)
})

test('a layout is arranged, kept on the recorder, deleted and brought back', async () => {
  await page.getByRole('button', { name: 'Arrange' }).click()
  const before = await order()
  const [a, b] = [(await tile(before[0]!).boundingBox())!, (await tile(before[1]!).boundingBox())!]
  await page.mouse.move(a.x + 50, a.y + 50)
  await page.mouse.down()
  await page.mouse.move(b.x + b.width / 2, b.y + b.height / 2, { steps: 5 })
  await page.mouse.up()
  expect(await order()).toEqual([before[1], before[0], ...before.slice(2)])
  // The same by keys.
  await tile(before[0]!).locator('.open').focus()
  await page.keyboard.press(' ')
  await page.keyboard.press('ArrowLeft')
  await page.keyboard.press(' ')
  expect(await order()).toEqual(before)
  await page.getByRole('button', { name: /Leave out 🦉/ }).click()
  await page.getByLabel('Columns').selectOption('3')
  await page.getByLabel('Name of the layout').fill('Front 前面')
  await shot('live-arrange')
  await page.getByRole('button', { name: 'Save' }).click()
  await until(page, 'the layout', async () => (await order()).length === 3)
  await page.waitForURL(/#live\/./) // the address says which
  expect(await page.getByLabel('Layout').inputValue()).not.toBe('')
  await page.reload()
  await until(page, 'the layout after a reload', async () => (await order()).length === 3)
  const tops = await page.locator('[data-tile]').evaluateAll((list) => new Set(list.map((e) => e.getBoundingClientRect().top)).size)
  expect(tops).toBe(1) // three side by side
  await page.getByRole('button', { name: 'Arrange' }).click()
  await page.getByRole('button', { name: 'Delete this layout' }).click()
  await until(page, 'all again', async () => (await order()).length === 4)
  await page.getByRole('button', { name: 'Undo' }).click()
  await until(page, 'the layout again', async () => (await order()).length === 3)
  await page.getByLabel('Layout').selectOption('')
})

test('what is not on the screen asks for nothing', async () => {
  await page.setViewportSize({ width: 400, height: 300 })
  await page.reload()
  const gate = `[data-tile="${ids.gate}"] video`
  await page.locator(gate).scrollIntoViewIfNeeded()
  await until(page, 'the gate', async () => apart((await clock(page, 5, gate)).shown, Date.now()) < 2000)
  await shot('live-phone')
  const count = () => page.locator('video').evaluateAll((list) => list.filter((v) => (v as HTMLVideoElement).src).length)
  expect(await count()).toBeLessThan(3)
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight))
  await until(page, 'the ones above end', async () => !(await page.locator(gate).first().evaluate((v: HTMLVideoElement) => v.src)))
  await page.locator(gate).scrollIntoViewIfNeeded()
  await until(page, 'the gate again', async () => apart((await clock(page, 5, gate)).shown, Date.now()) < 2000)
  // A page in the background.
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: true, configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  })
  await until(page, 'nothing is decoded', async () => (await count()) === 0)
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: false, configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  })
  await until(page, 'live again without a click', async () => apart((await clock(page, 5, gate)).shown, Date.now()) < 2000)
  await page.setViewportSize({ width: 1280, height: 900 })
})

test('a page that is left while a single picture comes is no error', async () => {
  await page.evaluate(() => {
    const real = fetch
    window.fetch = async (what, how) => {
      const r = await real(what, how)
      if (String(what).includes('snapshot.jpg')) {
        r.blob = () => new Promise((_, fail) => {
          document.documentElement.dataset.coming = 'yes'
          how!.signal!.addEventListener('abort', () => fail(how!.signal!.reason))
        })
      }
      return r
    }
  })
  await page.goto(rig.address + '#exports')
  await page.goto(rig.address + '#live')
  await tile(ids.yard!).scrollIntoViewIfNeeded()
  await page.locator('[data-coming]').waitFor()
  await page.goto(rig.address + '#exports')
  await page.getByText('Nothing was exported').waitFor()
  expect(rig.sins).toEqual([])
  await page.goto(rig.address + '#live')
})

test('a camera that goes keeps its last picture, and comes back by itself', async () => {
  await page.reload()
  await until(page, 'a live picture', async () => apart((await clock(page, 5, `[data-tile="${ids.hall}"] video`)).shown, Date.now()) < 2000)
  await rig.restartCamera(async () => {
    await until(page, 'the reason', async () => /Offline/.test(await tile(ids.hall!).innerText()), 60_000)
    expect(await tile(ids.hall!).locator('canvas').evaluate((c: HTMLCanvasElement) => c.width)).toBe(640)
    await shot('live-gone')
  })
  await until(page, 'live again', async () => apart((await clock(page, 5, `[data-tile="${ids.hall}"] video`)).shown, Date.now()) < 2000, 60_000)
})
