import { expect, it } from 'vitest';
import { instanceOf } from '../testing/runtime.ts';
import { excluder, ownContainer } from './own.ts';

it('its own container, by a file that Docker mounts from its folder', () => {
  const id = 'ab'.repeat(32);
  const table = `613 605 254:1 /var/lib/docker/containers/${id}/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n`;
  expect(ownContainer(() => table)).toBe(id);
});

it.each([
  [['web'], 'web', 'web-1', true],
  [['web-*'], 'web', 'web-1', true],
  [['*eb'], 'web', 'x', true],
  [['w.b'], 'web', 'web', false],
  [['we'], 'web', 'web', false],
  [[], 'web', 'web', false],
])('exclude %j: service %s, container %s', (patterns, service, name, expected) => {
  expect(excluder(patterns)(instanceOf({ service, name }))).toBe(expected);
});
