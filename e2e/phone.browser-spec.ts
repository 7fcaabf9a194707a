import { describePhoneStory } from './phone/phone-story.ts';

describePhoneStory('the phone in the browser', () => ({}));
