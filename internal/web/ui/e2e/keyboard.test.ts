// Set-up by the keyboard alone, from the one-time code to "Recording.": whatever is used is reached with Tab, is to be seen when it has
// the focus, and nothing keeps the focus or loses it.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { diskFolder, Rig } from './rig'
import { apart, clock, until } from './screen'

let rig: Rig
let page: Page
const disk = diskFolder()
const shots = process.env.VIGIL_SHOTS

beforeAll(async () => {
  rig = await Rig.start()
  page = await rig.page()
  await page.goto(rig.address)
  await page.getByLabel('One-time code').waitFor()
})
afterAll(async () => {
  await rig?.close()
  rmSync(disk, { recursive: true, force: true })
})
afterEach(async (c) => {
  expect(rig.sins).toEqual([])
  if (c.task.result?.state !== 'fail') return
  if (shots) await page.screenshot({ path: join(shots, 'keyboard-failed.png'), fullPage: true })
  console.error(walked.slice(-12).join('\n'), (await page.locator('body').innerText().catch(() => '')).slice(0, 1500), rig.said().slice(-1500))
})

/** What has the focus: what it is, its name, and whether somebody who looks at the page sees that. */
async function focus() {
  const all = await page.locator(':focus').ariaSnapshot().catch(() => '')
  const [, role = '', name = ''] = /^- '?(\w+)(?: "((?:[^"\\]|\\.)*)")?/.exec(all) ?? []
  const seen = await page.evaluate(() => {
    const e = document.activeElement
    if (!e || e === document.body) return 'nothing has the focus'
    const s = getComputedStyle(e)
    const b = e.getBoundingClientRect()
    if (e.matches('h2, li, section')) return '' // where one reads on
    if (s.outlineStyle === 'none' || parseFloat(s.outlineWidth) < 1) return 'its focus is not drawn'
    if (b.bottom <= 0 || b.top >= innerHeight || b.width < 1) return 'it is out of sight'
    const over = document.elementFromPoint(Math.min(Math.max(b.x + b.width / 2, 1), innerWidth - 1), Math.min(Math.max(b.y + b.height / 2, 1), innerHeight - 1))
    return over && (e.contains(over) || over.contains(e)) ? '' : 'it is covered'
  })
  return { role, name, seen }
}

const walked: string[] = []

/** Tab, until something has the focus; each stop on the way must be visible. */
async function tabTo(role: string, name: RegExp | string, key: 'Tab' | 'Shift+Tab' = 'Tab') {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press(key)
    const f = await focus()
    walked.push(`${f.role} ${f.name} ${f.seen}`)
    if (f.seen === 'nothing has the focus') continue // from the last to the first, around the browser's own
    expect(f.seen, `${f.role} ${f.name}`).toBe('')
    if (f.role === role && (typeof name === 'string' ? f.name === name : name.test(f.name))) return
  }
  throw new Error(`Tab does not come to ${role} ${name}:\n${walked.slice(-61).join('\n')}`)
}

async function type(role: string, name: RegExp | string, text: string) {
  await tabTo(role, name)
  await page.keyboard.type(text)
}

const inStep = (n: number) => page.evaluate((n) => document.activeElement?.closest('[data-step]')?.getAttribute('data-step') === String(n - 1), n)

test('the code and the account', async () => {
  await type('textbox', 'One-time code', rig.code)
  await type('textbox', 'Name of the administrator', 'amy')
  await type('textbox', 'New password', 'Lantern-Harbour-42')
  await type('textbox', 'The same again', 'Lantern-Harbour-42')
  await tabTo('textbox', 'New password', 'Shift+Tab') // and back
  await tabTo('button', 'Create the administrator')
  await page.keyboard.press('Enter')
  await until(page, 'the focus at the next question', () => inStep(3))
})

test('a folder of one\'s own', async () => {
  await tabTo('radio', /.*/)
  for (let i = 0; i < 12 && !/Another folder/.test((await focus()).name); i++) await page.keyboard.press('ArrowDown')
  expect((await focus()).name).toBe('Another folder')
  await type('textbox', 'Path of the folder', join(disk, 'footage'))
  await tabTo('button', 'Check')
  await page.keyboard.press(' ')
  await page.locator('.good', { hasText: 'will be made' }).waitFor()
  expect((await focus()).name, 'after the check').toBe('Check')
  await tabTo('button', 'Record here')
  await page.keyboard.press('Enter')
  await page.getByLabel('Addresses of the cameras').waitFor({ timeout: 60_000 })
  await until(page, 'the focus at the next question', () => inStep(4))
})

