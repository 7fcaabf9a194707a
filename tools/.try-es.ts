import { startEmbeddedPostgres, startEmbeddedNats } from '@answerline/embedded-services';
const onProgress = (l: string) => console.log('  ..', l);
let t = Date.now();
const pgs = await startEmbeddedPostgres({ dataDir: process.argv[2]! + '/pg', onProgress }); console.log(pgs.url, Date.now()-t);
t = Date.now();
const n = await startEmbeddedNats({ dataDir: process.argv[2]! + '/nats', onProgress }); console.log(n, Date.now()-t);
if (process.argv[3]) process.kill(process.pid, 'SIGKILL');
t = Date.now(); await n.stop(); await pgs.stop(); console.log('stopped', Date.now()-t);
