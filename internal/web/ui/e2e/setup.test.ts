// Set-up, from an empty state folder to recording: nothing edited, everything on one page.

import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { diskFolder, Rig } from './rig'
import { apart, barriers, clock, until as waitFor } from './screen'

let rig: Rig
let page: Page
let shop: string // a camera with another password
let vault: string // one with TLS
let began = 0
const disk = diskFolder()
const folder = join(disk, 'footage')
const password = 'Lantern-Harbour-42'
const shots = process.env.VIGIL_SHOTS
const min = (n: number) => n * 60_000

beforeAll(async () => {
  rig = await Rig.start()
  shop = await rig.another('-user', 'demo', '-pass', 'another-Pass-2', '-n', '1')
  vault = await rig.another('-user', 'demo', '-pass', 'camera-Pass-1', '-tls', '-n', '1')
  page = await rig.page()
})
afterAll(async () => {
  await rig?.close()
  rmSync(disk, { recursive: true, force: true })
})
afterEach(async (c) => {
  expect(rig.sins).toEqual([])
  if (c.task.result?.state !== 'fail') return
  await shot('failed')
  console.error((await page.locator('body').innerText().catch(() => '')).slice(0, 2500), rig.said().slice(-3000))
})

async function shot(name: string) {
  if (shots) await page.screenshot({ path: join(shots, `setup-${name}.png`), fullPage: true })
}
const until = (what: string, check: () => Promise<boolean>, ms?: number) => waitFor(page, what, check, ms)
const step = (n: number) => page.locator(`[data-step="${n - 1}"]`)
const row = (name: string) => page.locator('.rows > li', { hasText: name })

