import 'reflect-metadata';
import { rebuild } from './rebuild.ts';

// In an image of rag: it has the settings that the command needs.
process.exitCode = await rebuild(process.argv.slice(2));
