import { ReflexarcError } from '../../core/errors.ts';
import type { Text } from './slack.ts';

/** @throws not_supported */
export function compileMessageTemplate(text: string): Text {
  if (text.includes('{{')) throw new ReflexarcError('not_supported', 'templates');
  return () => text;
}