/** No barriers, and no scrolling aside: in both languages, dark and light, on the desk and on a phone. */
async function everybody(name: string) {
  for (const width of [1280, 360]) {
    await page.setViewportSize({ width, height: 900 })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      for (const other of ['中文', 'English']) {
        await page.getByRole('button', { name: other }).click()
        await page.waitForTimeout(100) // the texts
        expect(await barriers(page), `${name} ${width} ${colorScheme}`).toEqual([])
        await shot(`${name}-${width}-${colorScheme}-${other === 'English' ? 'en' : 'zh'}`)
      }
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.emulateMedia({ colorScheme: 'light' })
}

test('1 and 2: the code and the administrator', async () => {
  await page.goto(rig.address)
  await page.getByLabel('One-time code').waitFor()
  await everybody('claim')
  began = Date.now()
  await page.getByLabel('One-time code').fill(rig.code)
  await page.getByLabel('Name of the administrator').fill('amy')
  await page.getByLabel('New password').fill(password)
  await page.getByLabel('The same again').fill(password)
  await page.getByRole('button', { name: 'Create the administrator' }).click()
  await step(3).getByRole('radio').first().waitFor()
  expect(await step(1).innerText()).toMatch(/✓[\s\S]*code accepted/)
  expect(await step(2).innerText()).toMatch(/✓[\s\S]*amy, administrator/)
}, min(3))

test('3: a folder that does not do is refused with a remedy, another is taken', async () => {
  await page.getByRole('radio', { name: 'Another folder' }).check()
  const name = page.getByLabel('Path of the folder')
  const others = join(disk, 'letters')
  mkdirSync(others)
  writeFileSync(join(others, 'letter.txt'), 'Dear Amy')
  for (const [folder, why] of [['/tmp/video', /system's own/], ['/dev/shm/video', /in memory/], ['/proc/video', /system's own/], ['video', /whole path/], [others, /Other files/]] as const) {
    await name.fill(folder)
    await page.getByRole('button', { name: 'Check', exact: true }).click()
    await step(3).locator('.bad', { hasText: why }).waitFor()
  }
  await shot('refused')
  await name.fill(folder)
  await page.getByRole('button', { name: 'Check', exact: true }).click()
  await step(3).locator('.good', { hasText: 'will be made' }).waitFor()
  expect(existsSync(folder)).toBe(false)
  await page.getByRole('button', { name: 'Record here' }).click()
  await page.getByLabel('Addresses of the cameras').waitFor({ timeout: 60_000 })
  expect(await step(3).innerText()).toContain(folder)
  expect(readdirSync(folder)).toContain('LABEL')
  expect(existsSync(join(rig.dir, 'state', 'video'))).toBe(false)
}, min(2))

test('a reload in the middle goes on where it was', async () => {
  await page.getByLabel('Addresses of the cameras').fill(`Door ${rig.rtsp}/clock`)
  await page.reload()
  await page.getByLabel('Addresses of the cameras').waitFor()
  expect(await page.getByLabel('Addresses of the cameras').inputValue()).toBe(`Door ${rig.rtsp}/clock`)
  expect(await step(3).innerText()).toContain(folder)
  expect(await page.getByRole('navigation').count()).toBe(0)
})

test('4: cameras pasted, one password for all, each with its own result', async () => {
  await page.getByLabel('Addresses of the cameras').fill(`Door\t${rig.rtsp}/clock\nTill, ${shop}/cam0\nVault ${vault}/cam0\nhttp://192.0.2.1/\n${rig.rtsp}/clock\n`)
  await page.getByLabel('User for all of them').fill('demo')
  await page.getByLabel('Password for all of them').fill('camera-Pass-1')
  await page.getByRole('button', { name: 'Test 3 cameras' }).click()
  await row('Door').locator('.good', { hasText: /H264 640×480 · 25 pictures\/s · \d\.\d Mbit\/s/ }).waitFor({ timeout: 40_000 })
  await row('Door').getByText('This browser plays it').waitFor()
  await row('Door').getByText('Unencrypted link').waitFor()
  await row('Door').locator('img').waitFor()
  await row('Till').locator('.bad', { hasText: /refuses the user/ }).waitFor({ timeout: 40_000 })
  await row('Vault').locator('.mono', { hasText: /^[0-9a-f]{64}$/ }).waitFor({ timeout: 40_000 })
  await page.locator('.rows .bad', { hasText: 'is no address of a stream' }).waitFor()
  await page.locator('.rows .bad', { hasText: 'The same address stands in the line of Door' }).waitFor()

  await row('Vault').getByRole('button', { name: 'It is the same: trust it' }).click()
  await row('Vault').locator('.good', { hasText: 'H264' }).waitFor({ timeout: 40_000 })
  await row('Vault').getByText('Encrypted; exactly the certificate').waitFor()
  await shot('tested')

  // Reasons follow the language, those of the recorder too.
  await page.getByRole('button', { name: '中文' }).click()
  await row('Till').locator('.bad', { hasText: /使用者/ }).waitFor()
  expect(await page.locator('.rows').innerText()).not.toMatch(/refuses the user|is no address|stands in the line/)
  await page.getByRole('button', { name: 'English' }).click()
  await row('Till').locator('.bad', { hasText: /refuses the user/ }).waitFor()
}, min(3))

test('try another password, and leave lines out', async () => {
  await row('Till').getByRole('button', { name: 'Try another user or password' }).click()
  expect(await page.getByLabel('Password of Till').evaluate((e) => e === document.activeElement)).toBe(true)
  await page.keyboard.type('wrong-again')
  await page.keyboard.press('Enter')
  await row('Till').locator('.bad', { hasText: /refuses the user/ }).waitFor({ timeout: 40_000 })
  await page.getByRole('button', { name: 'Leave http://192.0.2.1/ out' }).or(page.getByRole('button', { name: /^Leave 192\.0\.2\.1 out/ })).first().click()
  expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('LI') // the next line, not the top of the page
}, min(2))

test('a demo camera comes with a click, and goes again', async () => {
  await page.getByRole('button', { name: 'Add a demo camera' }).click()
  await step(4).locator('li', { hasText: 'Demo camera' }).first().locator('.good', { hasText: 'Recording' }).waitFor({ timeout: 40_000 })
  await everybody('cameras')
  await page.getByRole('button', { name: 'Remove the demo camera' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Remove', exact: true }).click()
  await step(4).locator('li', { hasText: 'Demo camera' }).first().waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Add a demo camera' }).waitFor()
}, min(4))

test('5: the days that fit follow the slider', async () => {
  const slider = page.getByLabel('Days to keep')
  await slider.focus()
  await until('days that fit', async () => Number(await step(5).locator('[data-fit]').getAttribute('data-fit')) > 0)
  expect(await slider.getAttribute('aria-valuetext')).toBe('30 days')
  for (let i = 0; i < 20; i++) await page.keyboard.press('ArrowRight')
  expect(await slider.getAttribute('aria-valuetext')).toBe('As long as there is space')
  await page.keyboard.press('ArrowLeft')
  expect(await slider.getAttribute('aria-valuetext')).toBe('365 days')
  expect(await step(5).innerText()).toMatch(/365 days[\s\S]*days fit[\s\S]*It needs \d/)
  for (let i = 0; i < 20; i++) await page.keyboard.press('ArrowLeft')
  await page.keyboard.press('ArrowRight')
  expect(await slider.getAttribute('aria-valuetext')).toBe('2 days')
  expect(await page.getByRole('button', { name: 'Start recording' }).isDisabled()).toBe(true) // the unencrypted link is a choice
  await step(5).getByText('your consent to the unencrypted link').waitFor()
  await shot('days')
})

test('recording, how long, encrypted; with the live pictures under it', async () => {
  await page.getByLabel(/Unencrypted link \(1\)/).check()
  await page.getByRole('button', { name: 'Start recording' }).click()
  const said = page.locator('.started')
  await said.getByText('Recording.').waitFor({ timeout: 40_000 })
  await until('what was reached', async () => /Recording\. About [\d.]+ days fit\. Encrypted: yes\./.test((await said.innerText()).replace(/\s+/g, ' ')))
  expect(await page.evaluate(() => scrollY)).toBe(0) // the page is another one, and begins at its top
  await until('all pictures in sight', () => page.evaluate(() => document.documentElement.scrollHeight <= innerHeight))
  await until('live pictures', async () => apart((await clock(page)).shown, Date.now()) < 3000)
  console.log(`from the first key to recording with two cameras: ${((Date.now() - began) / 1000).toFixed(0)} s, with eight looks for barriers in between`)
  await said.getByText('Cameras with an unencrypted link: 1').waitFor()
  await said.getByText('Not all cameras were added').waitFor()
  expect(page.url()).toContain('#live')
  await shot('recording')
  await page.reload()
  await page.getByRole('navigation').waitFor()
  expect(await page.getByText('Start recording').count()).toBe(0)
})

test('later, with the same: what was left is still in its line', async () => {
  await page.getByRole('navigation').getByRole('link', { name: /Cameras/ }).click()
  await page.getByRole('link', { name: 'Add cameras' }).click()
  expect(await page.getByLabel('Addresses of the cameras').inputValue()).toContain('Till')
  await page.getByLabel('Addresses of the cameras').fill(`Till, ${shop}/cam0`)
  await page.getByLabel('User for all of them').fill('demo')
  await page.getByLabel('Password for all of them').fill('another-Pass-2')
  await page.getByRole('button', { name: 'Test 1 camera' }).click()
  await row('Till').locator('.good', { hasText: 'H264' }).waitFor({ timeout: 40_000 })
  await page.getByLabel(/Unencrypted link \(1\)/).check()
  await everybody('add')
  await page.getByRole('button', { name: 'Add 1 camera and record' }).click()
  await page.locator('section', { hasText: 'Till' }).locator('.good', { hasText: 'Recording' }).waitFor({ timeout: 40_000 })
}, min(3))

test('a test can be cancelled, and a host alone is tried encrypted first', async () => {
  const silent = createServer(() => {}) // takes a connection, and never answers
  const port = await new Promise<number>((ok) => silent.listen(0, '127.0.0.1', () => ok((silent.address() as AddressInfo).port)))
  await page.goto(rig.address + '#cameras/add')
  await page.getByLabel('Addresses of the cameras').fill(`Silent rtsp://127.0.0.1:${port}/s`)
  await page.getByRole('button', { name: 'Test 1 camera' }).click()
  await row('Silent').getByText('Testing the stream').waitFor()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await row('Silent').locator('.bad', { hasText: 'The test was cancelled' }).waitFor({ timeout: 2000 })
  silent.close()
  await page.getByLabel('Addresses of the cameras').fill(`Safe ${new URL(vault).host}\nOpen ${new URL(shop).host}`)
  await page.getByLabel('User for all of them').fill('demo')
  await page.getByLabel('Password for all of them').fill('another-Pass-2')
  await page.getByRole('button', { name: 'Test 2 cameras' }).click()
  await row('Safe').locator('.mono', { hasText: /^[0-9a-f]{64}$/ }).waitFor({ timeout: 40_000 })
  expect(await row('Safe').innerText()).toContain(`rtsps://${new URL(vault).host}/`)
  await row('Open').locator('.bad', { hasText: 'Write the path behind its address' }).waitFor({ timeout: 40_000 })
  await shot('bare')
})

test('the demo camera goes on after a restart, and so does the language of the account', async () => {
  await page.getByRole('button', { name: 'Add a demo camera' }).click()
  await page.getByRole('button', { name: 'Remove the demo camera' }).waitFor()
  await rig.restart()
  await page.getByRole('button', { name: '中文' }).click()
  await page.goto(rig.address + '#cameras')
  await page.locator('section', { hasText: 'Demo camera' }).locator('.good', { hasText: '錄影中' }).waitFor({ timeout: 40_000 })
  const other = await rig.page() // another browser, in English
  await other.goto(rig.address)
  await other.getByLabel('Name').fill('amy')
  await other.getByLabel('Password').fill(password)
  await other.getByRole('button', { name: 'Sign in' }).click()
  await other.getByRole('navigation').getByText('攝影機').waitFor()
  await page.getByRole('button', { name: 'English' }).click()
}, min(2))

test('the place is fixed now, and says why', async () => {
  const s = await page.evaluate(async () => (await fetch('api/v1/storage')).json())
  expect(s).toMatchObject({ chosen: true, fixed: { code: 'recorded' }, now: { folder } })
})
