// Runs end-to-end tests against the built server: `node run.mjs [--tap FILE] [TEST.mjs ...]` (all of this folder by default). One server is started for
// those that only need an address (RINGLINE_URL); tests that stop or kill a server start their own (server.mjs). Each file runs by itself, one after the other.
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
const files = words.length > 0 ? words.map((word) => resolve(word))
  : readdirSync(here).filter((name) => name.endsWith('.test.mjs')).sort().map((name) => join(here, name));

// A file's own exit code also stands for what its tests do not say: an error while it is read, a server that ends badly.
function runFile(file, url, tap) {
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout', '--test-reporter=tap', `--test-reporter-destination=${tap}`];
  const child = spawn(process.execPath, ['--test', ...reporters, file], { stdio: 'inherit', env: { ...process.env, RINGLINE_URL: url } });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => child.kill(signal));
  return new Promise((done) => child.once('close', (code, signal) => done(code ?? signal)));
}

const scratch = mkdtempSync(join(tmpdir(), 'ringline-tap-'));
let failed = 0;
try {
  const server = await startServer({ cores: 2, env: { RATE_LIMIT_GUESTS: '0', BCRYPT_COST: '4' } });
  for (const file of files) {
    console.log(`== ${basename(file)}`);
    const tap = join(scratch, 'tap');
    const result = await runFile(file, server.url, tap);
    if (result !== 0) failed += 1;
    if (tapFile) appendFileSync(tapFile, `${readFileSync(tap, 'utf8')}\n# file ${basename(file)} ${result}\n`);
    rmSync(tap, { force: true });
  }
  await server.stop();
} catch (error) {
  console.error(error);
  failed += 1;
  if (tapFile) appendFileSync(tapFile, '# file run.mjs 1\n');
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exitCode = failed > 0 ? 1 : 0;
