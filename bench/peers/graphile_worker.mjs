/*
 * No-op jobs in graphile-worker: enqueue them, drain them with one worker process, start them one by one.
 *
 * As its page on performance says: a local queue of 500 that is fetched at once, completions gathered and
 * written together (completeJobBatchDelay 0), 24 tasks at once, a pool of ten connections; and jobs added
 * in batches. It deletes what it has completed: a drain is verified by what is left, which is nothing, and
 * by a trigger that counts the deletes, once for each statement.
 *
 * The interpreter is the one in the peer's environment, and what it imports lies beside it.
 * `node graphile_worker.mjs drain --dsn DSN --count N` prints the line of bench/trial.py.
 */

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const PACKAGE = "graphile-worker";
const require = createRequire(process.execPath);
const { run, makeWorkerUtils, Logger } = require(PACKAGE);
const { Pool } = require("pg");

const LOCAL_QUEUE = 500;
const CONCURRENCY = 24;
const CONNECTIONS = 10;
const BATCH_SIZE = 1000;
const PRODUCERS = 2;
const WARM_UP = 20; // as in bench/start_times.py
const IDLE_MS = [20, 40];
const START_MS = 30_000;
const DRAIN_MS = 150_000;
const TASK = "noop";

const SETTINGS =
  `local queue ${LOCAL_QUEUE}, completeJobBatchDelay 0, concurrency ${CONCURRENCY},` +
  ` ${CONNECTIONS} connections; ${PRODUCERS} producers in batches of ${BATCH_SIZE};` +
  ` node ${process.versions.node}; deletes what is done`;

const quiet = new Logger(() => () => {});

/** Nanoseconds of the machine's clock, as Python's time.time_ns() has them. */
const now = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));

const preset = (size, completeJobBatchDelay) => ({
  worker: { concurrentJobs: CONCURRENCY, localQueue: { size }, completeJobBatchDelay },
});

async function enqueue(pool, count) {
  const utils = await makeWorkerUtils({ pgPool: pool, logger: quiet });
  await utils.migrate();
  const specs = Array.from({ length: count }, (_, number) => ({ identifier: TASK, payload: { number } }));
  const batches = [];
  for (let at = 0; at < count; at += BATCH_SIZE) batches.push(specs.slice(at, at + BATCH_SIZE));

  const started = performance.now();
  await Promise.all(
    Array.from({ length: PRODUCERS }, async () => {
      for (let batch = batches.shift(); batch; batch = batches.shift()) await utils.addJobs(batch);
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  requireCount(await countJobs(pool), count, "queued");
  await utils.release();
  return [measurement("enqueued_per_s", count / seconds, "jobs/s")];
}

/** The end is the last delete's, by the database's clock: a trigger of ours, once for a statement. */
async function drain(pool, count) {
  await pool.query(`
    CREATE TABLE bench_completed (jobs bigint NOT NULL, at timestamptz NOT NULL);
    CREATE FUNCTION bench_count() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO public.bench_completed SELECT count(*), clock_timestamp() FROM gone HAVING count(*) > 0;
      RETURN NULL;
    END $$;
    CREATE TRIGGER bench_count AFTER DELETE ON graphile_worker._private_jobs
      REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION bench_count();
  `);
  const { rows: [{ started }] } = await pool.query("SELECT clock_timestamp()::text AS started");
  const runner = await run({
    pgPool: pool,
    logger: quiet,
    noHandleSignals: true,
    taskList: { [TASK]: async () => {} },
    preset: preset(LOCAL_QUEUE, 0),
  });
  const limit = performance.now() + DRAIN_MS;
  while ((await countJobs(pool)) > 0) {
    if (performance.now() > limit) throw new Error(`not drained within ${DRAIN_MS} ms`);
    await sleep(50);
  }
  const memory = measurement("rss_mb", peakRss(), "MB");
  await runner.stop();
  const { rows: [found] } = await pool.query(
    "SELECT sum(jobs)::int AS jobs, extract(epoch FROM max(at) - $1::timestamptz)::float8 AS seconds" +
      " FROM bench_completed",
    [started],
  );
  requireCount(found.jobs, count, "completed");
  requireCount(await countJobs(pool), 0, "left");
  return [measurement("jobs_per_s", count / found.seconds, "jobs/s"), memory];
}

/** Each job is added in a transaction of its own, for a worker in another process that is idle. */
async function start(pool, dsn, count) {
  const utils = await makeWorkerUtils({ pgPool: pool, logger: quiet });
  await utils.migrate();
  await utils.release();
  const worker = spawn(
    process.execPath,
    [fileURLToPath(import.meta.url), "work", "--dsn", dsn, "--count", "0"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const waiting = new Map();
  createInterface({ input: worker.stdout }).on("line", (line) => {
    const [said, number, at] = line.split(" ");
    if (said === "started") waiting.get(Number(number))?.(BigInt(at));
  });
  const times = [];
  const client = await pool.connect();
  try {
    for (let number = 0; number < WARM_UP + count; number += 1) {
      const begun = new Promise((resolve, reject) => {
        waiting.set(number, resolve);
        setTimeout(() => reject(new Error(`job ${number} did not start`)), START_MS).unref();
      });
      await client.query("BEGIN");
      await client.query("SELECT graphile_worker.add_job($1, $2::json)", [TASK, JSON.stringify({ number })]);
      const committed = now();
      await client.query("COMMIT");
      times.push(Number((await begun) - committed) / 1e6);
      await sleep(IDLE_MS[0] + Math.random() * (IDLE_MS[1] - IDLE_MS[0]));
    }
  } finally {
    client.release();
    worker.kill("SIGKILL");
  }
  requireCount(await countJobs(pool), 0, "left");
  const counted = times.slice(WARM_UP).sort((a, b) => a - b);
  const cut = (part) => counted[Math.round((counted.length - 1) * part)];
  return [measurement("start_ms_p50", cut(0.5), "ms"), measurement("start_ms_p99", cut(0.99), "ms")];
}

/** Without batching: for one job at a time its delays would only be in the way. */
async function work(pool) {
  const runner = await run({
    pgPool: pool,
    logger: quiet,
    taskList: { [TASK]: async ({ number }) => { process.stdout.write(`started ${number} ${now()}\n`); } },
    preset: preset(-1, -1),
  });
  await runner.promise;
  return [];
}

async function countJobs(pool) {
  const { rows } = await pool.query("SELECT count(*)::int AS jobs FROM graphile_worker._private_jobs");
  return rows[0].jobs;
}

function requireCount(actual, expected, state) {
  if (actual !== expected) throw new Error(`${actual} of ${expected} are ${state}`);
}

const measurement = (metric, value, unit) => ({ metric, value, unit });

function peakRss() {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
  } catch {
    return process.resourceUsage().maxRSS / 1024;
  }
}

const { positionals: [phase], values: { dsn, count } } = parseArgs({
  allowPositionals: true,
  options: { dsn: { type: "string" }, count: { type: "string" } },
});
const phases = { enqueue, drain, start: (pool, count) => start(pool, dsn, count), work };
const pool = new Pool({ connectionString: dsn, max: CONNECTIONS });
pool.on("error", () => {});
try {
  const measurements = await phases[phase](pool, Number(count));
  const { version } = JSON.parse(
    readFileSync(join(dirname(require.resolve(PACKAGE)), "../package.json"), "utf8"),
  );
  console.log(JSON.stringify({ version, settings: SETTINGS, measurements }));
  process.exit(0);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
