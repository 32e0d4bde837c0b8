// Exports: a range of two cameras at once, how far they are, who asked, the files, after a restart too; taken back; nothing there.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { until } from './screen'

let rig: Rig
let page: Page
const ids: Record<string, string> = {}
const shots = process.env.VIGIL_SHOTS
const began = Date.now()

beforeAll(async () => {
  rig = await Rig.start()
  page = await rig.page()
  await rig.claim(page, 'amy', 'Lantern-Harbour-42')
  ids.gate = rig.addCamera('Gate 門口', '/clock', '/sub')
  ids.hall = rig.addCamera('Hall', '/aac', undefined, '--audio')
  ids.away = rig.addCamera('Away', '/nowhere')
})
afterAll(async () => {
  if (!rig) return
  await rig.close()
  expect(rig.sins).toEqual([])
})
afterEach(async (c) => {
  if (c.task.result?.state !== 'fail') return
  await shot('exports-failed')
  console.error(page.url(), (await page.locator('body').innerText().catch(() => '')).slice(0, 1500), rig.said().slice(-3000))
})

async function shot(name: string) {
  if (shots) await page.screenshot({ path: join(shots, name + '.png'), fullPage: true })
}

const rows = () => page.locator('li:has(button)').filter({ hasText: 'amy' })

test('nothing was exported yet: it says where to begin', async () => {
  await page.goto(rig.address + '#exports')
  await page.getByText('Nothing was exported').waitFor()
  await shot('exports-none')
})

test('one range of two cameras, a file each', async () => {
  await page.goto(rig.address + `#watch/${ids.gate}`)
  await until(page, 'some footage', async () => Date.now() - began > 12_000 && (await page.locator('video').count()) > 0)
  await page.keyboard.press('e')
  const form = page.getByRole('region', { name: 'Export a range' })
  await form.getByLabel('Hall').check()
  await form.getByText('One file of each camera: 2').waitFor()
  await shot('exports-form')
  await form.getByRole('button', { name: 'Make the MP4' }).click()
  await page.getByRole('link', { name: 'All exports' }).click()
  await until(page, 'two files', async () => (await rows().getByRole('link', { name: /Download/ }).count()) === 2)
  expect(await rows().allInnerTexts()).toEqual([expect.stringContaining('Hall'), expect.stringContaining('Gate 門口')])
  await shot('exports')
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0)
})

test('a camera without footage then says so, and the others go on', async () => {
  await page.goto(rig.address + `#watch/${ids.gate}`)
  await page.locator('video').waitFor()
  await page.keyboard.press('e')
  const form = page.getByRole('region', { name: 'Export a range' })
  const start = form.getByLabel('From')
  const at = Number(new Date(await start.inputValue() + 'Z')) - 86_400_000
  await start.fill(new Date(at).toISOString().slice(0, 19))
  await form.getByLabel('To', { exact: true }).fill(new Date(at + 5000).toISOString().slice(0, 19))
  await form.getByRole('button', { name: 'Make the MP4' }).click()
  await form.getByText(/no footage/i).first().waitFor()
  await form.getByRole('button', { name: 'Cancel' }).click()
  await form.waitFor({ state: 'detached' })
})

test('after a restart the list is there, and the same file comes', async () => {
  await page.goto(rig.address + '#exports')
  const sum = async () => (await page.evaluate(async () => (await (await fetch('api/v1/exports')).json()).exports.map((x: { sha256?: string }) => x.sha256))) as string[]
  const before = await sum()
  expect(before.every(Boolean)).toBe(true)
  await rig.restart()
  await page.reload()
  await until(page, 'two files', async () => (await rows().getByRole('link', { name: /Download/ }).count()) === 2)
  expect(await sum()).toEqual(before)
  const [file] = await Promise.all([page.waitForEvent('download'), rows().first().getByRole('link', { name: /Download/ }).click()])
  await file.saveAs(join(rig.dir, 'hall.mp4'))
  expect(statSync(join(rig.dir, 'hall.mp4')).size).toBeGreaterThan(10_000)
})

test('on a phone, and taken from the list', async () => {
  await page.setViewportSize({ width: 360, height: 740 })
  await shot('exports-phone')
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0)
  await rows().first().getByRole('button', { name: 'Remove' }).click()
  await until(page, 'one is left', async () => (await rows().count()) === 1)
  await rows().getByRole('link', { name: 'Watch' }).click()
  await until(page, 'the instant', () => Promise.resolve(new RegExp(`#watch/${ids.gate}\\?t=`).test(page.url())))
})
