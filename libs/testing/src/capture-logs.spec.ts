import { describe, expect, it } from '@jest/globals';
import { captureLogs } from './capture-logs.ts';

describe('captureLogs', () => {
  it('gives what was written as text and as objects', () => {
    const logs = captureLogs();
    logs.stream.write('{"level":30,"msg":"started"}\n');
    logs.stream.write('plain\n');
    expect(logs.text()).toContain('"started"');
    expect(logs.lines()).toEqual([{ level: 30, msg: 'started' }, { msg: 'plain' }]);
    logs.clear();
    expect(logs.lines()).toEqual([]);
  });
});
