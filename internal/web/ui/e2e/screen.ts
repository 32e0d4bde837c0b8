// Reading the screen: the clock that is burnt into the picture, and barriers for people.

import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { readClock } from '../../../simcam/clockface/clockface.js'

/**
 * The burnt-in clock, read from a screenshot of the video, and the instant that the page claims; ms since the epoch modulo a minute.
 * A screenshot takes a while: of what is claimed before and after it, the nearest to what is shown counts.
 */
export async function clock(page: Page, tries = 5, which = 'video'): Promise<{ shown: number; claimed: number }> {
  const video = page.locator(which).first()
  const before = Number(await video.getAttribute('data-at'))
  const png = (await video.screenshot()).toString('base64')
  const after = Number(await video.getAttribute('data-at'))
  // As text, not as a function with arguments: the page's policy forbids eval, which passing the reader in would need.
  const shown = await page.evaluate<number | null>(`(async () => {
    const CELLS = 20, HEIGHT = 15, N = 5
    const readClock = ${readClock.toString()}
    const bytes = Uint8Array.from(atob('${png}'), (c) => c.charCodeAt(0))
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }))
    const v = document.querySelector(${JSON.stringify(which)})
    // The picture stands in the middle of the element, with bars around it.
    const scale = Math.min(bitmap.width / v.videoWidth, bitmap.height / v.videoHeight)
    const w = Math.round(v.videoWidth * scale), h = Math.round(v.videoHeight * scale)
    const c = new OffscreenCanvas(w, h).getContext('2d')
    c.drawImage(bitmap, (w - bitmap.width) / 2, (h - bitmap.height) / 2)
    return readClock(c.getImageData(0, 0, w, h))
  })()`)
  if (shown === null) {
    // between two pictures, right after a seek
    if (tries > 1) return clock(page, tries - 1, which)
    throw new Error('no clock in the picture')
  }
  const since = (shown - (before % 60_000) + 60_000) % 60_000
  if (since <= after - before && after - before < 2000) return { shown, claimed: shown }
  return { shown, claimed: (apart(shown, before) < apart(shown, after) ? before : after) % 60_000 }
}

/** The burnt-in clock of a picture that is held, and what the page claims, once it is there. */
export async function still(page: Page): Promise<{ shown: number; claimed: number }> {
  await until(page, 'a picture that stands', () => page.locator('video').first().evaluate((v: HTMLVideoElement) => v.paused && !v.seeking))
  return clock(page)
}

/** The burnt-in clocks of all videos that match, of one screenshot of the window: what was on the screen at one moment. Null where there is none. */
export async function clocks(page: Page, which: string): Promise<(number | null)[]> {
  const png = (await page.screenshot()).toString('base64')
  return page.evaluate<(number | null)[]>(`(async () => {
    const CELLS = 20, HEIGHT = 15, N = 5
    const readClock = ${readClock.toString()}
    const bytes = Uint8Array.from(atob('${png}'), (c) => c.charCodeAt(0))
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }))
    const ratio = bitmap.width / innerWidth
    return [...document.querySelectorAll(${JSON.stringify(which)})].map((v) => {
      const b = v.getBoundingClientRect()
      const scale = Math.min(b.width / v.videoWidth, b.height / v.videoHeight)
      const w = v.videoWidth * scale, h = v.videoHeight * scale
      if (!w || !h) return null
      const c = new OffscreenCanvas(v.videoWidth, v.videoHeight).getContext('2d')
      c.drawImage(bitmap, (b.x + (b.width - w) / 2) * ratio, (b.y + (b.height - h) / 2) * ratio, w * ratio, h * ratio, 0, 0, v.videoWidth, v.videoHeight)
      return readClock(c.getImageData(0, 0, v.videoWidth, v.videoHeight))
    })
  })()`)
}

/** How long after it was filmed each of so many pictures of a video came to the screen, ms: the burnt-in clock against this machine's. */
export function delays(page: Page, which: string, n: number): Promise<number[]> {
  return page.evaluate<number[]>(`(async () => {
    const CELLS = 20, HEIGHT = 15, N = 5
    const readClock = ${readClock.toString()}
    const v = document.querySelector(${JSON.stringify(which)})
    const c = new OffscreenCanvas(v.videoWidth, v.videoHeight).getContext('2d', { willReadFrequently: true })
    const out = []
    while (out.length < ${n}) {
      const at = await new Promise((ok) => v.requestVideoFrameCallback((_, m) => {
        c.drawImage(v, 0, 0)
        ok(performance.timeOrigin + m.expectedDisplayTime)
      }))
      const shown = readClock(c.getImageData(0, 0, v.videoWidth, v.videoHeight))
      if (shown !== null) out.push((at - shown + 60000) % 60000)
      await new Promise((ok) => setTimeout(ok, 90 + 40 * Math.random()))
    }
    return out
  })()`)
}

/** The clock in an image of the page, ms since the epoch modulo a minute. */
export function clockIn(page: Page, selector: string): Promise<number | null> {
  return page.evaluate<number | null>(`(async () => {
    const CELLS = 20, HEIGHT = 15, N = 5
    const readClock = ${readClock.toString()}
    const img = document.querySelector(${JSON.stringify(selector)})
    await img.decode()
    const c = new OffscreenCanvas(img.naturalWidth, img.naturalHeight).getContext('2d')
    c.drawImage(img, 0, 0)
    return readClock(c.getImageData(0, 0, img.naturalWidth, img.naturalHeight))
  })()`)
}

/** How loud the sound of a video is at most within a second, from 0 to 1: what the browser decoded, whether or not the machine can play it. */
export function loudness(page: Page, which = 'video'): Promise<number> {
  return page.locator(which).first().evaluate(async (v: HTMLVideoElement & { captureStream?(): MediaStream; mozCaptureStream?(): MediaStream }) => {
    const tracks = (v.captureStream ?? v.mozCaptureStream)!.call(v).getAudioTracks()
    if (!tracks.length) return 0
    const recorder = new MediaRecorder(new MediaStream(tracks))
    const parts: Blob[] = []
    recorder.ondataavailable = (e) => parts.push(e.data)
    const stopped = new Promise((ok) => (recorder.onstop = ok))
    recorder.start()
    setTimeout(() => recorder.stop(), 1000)
    await stopped
    const sound = await new OfflineAudioContext(1, 1, 48_000).decodeAudioData(await new Blob(parts).arrayBuffer())
    return sound.getChannelData(0).reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  })
}

/** How far apart two instants of a minute are, ms. */
export function apart(a: number, b: number): number {
  const d = Math.abs(a - b) % 60_000
  return Math.min(d, 60_000 - d)
}

export async function until(page: Page, what: string, check: () => Promise<boolean>, ms = 30_000) {
  for (const end = Date.now() + ms; Date.now() < end; await page.waitForTimeout(150)) if (await check().catch(() => false)) return
  throw new Error(`waited for ${what}`)
}

/** What keeps people out (WCAG 2.2 AA), and whether the page is wider than its window. */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const found = await page.evaluate(async () => {
    const r = await (window as unknown as { axe: typeof axe }).axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
    return r.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`)
  })
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  return over > 0 ? [...found, `wider than the window by ${over}`] : found
}
