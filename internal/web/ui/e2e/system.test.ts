// The page System as a person uses it: how the recorder is, each of its parts, what was changed and taken back, and the sealed file.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { barriers, until } from './screen'

let rig: Rig
let page: Page
let gate = ''
const password = 'Lantern-Harbour-42'
const phrase = 'Quiet-Orchard-77'
const shots = process.env.VIGIL_SHOTS

beforeAll(async () => {
  rig = await Rig.start()
  page = await rig.page()
  await rig.claim(page, 'amy', password)
  gate = rig.addCamera('Gate 門口', '/clock')
  await api('PUT', '/settings', { version: await version(), settingUp: false })
  await page.reload()
})
afterAll(async () => {
  if (!rig) return
  expect(rig.sins).toEqual([])
  await rig.close()
})
afterEach(async (c) => {
  if (c.task.result?.state !== 'fail') return
  await shot('failed')
  console.error((await page.locator('body').innerText().catch(() => '')).slice(0, 2500), rig.said().slice(-3000))
})

async function shot(name: string) {
  if (shots) await page.screenshot({ path: join(shots, name + '.png'), fullPage: true })
}

/** Asks the recorder as the page does. */
async function api(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const [status, text] = await page.evaluate(
    async ([method, path, body]) => {
      const r = await fetch('api/v1' + path, { method, headers: body === undefined ? {} : { 'Content-Type': 'application/json' }, body })
      return [r.status, await r.text()] as const
    },
    [method, path, body === undefined ? undefined : JSON.stringify(body)] as const,
  )
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`)
  return text ? JSON.parse(text) : {}
}
const version = async () => (await api('GET', '/settings')).version as number
const days = async () => ((await api('GET', '/settings')).storage as { retentionDays: number }).retentionDays
const camera = () => api('GET', '/cameras/' + gate)

async function open(part: string) {
  await page.goto(rig.address + '#system/' + part)
  await page.locator('main h1').waitFor()
  await page.locator('main h2').nth(1).waitFor() // that of the part, under the dashboard
}

async function speak(language: 'English' | '中文') {
  const button = page.getByRole('banner').getByRole('button', { name: language, exact: true })
  if (await button.count()) await button.click()
}

test('is it recording, how long does it last, is anything wrong', async () => {
  await open('')
  const board = page.getByRole('region', { name: 'The recorder now' })
  await board.getByText('● 1 of 1 cameras are recording').waitFor({ timeout: 30_000 })
  await board.getByText(/about [\d.]+ days fit/).waitFor({ timeout: 30_000 })
  expect(await board.innerText()).toMatch(/state\/video\s+[\d.]+ [GT]B, [\d.]+ [GT]B used, healthy/)
  expect(await page.getByRole('navigation', { name: 'Parts of System' }).getByRole('link').allInnerTexts())
    .toEqual(['Recording', 'Disks', 'People', 'Language and time', 'Certificate', 'Changes', 'Log', 'About'])
  await shot('dashboard')
})

test('a trouble stands on the dashboard with the way to what helps', async () => {
  await rig.restartCamera(async () => {
    const line = page.locator('[data-alert^="camera-"]').first()
    await line.waitFor({ timeout: 60_000 })
    expect(await line.innerText()).toMatch(/Gate 門口.*since \d{4}-\d\d-\d\d/s)
    await shot('trouble')
    await line.getByRole('link', { name: /mend/ }).click()
    await page.getByRole('heading', { name: /Gate 門口/ }).waitFor()
  })
  await open('')
  await page.locator('[data-alert^="camera-"]').waitFor({ state: 'detached', timeout: 60_000 })
})

test('retention is changed, stands among the changes, is undone and done again', async () => {
  await open('recording')
  const save = page.getByRole('button', { name: 'Save' })
  expect(await save.isDisabled()).toBe(true)
  await page.getByRole('slider').focus()
  await page.keyboard.press('ArrowRight')
  await save.click()
  await page.getByRole('status').getByText('Saved.').waitFor()
  expect(await days()).toBe(45)
  await open('changes')
  const first = page.locator('[data-change]').first()
  await first.getByText('footage is kept: 30 days → 45 days').waitFor()
  expect(await first.innerText()).toContain('amy')
  await shot('changes')
  await first.getByRole('button', { name: /^Undo/ }).click()
  await page.getByRole('status').getByText('Undone.').waitFor()
  expect(await days()).toBe(30)
  await page.locator('[data-change]').first().getByText('took a change back').waitFor()
  expect(await page.locator('[data-change]').nth(1).innerText()).toContain('undone')
  await page.locator('.toast').getByRole('button', { name: 'Redo' }).click()
  await page.getByRole('status').getByText('Done again.').waitFor()
  expect(await days()).toBe(45)
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click()
  await page.getByRole('status').getByText('Undone.').waitFor()
  expect(await days()).toBe(30)
})

test('an undo that something else stands in the way of names it', async () => {
  const change = async (n: number) => api('PUT', '/settings', { version: await version(), storage: { ...((await api('GET', '/settings')).storage as object), retentionDays: n } })
  const mine = (await change(60)).version as number
  await change(90)
  await open('changes')
  await page.locator(`[data-change="${mine}"]`).getByRole('button', { name: /^Undo/ }).click()
  await page.getByRole('alert').getByText('It was changed again since: footage is kept').waitFor()
  expect(await page.getByRole('alert').innerText()).toContain('90 days')
  expect(await barriers(page)).toEqual([])
  await speak('中文')
  await page.locator(`[data-change="${mine}"]`).getByText('錄影保留：').waitFor()
  await page.locator(`[data-change="${mine}"]`).getByRole('button', { name: /^復原/ }).click()
  await page.getByRole('alert').getByText('之後又變更過：錄影保留').waitFor()
  await shot('undo-refused-zh')
  await speak('English')
  await page.locator('.toast').getByRole('button', { name: 'Close' }).click()
})

test('two tabs: what one changes the other shows', async () => {
  await open('changes')
  const other = await page.context().newPage()
  await other.goto(rig.address + '#system/recording')
  await other.getByRole('slider').focus()
  await other.keyboard.press('ArrowLeft')
  await other.getByRole('button', { name: 'Save' }).click()
  await other.getByRole('status').getByText('Saved.').waitFor()
  await page.locator('[data-change]').first().getByText('footage is kept: 90 days → 60 days').waitFor()
  await page.locator('[data-change]').first().getByRole('button', { name: /^Undo/ }).click()
  await other.getByText('90 days', { exact: true }).first().waitFor() // the form follows
  await other.close()
})

test('a camera that was removed comes back with its footage and records', async () => {
  const before = await camera()
  await page.goto(rig.address + '#cameras')
  await page.getByRole('button', { name: 'Remove', exact: true }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Remove', exact: true }).click()
  await page.getByRole('status').getByText('“Gate 門口” was removed.').waitFor()
  expect((await camera()).removed).toBe(true)
  await shot('removed')
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click()
  await page.getByRole('status').getByText('Undone.').waitFor()
  const after = await camera()
  expect(after.removed).toBe(false)
  expect(after.hasPassword).toBe(true)
  expect((after.streams as { id: string }[])[0]!.id).toBe((before.streams as { id: string }[])[0]!.id)
  expect(after.oldest).toBe(before.oldest)
  await until(page, 'recording again', async () => ((await camera()).recording as { now: boolean }).now, 40_000)
})

test('a removal is made final at once: it asks once, and then there is no undo', async () => {
  const shed = (await api('POST', '/cameras', { name: 'Shed', link: 'plain', recording: false, user: 'viewer', password: 'shed-Pass-1', streams: [{ kind: 'main', url: 'rtsp://127.0.0.1:1/shed' }] })) as { id: string }
  await api('DELETE', '/cameras/' + shed.id)
  await open('changes')
  const removal = page.locator('[data-change]').filter({ hasText: 'Shed: camera removed' })
  await removal.getByRole('button', { name: /^Undo/ }).waitFor()
  expect(await page.locator('[data-change]').filter({ hasText: 'Shed: camera added' }).getByRole('button', { name: /^Forget now/ }).count()).toBe(0)
  await removal.getByRole('button', { name: /^Forget now/ }).click()
  await page.getByRole('heading', { name: 'Forget what opened Shed?' }).waitFor()
  expect(await barriers(page)).toEqual([])
  await shot('forget')
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
  await removal.getByRole('button', { name: /^Undo/ }).waitFor()
  await removal.getByRole('button', { name: /^Forget now/ }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Forget now' }).click()
  await removal.getByText('can no longer be undone').waitFor()
  expect(await removal.getByRole('button').count()).toBe(0)
})

test('the settings go into a sealed file and come back from it', async () => {
  await open('changes')
  await page.getByRole('button', { name: 'Save as a sealed file' }).click()
  await page.getByLabel('Passphrase of the file').fill(phrase)
  await page.getByLabel('The same again').fill(phrase)
  await page.getByLabel('Your own password, once more').fill('not-mine')
  const submit = page.locator('form').getByRole('button', { name: 'Save as a sealed file' })
  await submit.click()
  await page.getByRole('alert').getByText('Your password is wrong').waitFor()
  await page.getByLabel('Your own password, once more').fill(password)
  await shot('export-form')
  const [download] = await Promise.all([page.waitForEvent('download'), submit.click()])
  expect(download.suggestedFilename()).toMatch(/^vigil-settings-\d{8}-\d{4}\.vigil$/)
  const path = (await download.path())!
  const bytes = readFileSync(path)
  expect(bytes.subarray(0, 8).toString()).toBe('VIGILSET')
  expect(bytes.includes('camera-Pass-1')).toBe(false)

  const kept = await days()
  await api('PUT', '/settings', { version: await version(), storage: { ...((await api('GET', '/settings')).storage as object), retentionDays: 7 } })
  await api('DELETE', '/cameras/' + gate)
  await page.getByRole('button', { name: 'Bring back from a file' }).click()
  await page.getByLabel('File', { exact: true }).setInputFiles({ name: 'other.vigil', mimeType: 'application/octet-stream', buffer: Buffer.from('something else') })
  await page.getByLabel('Passphrase that was chosen then').fill(phrase)
  await page.getByRole('button', { name: 'Show what it would change' }).click()
  await page.getByRole('alert').getByText('This is not a file of settings').waitFor()
  await page.getByLabel('File', { exact: true }).setInputFiles(path)
  await page.getByLabel('Passphrase that was chosen then').fill('Another-Thing-9')
  await page.getByRole('button', { name: 'Show what it would change' }).click()
  await page.getByRole('alert').getByText('The passphrase is wrong').waitFor()
  await page.getByLabel('Passphrase that was chosen then').fill(phrase)
  await page.getByRole('button', { name: 'Show what it would change' }).click()
  await page.getByText(`footage is kept: 7 days → ${kept} days`).last().waitFor()
  await page.locator('form').getByText('camera brought back').waitFor()
  expect(await days()).toBe(7)
  expect(await barriers(page)).toEqual([])
  await shot('import-diff')
  await page.getByRole('button', { name: 'Change it' }).click()
  await page.getByText('The settings of the file are here.').waitFor()
  expect(await days()).toBe(kept)
  expect((await camera()).removed).toBe(false)
  await until(page, 'recording again', async () => ((await camera()).recording as { now: boolean }).now, 40_000)
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click()
  await page.getByRole('status').getByText('Undone.').waitFor()
  expect(await days()).toBe(7)
  await page.locator('.toast').getByRole('button', { name: 'Redo' }).click()
  await page.getByRole('status').getByText('Done again.').waitFor()
  expect((await camera()).removed).toBe(false)
})

test('a camera is kept for a time of its own, and a change of its name leaves that', async () => {
  await page.goto(rig.address + '#cameras/' + gate)
  await page.locator('[name=own-retention]').check()
  await page.locator('[name=retention]').fill('9')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByRole('status').getByText('Saved.').waitFor()
  expect((await camera()).retentionDays).toBe(9)
  await open('recording') // where the days of all are chosen, it is counted with its own
  await page.getByText('Cameras that are kept for a time of their own: 1.').waitFor()
  await page.goto(rig.address + '#cameras/' + gate)
  await page.locator('[name=camera-name]').fill('Gate')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByRole('status').getByText('Saved.').waitFor()
  expect(await camera()).toMatchObject({ name: 'Gate', retentionDays: 9, retentionOwn: true })
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click()
  await page.getByRole('status').getByText('Undone.').waitFor()
  expect(await camera()).toMatchObject({ name: 'Gate 門口', retentionDays: 9 })
})

test('disks: what is kept free is changed, and what contradicts is said at its field', async () => {
  await open('disks')
  await page.locator('[name=low-percent]').fill('3')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('alert').getByText('Alert when less is free than').waitFor()
  await page.locator('[name=low-percent]').fill('9')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('status').getByText('Saved.').waitFor()
  const s = (await api('GET', '/settings')).storage as { lowSpacePercent: number; reserveBytes: number }
  expect(s.lowSpacePercent).toBe(9)
  expect(s.reserveBytes).toBe(2 * 1024 ** 3) // what was not touched keeps its odd bytes
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click()
  await page.getByRole('status').getByText('Undone.').waitFor()
  await until(page, 'the form to follow', async () => (await page.locator('[name=low-percent]').inputValue()) === '8')
})

test('the certificate is the one of the connection, and can be taken along', async () => {
  await open('certificate')
  expect(await page.locator('[data-fingerprint]').getAttribute('data-fingerprint')).toBe(rig.fingerprint)
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download the certificate' }).click()])
  expect(readFileSync((await download.path())!, 'utf8')).toMatch(/^-----BEGIN CERTIFICATE-----/)
})

test('the zone is changed and undone; the clock is told, not set', async () => {
  await open('language')
  await page.locator('[name=zone]').selectOption('UTC')
  await page.getByRole('status').getByText('Saved.').waitFor()
  await page.getByText('Vigil does not set the clock').waitFor()
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click()
  await until(page, 'the zone of before', async () => (await page.locator('[name=zone]').inputValue()) === 'Asia/Taipei')
})

test('one\'s own password is changed, and the session goes on', async () => {
  await open('people')
  await page.getByRole('button', { name: 'Change my password' }).click()
  await page.getByLabel('Present password').fill(password)
  await page.getByLabel('New password').fill('Harbour-Lantern-43')
  await page.getByLabel('The same again').fill('Harbour-Lantern-43')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('Your password is changed.').waitFor()
  await page.getByText('last sign-in').waitFor()
})

test('no barrier: each part in both languages, light and dark, desk and phone; none speaks the other language', async () => {
  const said: Record<string, Record<string, string>> = { English: {}, 中文: {} }
  for (const [language, scheme, width] of [['English', 'light', 1280], ['中文', 'dark', 360], ['中文', 'light', 360], ['English', 'dark', 360], ['中文', 'dark', 1280]] as const) {
    await speak(language)
    await page.emulateMedia({ colorScheme: scheme })
    await page.setViewportSize({ width, height: 760 })
    for (const part of ['recording', 'disks', 'people', 'language', 'certificate', 'changes', 'log', 'about']) {
      await open(part)
      await until(page, 'the part', async () => (await page.locator('main').getByText(/^(Loading…|載入中…)$/).count()) === 0)
      const folded = page.locator('main button[aria-expanded=false]')
      if (await folded.count()) await folded.first().click()
      for (const summary of await page.locator('main summary').all()) await summary.click()
      expect(await barriers(page), `${part} ${language} ${scheme} ${width}`).toEqual([])
      said[language]![part] = await page.locator('main h2').last().innerText()
      await shot(`system-${language === 'English' ? 'en' : 'zh'}-${scheme}-${width}-${part}`)
    }
  }
  for (const [part, words] of Object.entries(said.English!)) {
    expect(words, part).not.toMatch(/[\u4e00-\u9fff]/)
    if (part !== 'about') expect(said['中文']![part], part).toMatch(/[\u4e00-\u9fff]/)
  }
}, 300_000)