test('cameras: tested, a wrong password put right, a line left out; a dialog that gives the focus back', async () => {
  await type('textbox', 'Addresses of the cameras', `Door ${rig.rtsp}/clock`)
  await page.keyboard.press('Enter')
  await page.keyboard.type('Attic rtsp://127.0.0.1:1/none')
  await type('textbox', 'User for all of them', 'demo')
  await type('textbox', 'Password for all of them', 'wrong')
  await tabTo('button', 'Test 2 cameras')
  await page.keyboard.press('Enter')
  const row = (name: string) => page.locator('.rows > li', { hasText: name })
  await row('Door').locator('.bad', { hasText: /refuses the user/ }).waitFor({ timeout: 40_000 })
  await row('Attic').locator('.bad').waitFor({ timeout: 40_000 })
  await until(page, 'the focus where it was', async () => /^Test/.test((await focus()).name))
  await tabTo('button', 'Try another user or password')
  await page.keyboard.press('Enter')
  await until(page, 'the focus in the password', async () => (await focus()).name === 'Password of Door')
  await page.keyboard.type('camera-Pass-1')
  await page.keyboard.press('Enter')
  await row('Door').locator('.good', { hasText: 'H264' }).waitFor({ timeout: 40_000 })
  await until(page, 'the focus in its line', () => page.evaluate(() => !!document.activeElement?.closest('.rows > li')))
  await tabTo('button', 'Leave Attic out')
  await page.keyboard.press(' ')
  await row('Attic').waitFor({ state: 'detached' })
  expect((await focus()).seen).toBe('')

  await tabTo('button', 'Add a demo camera', 'Shift+Tab')
  await page.keyboard.press('Enter')
  await until(page, 'the demo camera, and the focus on its button', async () => (await focus()).name === 'Remove the demo camera')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog').waitFor()
  for (const end of ['Escape', 'Cancel']) {
    if (end === 'Escape') await page.keyboard.press('Escape')
    else {
      await page.keyboard.press('Enter')
      await tabTo('button', 'Cancel')
      await page.keyboard.press('Enter')
    }
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
    expect((await focus()).name, end).toBe('Remove the demo camera')
  }
  await page.keyboard.press('Enter')
  await tabTo('button', 'Remove')
  await page.keyboard.press('Enter')
  await until(page, 'the focus on the button', async () => (await focus()).name === 'Add a demo camera')
})

test('what is done is opened and folded; how long; recording', async () => {
  await tabTo('button', /2 You/, 'Shift+Tab')
  await page.keyboard.press('Enter')
  expect(await page.locator(':focus').getAttribute('aria-expanded')).toBe('true')
  await tabTo('combobox', /Time zone/)
  await tabTo('button', /2 You/, 'Shift+Tab')
  await page.keyboard.press(' ')
  expect(await page.locator(':focus').getAttribute('aria-expanded')).toBe('false')
  await tabTo('checkbox', /Unencrypted link/)
  await page.keyboard.press(' ')
  await tabTo('slider', 'Days to keep')
  await page.keyboard.press('ArrowLeft')
  expect(await page.locator(':focus').getAttribute('aria-valuetext')).not.toBe('30 days')
  await tabTo('button', 'Start recording')
  await page.keyboard.press('Enter')
  await page.locator('.started').getByText('Recording.').waitFor({ timeout: 40_000 })
  await until(page, 'the focus on what was reached', async () => (await focus()).seen === '')
  await until(page, 'live pictures', async () => apart((await clock(page)).shown, Date.now()) < 3000)
  // And on from there.
  await tabTo('button', 'Show Door large')
  await page.keyboard.press('Enter')
  await until(page, 'the focus on the way back', async () => (await focus()).name === 'All')
  await page.keyboard.press('Escape')
  await until(page, 'the focus on the tile', async () => (await focus()).name === 'Show Door large')
})
