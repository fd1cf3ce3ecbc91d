#!/usr/bin/env node
// The three call modes as their callers are told to use them, with nothing but node's fetch, against `triggerd emulate`: that
// any client gets on with it, and not only the one of this project.
//
//   tests/clients/flows.mjs                          builds target/debug/triggerd first
//   TRIGGERD=/path/to/triggerd tests/clients/flows.mjs    uses that one
//
// Needs node 18 or later, and cargo unless TRIGGERD is set. The last line is `N passed, N failed`; the emulator that was started is
// stopped, also after a failure.

import { deepStrictEqual as equal, ok } from 'node:assert'
import { execFileSync, spawn } from 'node:child_process'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const FOLDER = '6a1c5f6e-0f5b-4d0e-9d7a-3f2b6c1e8a90'
// Far above what a busy machine needs; no flow may hang.
const LONGEST = 30_000
const TRIES = 200

let passed = 0
let failed = 0

async function check (what, flow) {
  try {
    await flow()
    passed += 1
  } catch (error) {
    failed += 1
    console.error(`FAILED: ${what}: ${error.stack}`)
  }
}

// Starts the emulator; its URL once it listens, and how to stop it.
async function start (triggerd) {
  const child = spawn(triggerd, ['emulate', '--listen', '127.0.0.1:0', '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise(resolve => child.once('exit', (code, signal) => resolve(code ?? signal)))
  process.once('exit', () => child.kill('SIGKILL'))
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve)
    child.once('error', reject)
    ended.then(code => reject(new Error(`the emulator ended with ${code}`)))
  })
  return { url: JSON.parse(line).url, stop: () => { child.kill('SIGTERM'); return ended } }
}

function call (url, options) {
  return fetch(url, { signal: AbortSignal.timeout(LONGEST), ...options })
}

function post (url, body, options) {
  return call(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), ...options })
}

// Asynchronous: 202 and a status URI, which answers 200 until it leads to the output by 303.
async function poll (url, body) {
  const started = await post(url, body, { redirect: 'manual' })
  equal(started.status, 202)
  const statusUri = started.headers.get('location')
  ok(statusUri, 'there is a status URI')
  let polls = 0
  for (let tries = 0; tries < TRIES; tries += 1) {
    const status = await call(statusUri, { redirect: 'manual' })
    if (status.status === 303) {
      return { polls, output: await call(status.headers.get('location'), { redirect: 'manual' }) }
    }
    equal(status.status, 200)
    await status.arrayBuffer()
    polls += 1
    await sleep(20)
  }
  throw new Error('the job did not end')
}

async function flows (origin) {
  const url = `${origin}/acme/production/orchestrator_/t/${FOLDER}/hello`

  await check('async polling comes to the output', async () => {
    const { polls, output } = await poll(url, { month: 11, deep: { list: [1, null] }, emulate: { duration: '200ms' } })
    ok(polls >= 1, 'it was asked while it ran')
    equal(output.status, 200)
    ok(output.headers.get('content-type').startsWith('application/json'))
    equal(await output.json(), { month: 11, deep: { list: [1, null] } })
  })

  await check('async polling comes to the fault', async () => {
    const { output } = await poll(url, { $callMode: 'AsyncRequestReply', emulate: { duration: '0s', end: 'fault' } })
    equal(output.status, 400)
    equal((await output.json()).code, 'Faulted')
  })

  await check('fire and forget is over with its answer', async () => {
    const fired = await post(url, { $callMode: 'FireAndForget', month: 11 }, { redirect: 'manual' })
    equal(fired.status, 200)
    equal(await fired.text(), '')
    equal(fired.headers.get('location'), null)
  })

  await check('long polling follows 303 by itself, as GET, to the output', async () => {
    const answer = await post(url, { $callMode: 'LongPolling', month: 11, emulate: { duration: '400ms', hold: '100ms' } }, { redirect: 'follow' })
    equal(answer.status, 200)
    ok(answer.redirected, 'it went over several legs')
    equal(await answer.json(), { month: 11 })
  })

  await check('long polling answers at once what ends in time', async () => {
    const answer = await post(url, { $callMode: 'LongPolling', emulate: { duration: '50ms', output: 42 } }, { redirect: 'error' })
    equal(answer.status, 200)
    equal(await answer.json(), 42)
  })

  await check('long polling comes to the fault', async () => {
    const answer = await post(url, { $callMode: 'LongPolling', emulate: { duration: '0s', end: 'killed', fault_status: 500 } })
    equal(answer.status, 500)
    equal((await answer.json()).code, 'Killed')
  })

  await check('a GET has its arguments in the query', async () => {
    const query = new URLSearchParams({ $callMode: 'LongPolling', name: 'a b&c', emulate: '{"duration":"0s"}' })
    const answer = await call(`${url}?${query}`)
    equal(await answer.json(), { name: 'a b&c' })
  })

  await check('a refusal has the words of the vendor', async () => {
    const refused = await call(url, { method: 'POST' })
    equal(refused.status, 400)
    equal((await refused.json()).errorCode, 4804)
    const lost = await post(url.replace(FOLDER, '3'), {})
    equal(lost.status, 404)
    equal((await lost.json()).errorCode, 1623)
  })

  await check('the ledger has seen all of it', async () => {
    const { jobs } = await (await call(`${origin}/ledger/jobs`)).json()
    equal(jobs.map(job => job.mode), [
      'AsyncRequestReply', 'AsyncRequestReply', 'FireAndForget', 'LongPolling', 'LongPolling', 'LongPolling', 'LongPolling'
    ])
    const { calls } = await (await call(`${origin}/ledger`)).json()
    const legs = calls.filter(call => call.job === jobs[3].id).map(call => `${call.method} ${call.status}`)
    equal([legs[0], legs.at(-1)], ['POST 303', 'GET 200'])
  })
}

async function main () {
  let triggerd = process.env.TRIGGERD
  if (!triggerd) {
    execFileSync('cargo', ['build', '--locked', '--quiet'], { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] })
    triggerd = join(ROOT, process.env.CARGO_TARGET_DIR ?? 'target', 'debug/triggerd')
  }
  console.log(`== ${triggerd}, node ${process.version}`)
  const emulator = await start(resolve(triggerd))
  await flows(emulator.url)
  await check('SIGTERM stops it in order', async () => equal(await emulator.stop(), 0))
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1
}

process.once('SIGTERM', () => process.exit(143))
process.once('SIGINT', () => process.exit(130))
await main()
