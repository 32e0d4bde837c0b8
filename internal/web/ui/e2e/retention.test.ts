// Retention, in earnest, under tabs that play: what goes away is not shown any more, and it is said.

import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { apart, clock, until } from './screen'

let rig: Rig
let page: Page // watches
let other: Page // holds
let gate: string
let began = 0
let edge = 0 // of what is left
const shots = process.env.VIGIL_SHOTS
const second = 1000

interface Line { ranges: { from: number; to: number }[]; gaps: { from: number; to: number; cause: string }[] }
const line = (p = page) => p.evaluate(async ([id, from, to]) => (await (await fetch(`api/v1/cameras/${id}/timeline?from=${from}&to=${to}`)).json()) as Line, [gate, began - 60 * second, Date.now() + 60 * second] as const)

beforeAll(async () => {
  rig = await Rig.start()
  page = await rig.page()
  await rig.claim(page, 'amy', 'Lantern-Harbour-42')
  gate = rig.addCamera('Gate', '/clock')
  await page.goto(rig.address + '#watch/' + gate)
  await until(page, 'a live picture', async () => apart((await clock(page)).shown, Date.now()) < 2000, 60_000)
  began = Date.now()
  await until(page, 'footage', async () => Date.now() - began > 25 * second, 60_000)
  await rig.restart() // the segment ends
  const again = Date.now()
  await until(page, 'footage after it', async () => Date.now() - again > 25 * second && (await line()).ranges.at(-1)!.to > again + 20 * second, 60_000)
}, 240_000)
afterAll(async () => {
  if (!rig) return
  await rig.close()
  expect(rig.sins).toEqual([])
})
afterEach(async (c) => {
  if (c.task.result?.state !== 'fail') return
  if (shots) await page.screenshot({ path: join(shots, 'retention.png'), fullPage: true })
  console.error(page.url(), JSON.stringify(await line().catch(() => 0)), (await page.locator('body').innerText().catch(() => '')).slice(0, 1500), rig.said().slice(-3000))
})

/** So many bytes of footage are kept; what is being written stays. */
async function keep(quotaBytes: number) {
  await page.evaluate(async (quotaBytes) => {
    const s = (await (await fetch('api/v1/settings')).json()) as { storage: object }
    await fetch('api/v1/settings', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...s, storage: { ...s.storage, quotaBytes } }) })
  }, quotaBytes)
}

test('footage that is played goes: the tab goes on with what is left', async () => {
  await page.goto(`${rig.address}#watch/${gate}?t=${began + second}`)
  await page.reload()
  await until(page, 'footage', async () => apart((await clock(page)).shown, (await clock(page)).claimed) < 700 && Math.abs(Number(await page.locator('video').getAttribute('data-at')) - began) < 15 * second)
  other = await page.context().newPage()
  await other.goto(`${rig.address}#watch/${gate}?t=${began + 14 * second}`)
  await until(other, 'footage', async () => apart((await clock(other)).shown, (await clock(other)).claimed) < 700)
  await other.keyboard.press(' ')
  await keep(1)
  await until(page, 'it is gone', async () => (await line()).gaps.some((g) => g.cause === 'retention' && g.to > began), 60_000)
  edge = (await line()).ranges.find((r) => r.to > began)!.from
  await keep(0)
  await page.bringToFront()
  await until(page, 'what is left', async () => Number(await page.locator('video').getAttribute('data-at')) >= edge - second && apart((await clock(page)).shown, (await clock(page)).claimed) < 1000, 60_000)
  const gap = page.locator('rect.hole').first()
  await gap.waitFor()
  await page.getByText(/Gaps with their causes/).click()
  await page.locator('.gaps li', { hasText: 'made room' }).first().waitFor()
})

test('the tab that held there goes to what is left, and says so in a sentence', async () => {
  await other.bringToFront()
  await other.keyboard.press(' ')
  await other.getByRole('button', { name: '10 seconds back' }).click()
  await other.locator('.over, .toast').getByText(/Nothing was recorded|made room/).first().waitFor()
  await other.getByRole('button', { name: 'Live', exact: true }).click()
  await until(other, 'live', async () => apart((await clock(other)).shown, Date.now()) < 2000)
})

test('an export over the edge has what is left, and its list of gaps', async () => {
  await page.bringToFront()
  const made = (await page.evaluate(async ([camera, from, to]) => {
    const r = await fetch(`api/v1/cameras/${camera}/exports`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ from, to }) })
    return [r.status, await r.json()]
  }, [gate, began, edge + 8 * second] as const)) as [number, { id: string }]
  expect(made[0], JSON.stringify(made[1])).toBeLessThan(300)
  await page.goto(rig.address + '#exports')
  await page.getByText(/^Gaps: \d/).first().click({ timeout: 40_000 })
  await page.locator('main').getByText('old footage made room').first().waitFor()
  await page.getByRole('link', { name: /Download/ }).first().waitFor()
})
