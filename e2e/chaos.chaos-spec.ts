import { testKills } from './chaos/kill-test.ts';

testKills('answers every message once, in order, whatever is killed');
