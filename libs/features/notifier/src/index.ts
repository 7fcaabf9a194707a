export { type NotifierOptions } from './notifier-options.ts';
export { NotifierModule } from './notifier.module.ts';
export { SendReply, type SendEnd, type SendJob } from './send-reply/send-reply.ts';
export { settleSends } from './settle-sends/settle-sends.ts';
export { ShowPresence } from './show-presence/show-presence.ts';
