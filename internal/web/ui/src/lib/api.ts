// The one place that talks to the recorder. Every call returns success, aborted or error; nothing throws.

import type { components, operations, paths } from './schema.gen'

export type Schemas = components['schemas']
export type Camera = Schemas['Camera']
export type Stream = Schemas['Stream']
export type Alert = Schemas['Alert']
export type Problem = Schemas['Problem']
export type Layout = Schemas['Layout']
export type Timeline = Schemas['Timeline']
export type Cause = Schemas['Cause']
export type Mark = Schemas['Mark']
export type Export = Schemas['Export']
export type Session = Schemas['Session']
export type Setup = Schemas['Setup']
export type Probe = Schemas['Probe']
export type CameraInput = Schemas['CameraInput']
export type ProbeInput = Schemas['ProbeInput']
export type PasswordRules = Schemas['PasswordRules']
export type Status = Schemas['Status']
export type Storage = Schemas['Storage']
export type Place = Schemas['Place']
export type AuditRecord = Schemas['AuditRecord']
export type Settings = Schemas['Settings']
export type Change = Schemas['Change']
export type Edit = Schemas['Edit']

export type Result<T> = { kind: 'ok'; data: T } | { kind: 'aborted' } | { kind: 'error'; problem: Problem }

type Method = 'get' | 'post' | 'put' | 'delete'
type Operation<P extends keyof paths, M extends Method> = paths[P][M]
type JSONOf<R> = R extends { content: { 'application/json': infer T } } ? T : undefined
type Success<O> = O extends { responses: infer R }
  ? JSONOf<R[Extract<keyof R, 200 | 201 | 202>]> extends infer T ? ([T] extends [never] ? undefined : T) : never
  : never
type Body<O> = O extends { requestBody: { content: { 'application/json': infer T } } } ? T : never
export type Operations = operations

export const base = 'api/v1'

let language = 'en'
let signedOut = () => {}

/** The language of texts that the recorder makes, and what to do when the session has ended. */
export function configure(locale: string, onSignedOut: () => void): void {
  language = locale
  signedOut = onSignedOut
}

export function headers(): Record<string, string> {
  return { 'Accept-Language': language }
}

interface Options {
  params?: Record<string, string>
  query?: Record<string, string | number | boolean | undefined>
  body?: unknown
  signal?: AbortSignal
}

export function url(path: string, params: Record<string, string> = {}, query: Options['query'] = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ''))
  const q = new URLSearchParams()
  for (const [k, v] of Object.entries(query ?? {})) if (v !== undefined) q.set(k, String(v))
  return base + filled + (q.size ? '?' + q : '')
}

/** Calls one operation of the OpenAPI document; the types of its body and its answer follow from method and path. */
export async function call<P extends keyof paths & string, M extends Method>(
  method: M,
  path: P,
  options: Omit<Options, 'body'> & ([Body<Operation<P, M>>] extends [never] ? { body?: undefined } : { body: Body<Operation<P, M>> }) = {} as never,
): Promise<Result<Success<Operation<P, M>>>> {
  let response: Response
  try {
    response = await fetch(url(path, options.params, options.query), {
      method: method.toUpperCase(),
      headers: options.body === undefined ? headers() : { ...headers(), 'Content-Type': 'application/json' },
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
    })
    if (!response.ok) return { kind: 'error', problem: await problemOf(response) }
    const text = await response.text()
    return { kind: 'ok', data: (text ? JSON.parse(text) : undefined) as Success<Operation<P, M>> }
  } catch (e) {
    if (options.signal?.aborted) return { kind: 'aborted' }
    return { kind: 'error', problem: unreachable(e) }
  }
}

function unreachable(e: unknown): Problem {
  return { type: 'about:blank', title: '', detail: e instanceof Error ? e.message : undefined, status: 0, code: 'unreachable' }
}

/** Reads the problem that an answer carries, and notes the end of the session. */
export async function problemOf(response: Response): Promise<Problem> {
  let problem: Problem = { type: 'about:blank', title: response.statusText, status: response.status, code: 'unknown' }
  try {
    problem = (await response.json()) as Problem
  } catch {
    // not from the recorder itself; the status has to do
  }
  if (problem.code === 'signed-out') signedOut()
  return problem
}

/** The stored picture of an instant, so many pixels wide, and when it was taken; undefined where nothing was recorded. Throws the problem. */
export async function picture(stream: string, at: number, width: number, signal: AbortSignal): Promise<{ blob: Blob; at: number } | undefined> {
  const r = await fetch(url('/streams/{stream}/picture.jpg', { stream }, { at: Math.floor(at), width }), { headers: headers(), signal })
  if (r.status === 204) return undefined
  if (!r.ok) throw await problemOf(r)
  return { blob: await r.blob(), at: Number(r.headers.get('Vigil-At')) || at }
}

/** The sealed file of the settings, and the name it is to have. */
export async function settingsFile(body: Schemas['SettingsExport']): Promise<Result<{ name: string; file: Blob }>> {
  try {
    const r = await fetch(url('/settings/export'), { method: 'POST', headers: { ...headers(), 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
    if (!r.ok) return { kind: 'error', problem: await problemOf(r) }
    const name = /filename="([^"]+)"/.exec(r.headers.get('Content-Disposition') ?? '')?.[1] ?? 'settings.vigil'
    return { kind: 'ok', data: { name, file: await r.blob() } }
  } catch (e) {
    return { kind: 'error', problem: unreachable(e) }
  }
}
