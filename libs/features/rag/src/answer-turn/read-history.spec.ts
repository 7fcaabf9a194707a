import { type EarlierMessage } from '@answerline/language-model';
import { describe, expect, it } from '@jest/globals';
import { lastTurns } from './read-history.ts';

const said = (...lines: string[]): EarlierMessage[] =>
  lines.map((line) => {
    const author = line.startsWith('c') ? 'contact' : line.startsWith('h') ? 'human' : 'ai';
    return { author, text: line };
  });

describe('lastTurns', () => {
  it('counts a block of messages with the replies after it as one turn', () => {
    const all = said('c1', 'a1', 'c2', 'c2b', 'a2', 'a2b', 'c3', 'a3');
    expect(lastTurns(all, 2)).toEqual(all.slice(2));
    expect(lastTurns(all, 1)).toEqual(all.slice(6));
    expect(lastTurns(all, 3)).toEqual(all);
    expect(lastTurns(all)).toEqual(all);
  });

  it('holds the tenth turn back and not the eleventh', () => {
    const all = Array.from({ length: 11 }, (_, index) => said(`c${String(index)}`, `a${String(index)}`)).flat();
    const kept = lastTurns(all);
    expect(kept).toHaveLength(20);
    expect(kept[0]).toEqual({ author: 'contact', text: 'c1' });
  });

  it("keeps a colleague's words, and a block that nobody answered", () => {
    expect(lastTurns(said('c1', 'h1', 'c2'), 2)).toEqual(said('c1', 'h1', 'c2'));
  });

  it('leaves out replies whose question is not there', () => {
    expect(lastTurns(said('a0', 'c1', 'a1'))).toEqual(said('c1', 'a1'));
    expect(lastTurns(said('a0', 'h0'))).toEqual([]);
    expect(lastTurns([])).toEqual([]);
  });
});
