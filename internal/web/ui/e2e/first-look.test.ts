// From an empty machine to pictures on the screen, as a person does it; the clock in the picture says which instant is shown.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Rig } from './rig'
import { apart, clock as readScreen, clockIn, loudness, until as waitFor } from './screen'

let rig: Rig
let page: Page
let recordedSince = 0
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

const clock = () => readScreen(page)
const until = (what: string, check: () => Promise<boolean>, ms?: number) => waitFor(page, what, check, ms)

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
  await page.getByRole('button', { name: 'Record here' }).click()
  await page.getByRole('button', { name: 'Add cameras later' }).click()
  await page.getByRole('link', { name: 'Add cameras' }).click()
  await page.getByRole('link', { name: 'Add one with all its settings' }).click()
  await page.getByRole('heading', { name: 'Add a camera' }).waitFor()
})

test('a wrong password of the camera is said, then the stream test passes', async () => {
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
  recordedSince = Date.now()
  await until('a live picture', async () => apart((await clock()).shown, Date.now()) < 3000)
  const { shown, claimed } = await clock()
  expect(apart(shown, claimed)).toBeLessThan(700)
  await shot('live')
})

test('stored: any instant shows the picture of that instant', async () => {
  await until('footage to go back in twice', async () => Date.now() - recordedSince > 25_000)
  await page.getByRole('button', { name: '10 seconds back' }).click()
  await until('stored footage', async () => {
    const c = await clock()
    return apart(c.shown, c.claimed) < 700 && apart(c.shown, Date.now()) > 7000
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
  await until('ten seconds earlier', async () => {
    const c = await clock()
    return apart(c.shown, c.claimed) < 700 && apart(c.claimed, before) > 2000
  })
  await shot('timeline')
})

test('an instant that is not stored yet is shown once it is', async () => {
  const then = Date.now()
  await page.goto(page.url().split('?')[0] + `?t=${then}`)
  await until('its picture', async () => {
    const c = await clock()
    return (c.claimed - (then % 60_000) + 60_500) % 60_000 < 10_000 && apart(c.shown, c.claimed) < 700
  })
})

test('the picture of the instant under the pointer', async () => {
  const line = page.getByRole('slider')
  const box = (await line.boundingBox())!
  const [from, to] = [Number(await line.getAttribute('aria-valuemin')), Number(await line.getAttribute('aria-valuemax'))]
  for (const back of [12_000, 18_000]) {
    const wanted = Date.now() - back
    await page.mouse.move(box.x + ((wanted - from) / (to - from)) * box.width, box.y + 45)
    // The key picture before it, on the grid of what a pixel stands for.
    await until('its picture', async () => {
      const early = (((wanted % 60_000) - (await clockIn(page, '.hint img'))! + 60_000) % 60_000)
      return early >= 0 && early < 2500 + (4 * (to - from)) / box.width
    })
  }
  await shot('thumbnail')
  await page.mouse.move(box.x + 5, box.y - 200)
  await page.locator('.hint').waitFor({ state: 'detached' })
})

test('export: an ordinary MP4 of the range', async () => {
  await page.getByRole('button', { name: 'Live', exact: true }).click()
  await page.getByRole('button', { name: 'Export…' }).click()
  const to = Date.now() - 3000
  const field = (ms: number) => new Date(ms + offsetMinutes * 60_000).toISOString().slice(0, 19)
  const zone = (await page.locator('.day .zone').innerText()).trim()
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

test('a coding that the browser does not know is converted, live and stored, and never black', async () => {
  for (const [name, path] of [['Yard', '/h265'], ['Attic', '/mjpeg']] as const) {
    const id = rig.addCamera(name, path)
    await page.goto(rig.address + '#watch/' + id)
    await page.reload()
    await until(`a live picture of ${name}`, async () => apart((await clock()).shown, Date.now()) < 3000, 40_000)
    await page.getByText('converted', { exact: true }).waitFor()
    const then = Date.now()
    await until('some footage', () => Promise.resolve(Date.now() - then > 4000))
    await page.goto(rig.address + `#watch/${id}?t=${then}`)
    await until(`a stored picture of ${name}`, async () => {
      const { shown, claimed } = await clock()
      return Date.now() - claimed > 2000 && apart(shown, claimed) < 400
    }, 40_000)
    await shot('converted-' + name)
  }
})

test('sound that no browser plays is converted when it is to be heard', async () => {
  const id = rig.addCamera('Shop', '/g711', undefined, '--audio')
  await page.goto(rig.address + '#watch/' + id)
  await page.reload()
  await until('a live picture', async () => apart((await clock()).shown, Date.now()) < 3000, 40_000)
  expect(await page.getByText('converted', { exact: true }).count()).toBe(0)
  await page.getByRole('button', { name: 'Sound' }).click()
  await page.getByText('converted', { exact: true }).waitFor()
  await until('a live picture with sound', async () => apart((await clock()).shown, Date.now()) < 3000, 40_000)
  await until('sound', async () => (await loudness(page)) > 0.05)
})

test('a third viewer of what has to be converted gets single pictures and the reason, and the video when another one ends', async () => {
  const other = await page.context().newPage()
  await other.goto(rig.address)
  const [yard, attic, shop] = await other.evaluate(async () => {
    const { cameras } = (await (await fetch('api/v1/cameras')).json()) as { cameras: { id: string; name: string; streams: { id: string }[] }[] }
    return ['Yard', 'Attic', 'Shop'].map((name) => cameras.find((c) => c.name === name)!)
  })
  const then = Date.now() - 5000
  await page.goto(rig.address + '#exports') // nothing is watched here
  const watch = (stream: string) => other.evaluate(async (stream) => {
    const r = await fetch(`api/v1/streams/${stream}/live.mp4?recode=true`)
    if (r.ok) void r.body!.pipeTo(new WritableStream()).catch(() => {})
    return r.status
  }, stream)
  for (const n of ['first', 'second']) await until(`the ${n} viewer`, async () => (await watch(yard!.streams[0]!.id)) === 200, 20_000)
  expect(await watch(yard!.streams[0]!.id)).toBe(503)
  const still = `[data-screen="${attic!.id}"] img`
  await page.goto(rig.address + '#watch/' + attic!.id)
  await page.getByText('Too many streams are converted').waitFor()
  await page.getByText('Meanwhile single pictures are shown').waitFor()
  await until('a picture of now', async () => (await page.locator(still).count()) === 1 && apart((await clockIn(page, still))!, Date.now()) < 6000, 30_000)
  await shot('third-viewer')
  await page.goto(rig.address + `#watch/${attic!.id}?t=${then}`)
  await until('the picture of that instant', async () => (await page.locator(still).count()) === 1 && apart((await clockIn(page, still))!, then) < 1500, 30_000)

  // What the browser plays goes on, without the sound that would have to be converted.
  await page.goto(rig.address + '#watch/' + shop!.id)
  await until('a live picture', async () => apart((await clock()).shown, Date.now()) < 3000, 40_000)
  if ((await page.getByRole('button', { name: 'Sound' }).getAttribute('aria-pressed')) !== 'true') await page.getByRole('button', { name: 'Sound' }).click()
  await page.getByText(/^No sound: /).waitFor()
  await until('a live picture still', async () => apart((await clock()).shown, Date.now()) < 3000, 40_000)

  await page.goto(rig.address + '#live')
  await page.getByRole('button', { name: 'Show Attic large' }).click()
  await page.getByText(/Too many streams are converted.* · one picture a second/).waitFor()
  await page.goto(rig.address + '#watch/' + attic!.id)
  await page.getByText('Meanwhile single pictures are shown').waitFor()
  await other.close()
  await until('the video', async () => (await page.locator(still).count()) === 0 && apart((await clock()).shown, Date.now()) < 3000, 40_000)
})

test('a restart of the recorder under the page: pictures come back by themselves', async () => {
  await page.getByLabel('Camera', { exact: true }).selectOption('Gate 門口')
  await until('a live picture', async () => apart((await clock()).shown, Date.now()) < 3000)
  await rig.restart('SIGKILL')
  await until('a live picture after the restart', async () => apart((await clock()).shown, Date.now()) < 3000, 45_000)
})
