import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { InvalidInput, Unexpected } from '@answerline/errors';
import { identifyProcess, isRunning, type ProcessIdentity } from './process-identity.ts';

/** How a service ended. */
export interface ServiceExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running child process of its own session, so that Ctrl-C in the terminal does not reach it before the app has closed. */
export interface ServiceProcess {
  readonly pid: number;
  /** Settles when the process is gone, for whatever reason. Never rejects. */
  readonly exited: Promise<ServiceExit>;
  /** Asks it to end, and kills it after 10 s. May be called again and after the process died. */
  stop(): Promise<void>;
}

interface ProcessRecord {
  readonly owner: ProcessIdentity;
  readonly service?: ProcessIdentity;
}

/** Postgres needs about a second for a fast shutdown, nats-server less; after that something is wrong. */
const stopDeadlineMs = 10_000;
const pollMs = 20;
const recordFile = (dir: string) => join(dir, 'process.json');

/**
 * Makes `dir` ours: one process at a time may run a service there. A service whose owner was killed still runs, and is
 * stopped here with `signal`. Throws InvalidInput `data_dir_in_use` while the owner lives.
 */
export async function claimServiceDir(
  dir: string,
  service: string,
  signal: NodeJS.Signals,
  onProgress: (line: string) => void,
): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const record = readRecord(dir);
  const serviceRuns = record?.service !== undefined && isRunning(record.service);
  if (record && isRunning(record.owner) && (record.owner.pid !== process.pid || serviceRuns)) {
    throw new InvalidInput(
      'data_dir_in_use',
      `${dir} is in use by process ${record.owner.pid}. Stop that one first, or set another DATA_DIR.`,
      { context: { ownerPid: record.owner.pid } },
    );
  }
  if (serviceRuns && record?.service) {
    onProgress(`Stopping a ${service} that an earlier run left behind (process ${record.service.pid})`);
    await endProcess(record.service, signal);
  }
  writeRecord(dir, { owner: self() });
}

/** Ends the service that is recorded in `dir`, whoever owns it. For cleaning up after tests. */
export async function endServiceIn(dir: string): Promise<void> {
  const service = readRecord(dir)?.service;
  if (service) await endProcess(service, 'SIGKILL');
}

/** The process that started the service in `dir` is still there. */
export function isServiceDirOwned(dir: string): boolean {
  const record = readRecord(dir);
  return record !== undefined && isRunning(record.owner);
}

/** The service that is recorded in `dir` runs, whoever owns it. */
export function serviceRunsIn(dir: string): boolean {
  const service = readRecord(dir)?.service;
  return service !== undefined && isRunning(service);
}

export interface ServiceCommand {
  /** A folder had by {@link claimServiceDir}. */
  readonly dir: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** What makes this program end in order and soon. */
  readonly stopSignal: NodeJS.Signals;
  /** Its output goes here, from the start of the file. */
  readonly logFile: string;
}

export async function startServiceProcess(command: ServiceCommand): Promise<ServiceProcess> {
  const log = openSync(command.logFile, 'w', 0o600);
  const child = spawn(command.file, command.args, {
    cwd: '/',
    detached: true,
    stdio: ['ignore', log, log],
    ...(command.uid === undefined ? {} : { uid: command.uid, gid: command.gid }),
  });
  closeSync(log);
  const { pid } = child;
  const exited = new Promise<ServiceExit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  if (pid === undefined) {
    const error = await new Promise<Error>((resolve) => child.once('error', resolve));
    throw new Unexpected('service_start_failed', `${command.file} could not be started: ${error.message}`, {
      cause: error,
    });
  }
  child.on('error', () => undefined);
  // Nobody waits for a service: a process that is done must be able to end.
  child.unref();
  const service = identifyProcess(pid);
  if (service) writeRecord(command.dir, { owner: self(), service });

  // Covers process.exit() and an uncaught error; a kill -9 is covered by the record at the next start.
  const endWithUs = () => void child.kill(command.stopSignal);
  process.once('exit', endWithUs);
  void exited.then(() => process.off('exit', endWithUs));

  let stopping: Promise<void> | undefined;
  const stop = async () => {
    const killer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs);
    child.kill(command.stopSignal);
    await exited;
    clearTimeout(killer);
    releaseServiceDir(command.dir);
  };
  return { pid, exited, stop: () => (stopping ??= stop()) };
}

/** Gives the folder back after its service ended, or when it could not be started. */
export function releaseServiceDir(dir: string): void {
  if (readRecord(dir)?.owner.pid === process.pid) rmSync(recordFile(dir), { force: true });
}

/** The end of a log, for an error message. */
export function lastLines(file: string, count = 5): string {
  try {
    return readFileSync(file, 'utf8').trim().split('\n').slice(-count).join('\n');
  } catch {
    return '';
  }
}

/** Ends a process that is not our child. */
export async function endProcess(identity: ProcessIdentity, signal: NodeJS.Signals): Promise<void> {
  const killAt = Date.now() + stopDeadlineMs;
  let next: NodeJS.Signals | undefined = signal;
  while (isRunning(identity)) {
    if (next) {
      try {
        process.kill(identity.pid, next);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
        throw new InvalidInput(
          'leftover_not_ours',
          `Process ${identity.pid}, left behind by an earlier run, belongs to another user. End it and start again.`,
          { cause: error },
        );
      }
    }
    next = undefined;
    if (Date.now() >= killAt) next = 'SIGKILL';
    await delay(pollMs);
  }
}

function self(): ProcessIdentity {
  return identifyProcess(process.pid) ?? { pid: process.pid, startedAt: 'unknown' };
}

function readRecord(dir: string): ProcessRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(recordFile(dir), 'utf8')) as Partial<ProcessRecord> | null;
    return record?.owner ? { ...record, owner: record.owner } : undefined;
  } catch {
    // Missing, or cut off by a crash of the machine: then no process of that time runs any more.
    return undefined;
  }
}

function writeRecord(dir: string, record: ProcessRecord): void {
  const draft = `${recordFile(dir)}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(record));
  renameSync(draft, recordFile(dir));
}
