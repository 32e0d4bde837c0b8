// With fingers, on a telephone: the timeline, the picture, the arranging of tiles, and the page that scrolls under them.

import { join } from 'node:path'
import type { CDPSession, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { apart, clock, until } from './screen'

let rig: Rig
let page: Page
let fingers: CDPSession
let since = 0
const ids: string[] = []
const shots = process.env.VIGIL_SHOTS
const second = 1000

beforeAll(async () => {
  rig = await Rig.start('chromium') // fingers are told by its protocol
  page = await rig.page({ width: 390, height: 740 }, true)
  fingers = await page.context().newCDPSession(page)
  await rig.claim(page, 'amy', 'Lantern-Harbour-42')
  const many = await rig.another('-user', 'demo', '-pass', 'camera-Pass-1', '-n', '4', '-source', 'clock-small')
  for (const [i, name] of ['Gate', 'Hall', 'Yard', 'Till'].entries()) ids.push(rig.addCamera(name, `${many}/cam${i}`))
  await page.goto(rig.address + '#watch/' + ids[0])
  await page.reload()
  await until(page, 'a live picture', async () => apart((await clock(page)).shown, Date.now()) < 2000, 60_000)
  since = Date.now()
  await until(page, 'some footage', async () => Date.now() - since > 15 * second)
})
afterAll(async () => {
  if (!rig) return
  await rig.close()
  expect(rig.sins).toEqual([])
})
afterEach(async (c) => {
  if (c.task.result?.state !== 'fail') return
  if (shots) await page.screenshot({ path: join(shots, 'touch-failed.png') })
  console.error(page.url(), (await page.locator('body').innerText().catch(() => '')).slice(0, 800), rig.said().slice(-1500))
})

type Point = { x: number; y: number }

const touch = (type: 'touchStart' | 'touchMove' | 'touchEnd', points: Point[]) =>
  fingers.send('Input.dispatchTouchEvent', { type, touchPoints: points.map((p, id) => ({ ...p, id })) })

/** Some fingers go from where they are to elsewhere, in steps as a hand does. */
async function drag(from: Point[], to: Point[]) {
  const steps = 12
  await touch('touchStart', from.slice(0, 1))
  if (from[1]) await touch('touchStart', from)
  for (let i = 1; i <= steps; i++) {
    await touch('touchMove', from.map((p, n) => ({ x: p.x + ((to[n]!.x - p.x) * i) / steps, y: p.y + ((to[n]!.y - p.y) * i) / steps })))
    await page.waitForTimeout(16) // as a screen tells it
  }
  await page.waitForTimeout(150) // they rest, so that nothing goes on by itself
  await touch('touchMove', to)
  await touch('touchEnd', [])
}

async function tap(p: Point) {
  await touch('touchStart', [p])
  await touch('touchEnd', [])
}

const line = () => page.getByRole('slider')
const view = async () => [Number(await line().getAttribute('aria-valuemin')), Number(await line().getAttribute('aria-valuemax'))] as [number, number]
const top = () => page.evaluate(() => scrollY)
const box = async (what = line()) => (await what.boundingBox())!
const at = async (x: number) => view().then(async ([a, b]) => a + ((b - a) * (x - (await box()).x)) / (await box()).width)
const zoomed = () => page.locator('.picture').first().evaluate((e) => {
  const m = new DOMMatrix(getComputedStyle(e).transform)
  return { scale: m.a, x: m.e, y: m.f }
})

test('two fingers on the timeline: each stays on its instant, and the page does not zoom', async () => {
  await line().scrollIntoViewIfNeeded()
  const b = await box()
  const y = b.y + 45
  const before = await view()
  const [l, r] = [await at(b.x + 150), await at(b.x + 210)]
  await drag([{ x: b.x + 150, y }, { x: b.x + 210, y }], [{ x: b.x + 100, y }, { x: b.x + 330, y }])
  const perPixel = ((await view())[1] - (await view())[0]) / b.width
  expect(perPixel * b.width).toBeLessThan((before[1] - before[0]) / 3)
  expect(Math.abs((await at(b.x + 100)) - l) / perPixel).toBeLessThan(12)
  expect(Math.abs((await at(b.x + 330)) - r) / perPixel).toBeLessThan(12)
  expect(await page.evaluate(() => visualViewport!.scale)).toBe(1)
  expect(page.url()).not.toMatch(/t=\d/) // nothing was asked for
  // And apart again, about where they are.
  await drag([{ x: b.x + 100, y }, { x: b.x + 330, y }], [{ x: b.x + 150, y }, { x: b.x + 210, y }])
  expect(Math.abs(((await view())[1] - (await view())[0]) / (before[1] - before[0]) - 1)).toBeLessThan(0.2)
  await touch('touchStart', [{ x: b.x + 100, y }])
  await touch('touchStart', [{ x: b.x + 100, y }, { x: b.x + 200, y }])
  await touch('touchEnd', [])
  expect(page.url()).not.toMatch(/t=\d/)
})

test('one finger drags the timeline, up and down scrolls the page, a tap plays there', async () => {
  const b = await box()
  const y = b.y + 45
  const [from, to] = await view()
  await drag([{ x: b.x + 100, y }], [{ x: b.x + 200, y }])
  expect(Math.abs((await view())[0] - (from - ((to - from) * 100) / b.width))).toBeLessThan(((to - from) * 8) / b.width)
  expect(page.url()).not.toMatch(/t=\d/)
  await page.setViewportSize({ width: 390, height: 460 })
  await line().scrollIntoViewIfNeeded()
  const was = await top()
  const low = await box()
  await drag([{ x: low.x + 100, y: low.y + 45 }], [{ x: low.x + 103, y: low.y + 195 }])
  await until(page, 'the page elsewhere', async () => was - (await top()) > 50)
  await page.setViewportSize({ width: 390, height: 740 })
  expect(page.url()).not.toMatch(/t=\d/)

  const there = await box()
  await drag([{ x: there.x + 200, y: there.y + 45 }], [{ x: there.x + 100, y: there.y + 45 }])
  await page.getByRole('button', { name: 'Hour', exact: true }).tap()
  for (let i = 0; i < 5; i++) await page.getByRole('button', { name: /Show less time/ }).tap()
  await line().scrollIntoViewIfNeeded()
  await until(page, 'the footage', async () => (await page.locator('rect.footage').count()) > 0)
  const [a, e] = await view()
  const here = await box()
  const wanted = since + 5 * second
  await tap({ x: here.x + ((wanted - a) / (e - a)) * here.width, y: here.y + 45 })
  await until(page, 'footage of there', async () => Math.abs(Number(/t=(\d+)/.exec(page.url())?.[1]) - wanted) < 8 * second && apart((await clock(page)).shown, (await clock(page)).claimed) < 1000)
  expect(await page.locator('.hint').count()).toBe(0)
})

test.each(['watch/', 'live?camera='])('two fingers on the picture of %s zoom into it, one moves it, two taps show the whole', async (place) => {
  await page.goto(rig.address + '#' + place + ids[0])
  await page.locator('video').waitFor()
  await until(page, 'a picture', async () => apart((await clock(page)).shown, Date.now()) < 3000)
  await page.evaluate(() => scrollTo(0, 0))
  const picture = () => box(page.locator('.picture').first())
  // One finger on the whole picture scrolls the page; two do not, and may go up or down together.
  await page.setViewportSize({ width: 390, height: 460 })
  const low = await picture()
  const x = low.x + low.width / 2
  const y = low.y + low.height * 0.75
  if (await page.evaluate(() => document.documentElement.scrollHeight > innerHeight + 90)) {
    await drag([{ x, y }], [{ x, y: y - 80 }])
    await until(page, 'the page elsewhere', async () => (await top()) > 30)
    await page.evaluate(() => scrollTo(0, 0))
  }
  await drag([{ x: x - 30, y }, { x: x + 30, y }], [{ x: x - 60, y: y - 80 }, { x: x + 60, y: y - 60 }])
  expect(await top()).toBe(0)
  expect((await zoomed()).scale).toBeGreaterThan(1.5)
  await page.locator('.back').tap()
  await page.setViewportSize({ width: 390, height: 740 })

  const b = await picture()
  const middle = { x: b.x + b.width / 2, y: b.y + b.height / 2 }
  await drag([{ x: middle.x - 20, y: middle.y - 10 }, { x: middle.x + 20, y: middle.y + 10 }], [{ x: middle.x - 100, y: middle.y - 50 }, { x: middle.x + 100, y: middle.y + 50 }])
  const near = await zoomed()
  expect(near.scale).toBeGreaterThan(3)
  expect(Math.abs(near.x + ((near.scale - 1) * b.width) / 2)).toBeLessThan(30) // about the middle
  expect(await page.evaluate(() => [visualViewport!.scale, scrollY])).toEqual([1, 0])
  await drag([middle], [{ x: middle.x + 60, y: middle.y + 30 }])
  const moved = await zoomed()
  expect(Math.abs(moved.x - near.x - 60)).toBeLessThan(8)
  expect(Math.abs(moved.y - near.y - 30)).toBeLessThan(8)
  expect(await top()).toBe(0)
  // Both fingers aside: as if one held it.
  await drag([{ x: middle.x - 50, y: middle.y }, { x: middle.x + 50, y: middle.y }], [{ x: middle.x - 90, y: middle.y }, { x: middle.x + 10, y: middle.y }])
  const aside = await zoomed()
  expect(Math.abs(aside.scale / moved.scale - 1)).toBeLessThan(0.1)
  expect(Math.abs(aside.x - moved.x + 40)).toBeLessThan(15)
  await tap(middle)
  await tap(middle)
  await until(page, 'the whole', async () => (await zoomed()).scale === 1)
})

test('tiles are arranged with a finger, also beyond the edge of the window; the page scrolls beside them', async () => {
  await page.goto(rig.address + '#live')
  const order = () => page.locator('[data-tile]').evaluateAll((list) => list.map((e) => (e as HTMLElement).dataset.tile!))
  await until(page, 'four', async () => (await order()).length === 4)
  const middle = async (id: string) => box(page.locator(`[data-tile="${id}"]`)).then((b) => ({ x: b.x + b.width / 2, y: b.y + b.height / 2 }))
  // Not arranging, a finger scrolls.
  await page.setViewportSize({ width: 390, height: 460 })
  const first = (await order())[0]!
  const m = await middle(first)
  await drag([m], [{ x: m.x, y: m.y - 150 }])
  await until(page, 'the page elsewhere', async () => (await top()) > 50)
  await page.getByRole('button', { name: 'Arrange' }).tap()
  await page.setViewportSize({ width: 390, height: 740 })
  await page.evaluate(() => scrollTo(0, 0))
  const before = await order()
  const [a, c] = [await middle(before[0]!), await middle(before[1]!)]
  await drag([a], [c])
  expect(await order()).toEqual([before[1], before[0], ...before.slice(2)])
  // Held at the edge of the window it scrolls on, to the last.
  await page.setViewportSize({ width: 390, height: 460 })
  await page.evaluate(() => scrollTo(0, 0))
  const from = await middle(before[1]!)
  await touch('touchStart', [from])
  await touch('touchMove', [{ x: from.x, y: from.y + 20 }])
  await touch('touchMove', [{ x: from.x, y: 450 }])
  await until(page, 'the last place', async () => (await order()).at(-1) === before[1])
  await touch('touchEnd', [])
  await page.getByRole('button', { name: 'Cancel' }).tap()
})
