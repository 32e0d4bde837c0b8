// From an empty machine to pictures on the screen, as a person does it; the clock in the picture says which instant is shown.

import axe from 'axe-core'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { readClock } from '../../../simcam/clockface/clockface.js'
import { Rig } from './rig'

let rig: Rig
let page: Page
const password = 'Lantern-Harbour-42'
const shots = process.env.VIGIL_SHOTS

beforeAll(async () => {
  rig = await Rig.start()
  page = await rig.page()
})
afterAll(async () => {
  if (rig) await rig.close()
})

afterEach(async (c) => {
  if (c.task.result?.state !== 'fail') return
  await shot('failed')
  console.error((await page.locator('body').innerText().catch(() => '')).slice(0, 1500), rig.said().slice(-3000))
})

async function shot(name: string, p: Page = page) {
  if (shots) await p.screenshot({ path: join(shots, name + '.png'), fullPage: true })
}

/** The burnt-in clock, read from a screenshot of the video, and the instant that the page claims; ms since the epoch modulo a minute. */
async function clock(tries = 5): Promise<{ shown: number; claimed: number }> {
  const video = page.locator('video')
  const png = (await video.screenshot()).toString('base64')
  const claimed = Number(await video.getAttribute('data-at'))
  // As text, not as a function with arguments: the page's policy forbids eval, which passing the reader in would need.
  const shown = await page.evaluate<number | null>(`(async () => {
    const CELLS = 20, HEIGHT = 15, N = 5
    const readClock = ${readClock.toString()}
    const bytes = Uint8Array.from(atob('${png}'), (c) => c.charCodeAt(0))
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }))
    const v = document.querySelector('video')
    // The picture stands in the middle of the element, with bars around it.
    const scale = Math.min(bitmap.width / v.videoWidth, bitmap.height / v.videoHeight)
    const w = Math.round(v.videoWidth * scale), h = Math.round(v.videoHeight * scale)
    const c = new OffscreenCanvas(w, h).getContext('2d')
    c.drawImage(bitmap, (w - bitmap.width) / 2, (h - bitmap.height) / 2)
    return readClock(c.getImageData(0, 0, w, h))
  })()`)
  if (shown === null) {
    // between two pictures, right after a seek
    if (tries > 1) return clock(tries - 1)
    throw new Error('no clock in the picture')
  }
  return { shown, claimed: claimed % 60_000 }
}

/** How far apart two instants of a minute are, ms. */
function apart(a: number, b: number): number {
  const d = Math.abs(a - b) % 60_000
  return Math.min(d, 60_000 - d)
}

async function until(what: string, check: () => Promise<boolean>, ms = 30_000) {
  for (const end = Date.now() + ms; Date.now() < end; await page.waitForTimeout(150)) if (await check().catch(() => false)) return
  throw new Error(`waited for ${what}`)
}

test('claim with the code, and not with another', async () => {
  await page.goto(rig.address)
  await page.getByLabel('One-time code').fill('AAAA-AAAA-AAAA')
  await page.getByLabel('Name of the administrator').fill('amy')
  await page.getByLabel('New password').fill(password)
  await page.getByLabel('The same again').fill(password)
  await shot('setup')
  await page.getByRole('button', { name: 'Create the administrator' }).click()
  await page.getByRole('alert').waitFor()
  await page.getByLabel('One-time code').fill(rig.code)
  await page.getByRole('button', { name: 'Create the administrator' }).click()
  await page.getByRole('heading', { name: 'Cameras', exact: true }).waitFor()
})

test('a wrong password of the camera is said, then the stream test passes', async () => {
  await page.getByRole('button', { name: 'Add a camera' }).click()
  await page.getByLabel('Name', { exact: true }).fill('Gate 門口')
  await page.getByLabel('Address of the stream').fill(rig.rtsp + '/clock')
  await page.getByLabel('User on the camera').fill('demo')
  await page.getByLabel('Password on the camera').fill('wrong')
  await page.getByLabel(/I accept an unencrypted link/).check()
  await page.getByRole('button', { name: 'Test the stream' }).click()
  await page.locator('.found .error').waitFor({ timeout: 40_000 })
  expect((await page.locator('.found .error').innerText()).toLowerCase()).toMatch(/password|user/)
  await page.getByLabel('Password on the camera').fill('camera-Pass-1')
  await page.getByRole('button', { name: 'Test the stream' }).click()
  await page.getByText('Pictures arrive:').waitFor({ timeout: 40_000 })
  await shot('probe')
  await page.getByRole('button', { name: 'Save and record' }).click()
})

