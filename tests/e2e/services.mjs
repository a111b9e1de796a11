// Real servers of a test's own (scripts/services), on empty data: for those that stop and kill them.
import { execFile, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from './server.mjs';

const kScript = fileURLToPath(new URL('../../scripts/services', import.meta.url));
const kStartMs = 60_000;
const run = promisify(execFile);

// {env: what they say of themselves, stop()}. `more`: for their environment.
export async function startServices(names, more = {}) {
  // They end with what is written to them: also where this process is killed.
  const child = spawn(kScript, ['run', ...names, '--', 'sh', '-c', 'env && echo READY && cat'],
    { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...more } });
  let output = '';
  child.stdout.on('data', (bytes) => { output += bytes; });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await until(() => /^READY$/m.test(output) || child.exitCode !== null, `${names.join(', ')} run`, kStartMs);
  if (child.exitCode !== null) throw new Error(`scripts/services run ${names.join(' ')} ended with ${child.exitCode}`);
  const env = Object.fromEntries([...output.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
  return { env, stop: () => (child.stdin.end(), ended) };
}

// `$POSTGRES_CONTROL WORD...`, `$REDIS_CONTROL WORD...`: what it prints.
export async function control(script, ...words) {
  const { stdout } = await run(script, words);
  return stdout.trim();
}

// The rows of a statement, each an array of texts.
export async function query(url, statement) {
  const { stdout } = await run('psql', ['-qtAX', '-F', '\t', '-c', statement, url], { maxBuffer: 1 << 30 });
  return stdout.split('\n').filter(Boolean).map((line) => line.split('\t'));
}
