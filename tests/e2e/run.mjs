// Runs end-to-end tests against the built server: `node run.mjs [--tap FILE] [TEST.mjs ...]` (all of this folder by default). One server is started for
// those that only need an address (RINGLINE_URL); tests that stop or kill a server start their own (server.mjs). Each file runs by itself; two go on at a time,
// each with such a server of its own, and what a file prints comes when it is done.
import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from './server.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const words = process.argv.slice(2);
const tapAt = words.indexOf('--tap');
const tapFile = tapAt < 0 ? null : words.splice(tapAt, 2)[1];
const kAtOnce = 2;
const kSlow = ['page', 'engineio', 'invalid'].map((name) => `${name}.test.mjs`); // they go first
const files = words.length > 0 ? words.map((word) => resolve(word))
  : readdirSync(here).filter((name) => name.endsWith('.test.mjs')).sort().map((name) => join(here, name));
const waiting = [...files.filter((file) => kSlow.includes(basename(file))), ...files.filter((file) => !kSlow.includes(basename(file)))];

// A file's own exit code also stands for what its tests do not say: an error while it is read, a server that ends badly.
function runFile(file, url, spec, tap) {
  const reporters = ['--test-reporter=spec', `--test-reporter-destination=${spec}`, '--test-reporter=tap', `--test-reporter-destination=${tap}`];
  const child = spawn(process.execPath, ['--test', ...reporters, file], { stdio: 'inherit', env: { ...process.env, RINGLINE_URL: url } });
  const kill = (signal) => child.kill(signal);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, kill);
  return new Promise((done) => {
    child.once('close', (code, signal) => {
      for (const one of ['SIGINT', 'SIGTERM']) process.off(one, kill);
      done(code ?? signal);
    });
  });
}

const scratch = mkdtempSync(join(tmpdir(), 'ringline-tap-'));
let failed = 0;
async function work(number) {
  const server = await startServer({ cores: 2, env: { RATE_LIMIT_GUESTS: '0', BCRYPT_COST: '4' } });
  const spec = join(scratch, `spec-${number}`);
  const tap = join(scratch, `tap-${number}`);
  for (let file = waiting.shift(); file; file = waiting.shift()) {
    const result = await runFile(file, server.url, spec, tap);
    if (result !== 0) failed += 1;
    console.log(`== ${basename(file)}\n${readFileSync(spec, 'utf8')}`);
    if (tapFile) appendFileSync(tapFile, `${readFileSync(tap, 'utf8')}\n# file ${basename(file)} ${result}\n`);
    rmSync(tap, { force: true });
    rmSync(spec, { force: true });
  }
  await server.stop();
}
const ends = await Promise.allSettled(Array.from({ length: Math.min(kAtOnce, waiting.length) }, (_, number) => work(number)));
for (const { reason } of ends.filter(({ status }) => status === 'rejected')) {
  console.error(reason);
  failed += 1;
  if (tapFile) appendFileSync(tapFile, '# file run.mjs 1\n');
}
rmSync(scratch, { recursive: true, force: true });
process.exitCode = failed > 0 ? 1 : 0;