test('live: the clock in the picture is now', async () => {
  await page.locator('.good', { hasText: 'Recording' }).waitFor({ timeout: 30_000 })
  await until('a live picture', async () => apart((await clock()).shown, Date.now()) < 3000)
  const { shown, claimed } = await clock()
  expect(apart(shown, claimed)).toBeLessThan(700)
  await shot('live')
})

test('stored: any instant shows the picture of that instant', async () => {
  await page.waitForTimeout(12_000) // footage to go back in
  await page.getByRole('button', { name: '10 seconds back' }).click()
  await until('stored footage', async () => {
    const c = await clock()
    return apart(c.shown, c.claimed) < 700 && apart(c.shown, Date.now()) > 4000
  })
  await page.getByRole('button', { name: 'Pause' }).click()
  const { shown, claimed } = await clock()
  expect(apart(shown, claimed)).toBeLessThan(300)
  await shot('stored')
})

test('the timeline shows footage and a click plays there', async () => {
  const line = page.getByRole('slider')
  await line.focus()
  for (let i = 0; i < 9; i++) await page.keyboard.press('+')
  await until('footage on the timeline', async () => Number(await line.getAttribute('aria-valuemax')) - Number(await line.getAttribute('aria-valuemin')) < 400_000)
  const before = (await clock()).claimed
  await page.keyboard.press('ArrowLeft')
  await until('five seconds earlier', async () => {
    const c = await clock()
    return apart(c.shown, c.claimed) < 700 && apart(c.claimed, before) > 2000
  })
  await shot('timeline')
})

test('export: an ordinary MP4 of the range', async () => {
  await page.getByRole('button', { name: 'Live', exact: true }).click()
  await page.getByRole('button', { name: 'Export…' }).click()
  const to = Date.now() - 3000
  const field = (ms: number) => new Date(ms + offsetMinutes * 60_000).toISOString().slice(0, 19)
  const zone = (await page.locator('.day .soft').innerText()).trim()
  const offsetMinutes = Math.round((Date.parse(new Date(to).toLocaleString('sv', { timeZone: zone }).replace(' ', 'T') + 'Z') - Math.floor(to / 1000) * 1000) / 60_000)
  await page.getByLabel('From').fill(field(to - 8000))
  await page.getByLabel('To', { exact: true }).fill(field(to))
  await page.getByRole('button', { name: 'Make the MP4' }).click()
  const link = page.getByRole('link', { name: /Download/ })
  await link.waitFor({ timeout: 30_000 })
  await shot('export')
  const [download] = await Promise.all([page.waitForEvent('download'), link.click()])
  const file = join(rig.dir, 'export.mp4')
  await download.saveAs(file)
  const probe = JSON.parse(execFileSync('ffprobe', ['-v', 'error', '-count_packets', '-show_streams', '-show_format', '-of', 'json', file], { encoding: 'utf8' }))
  expect(probe.streams[0].codec_name).toBe('h264')
  expect(Number(probe.format.duration)).toBeGreaterThan(6)
  expect(Number(probe.format.duration)).toBeLessThan(12)
})

test('the other language, a phone, and no barrier', async () => {
  for (const place of ['watch', 'cameras', 'alerts', 'log', 'system']) {
    await page.goto(rig.address + '#' + place)
    await page.waitForTimeout(500)
    await page.evaluate(axe.source)
    const found = await page.evaluate(async () => {
      const r = await (window as unknown as { axe: typeof axe }).axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'] })
      return r.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`)
    })
    expect(found, place).toEqual([])
    await shot('en-' + place)
  }
  await page.getByRole('button', { name: '中文' }).click()
  await page.setViewportSize({ width: 390, height: 844 })
  for (const place of ['watch', 'cameras', 'alerts', 'log', 'system']) {
    await page.goto(rig.address + '#' + place)
    await page.waitForTimeout(500)
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), place + ' is wider than the phone').toBeLessThanOrEqual(0)
    await shot('zh-' + place)
  }
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.getByRole('button', { name: 'English' }).click()
})

test('a coding that the browser does not know is said, not shown black', async () => {
  const id = rig.addCamera('Yard', '/h265')
  await page.goto(rig.address + '#watch/' + id)
  await page.reload()
  await page.getByText(/This browser cannot play video\/mp4; codecs="hvc1/).waitFor({ timeout: 40_000 })
  await shot('unsupported')
})

test('a restart of the recorder under the page: pictures come back by themselves', async () => {
  await page.locator('main select').first().selectOption('Gate 門口')
  await until('a live picture', async () => apart((await clock()).shown, Date.now()) < 3000)
  await rig.restart('SIGKILL')
  await until('a live picture after the restart', async () => apart((await clock()).shown, Date.now()) < 3000, 45_000)
})
