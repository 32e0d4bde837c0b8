// The recorder's wall clock is set while it is watched, by an hour and by a day, forward and back. The camera's burnt-in clock goes on, so
// the picture says what is true; all is set by whole minutes, so that both agree on the minute's seconds.

import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { apart, clock, until } from './screen'

let rig: Rig
let page: Page // live, with the timeline
let grid: Page // all cameras
let stored: Page // footage
let gate: string
let ahead = 0 // s
let began = 0
const jumps: number[] = [] // the instants, by the clock before, at which it was set
const shots = process.env.VIGIL_SHOTS
const second = 1000
const hour = 3600
const day = 24 * hour

beforeAll(async () => {
  rig = await Rig.start('chromium', true)
  page = await rig.page()
  await rig.claim(page, 'amy', 'Lantern-Harbour-42')
  gate = rig.addCamera('Gate', '/clock')
  await page.goto(rig.address + '#watch/' + gate)
  grid = await page.context().newPage()
  await grid.goto(rig.address + '#live')
  stored = await page.context().newPage()
}, 300_000)
afterAll(async () => {
  if (!rig) return
  await rig.close()
  expect(rig.sins).toEqual([])
})
afterEach(async (c) => {
  if (c.task.result?.state !== 'fail') return
  for (const [name, p] of [['live', page], ['grid', grid], ['stored', stored]] as const) {
    if (shots) await p.screenshot({ path: join(shots, `clock-${name}.png`), fullPage: true })
    console.error(name, p.url(), (await p.locator('body').innerText().catch(() => '')).slice(0, 700))
  }
  console.error(ahead, Date.now(), now(), jumps, JSON.stringify(await line().catch(() => 0)), rig.said().slice(-3000))
})

const now = () => Date.now() + ahead * second
const isLive = async (p: Page) => apart((await clock(p)).shown, Date.now()) < 2000
const at = async (p: Page) => Number(await p.locator('video').first().getAttribute('data-at'))
const view = async (p: Page) => Promise.all(['min', 'max'].map(async (s) => Number(await p.getByRole('slider').getAttribute('aria-value' + s))))

interface Line { now: number; ranges: { from: number; to: number }[]; gaps: { from: number; to: number; cause: string }[] }
const line = () => page.evaluate(async ([id, from, length]) => (await (await fetch(`api/v1/cameras/${id}/timeline?from=${from}&to=${from + length}`)).json()) as Line, [gate, began - hour * second, 2 * day * second] as const)

test('before anything is set', async () => {
  await until(page, 'a live picture', () => isLive(page), 60_000)
  await until(grid, 'a live picture among all', () => isLive(grid))
  began = now()
  await until(page, 'some footage', async () => now() - began > 20 * second)
  await stored.goto(`${rig.address}#watch/${gate}?t=${began}`)
  await until(stored, 'footage', async () => apart((await clock(stored)).shown, (await clock(stored)).claimed) < 500)
  await stored.getByLabel('Speed').selectOption('0.25') // so that it lasts
})

test.each([hour, -hour, day, -day])('set by %i s while it is watched', async (by) => {
  const was = (await clock(stored)).shown
  jumps.push(now())
  ahead += by
  rig.setClock(ahead)
  await until(page, 'the new time under the live picture', async () => Math.abs((await at(page)) - now()) < 3 * second && (await isLive(page)))
  await until(grid, 'a live picture among all', () => isLive(grid))
  await until(page, 'now on the timeline', async () => {
    const [from, to] = await view(page)
    const past = (await page.locator('rect.past').boundingBox())!
    const box = (await page.getByRole('slider').boundingBox())!
    return from! <= now() && now() < to! && Math.abs(past.width - ((now() - from!) / (to! - from!)) * box.width) < 3
  })
  await until(page, 'footage up to now', async () => (await line()).ranges.some((r) => r.from <= now() && now() - r.to < 8 * second))
  const { ranges } = await line()
  for (const [i, r] of ranges.entries()) expect(i === 0 || ranges[i - 1]!.to <= r.from, 'ranges that overlap').toBe(true)
  // What was recorded before goes on as it was.
  await until(stored, 'footage that goes on', async () => apart((await clock(stored)).shown, was) > 500)
  expect(apart((await clock(stored)).shown, (await clock(stored)).claimed)).toBeLessThan(700)
})

test('footage is played through the steps: nothing twice', async () => {
  await stored.goto(`${rig.address}#watch/${gate}?t=${Math.round(jumps[0]! - 4 * second)}`)
  await stored.reload()
  await until(stored, 'footage', async () => apart((await clock(stored)).shown, (await clock(stored)).claimed) < 500)
  let before = (await clock(stored)).shown
  let passed = 0
  await until(stored, 'footage of after the last step', async () => {
    const { shown } = await clock(stored)
    const on = (shown - before + 60_000) % 60_000 // true time: what was recorded with the clock ahead is not of these hours
    expect(on).toBeLessThan(30 * second)
    passed += on
    before = shown
    return (await at(stored)) > jumps.at(-1)! - day * second
  }, 60_000)
  expect(passed).toBeGreaterThan(5 * second)
})
